"""Blind studies: a page that shows runs without their names, and ratings turned into means and preferences.

Each item is a triplet: foregrounds on a checkerboard, background, composite. "rating" asks for 1 to 5 on each
(as LayerFusion does), "pairs" which of two is better (as DreamLayer does). Items and sides are shuffled; the
page knows them by number alone, and the key that names them is a file of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

import numpy as np

from layercli.core.composite import over
from layercli.core.errors import LayercliError
from layercli.core.html import page_head
from layercli.evaluate._html import thumbnail
from layercli.evaluate._run import Run
from layercli.evaluate._sample import Sample, no_samples
from layercli.evaluate._statistics import interval

Mode = Literal["pairs", "rating"]
SHOWN = 300
TIE = "0"
_MORE = """
.item { display: none } .item.now { display: block } .triplet { display: flex; gap: .6rem; margin: .6rem 0 }
button { font: inherit; padding: .5rem 1rem; margin: .2rem; border: 1px solid var(--line);
  border-radius: .4rem; background: var(--card); color: var(--ink); cursor: pointer }
button.chosen { border-color: var(--mark) }
.side { margin-right: 1.5rem }
"""
_SCRIPT = """
const items = [...document.querySelectorAll('.item')], answers = {}; let now = 0;
function show(i) { now = Math.max(0, Math.min(items.length - 1, i));
  items.forEach((item, k) => item.classList.toggle('now', k === now));
  document.getElementById('place').textContent = (now + 1) + ' of ' + items.length +
    ', ' + Object.keys(answers).length + ' answered'; }
document.addEventListener('click', event => { const b = event.target.closest('button'); if (!b) return;
  if (b.dataset.go) return show(now + Number(b.dataset.go));
  if (b.id === 'save') return save();
  answers[b.dataset.item] = b.dataset.value;
  b.parentNode.querySelectorAll('button').forEach(x => x.classList.toggle('chosen', x === b));
  show(b.dataset.last ? now : now + 1); });
function save() { const told = { study: STUDY, rater: document.getElementById('rater').value, answers };
  const a = document.createElement('a');
  a.href = URL.createObjectURL(new Blob([JSON.stringify(told, null, 1)], { type: 'application/json' }));
  a.download = 'ratings.json'; a.click(); }
show(0);
"""


@dataclass(frozen=True, kw_only=True)
class Study:
    """The page for raters, and the key to keep from them; left_out: samples that could not be read -> why."""

    page: str
    key: dict[str, Any]
    left_out: dict[str, str]


def build_study(runs: Sequence[Run], mode: Mode, *, most: int = 40, seed: int = 0) -> Study:
    """Make a study of the samples that all runs share by name and that can be read in all of them.

    Raises LayercliError where there are none.
    """
    entries = [{entry.name: entry for entry in run.entries} for run in runs]
    shared = sorted(name for name in entries[0] if all(name in other for other in entries))
    if not shared:
        raise LayercliError("The runs share no sample by name.", "Draw both from the same prompts and seeds.")
    rng = np.random.default_rng(seed)
    names: list[str] = []
    triplets: dict[tuple[int, str], str] = {}
    left_out: dict[str, str] = {}
    for name in (shared[i] for i in rng.permutation(len(shared))):
        if len(names) == most:
            break
        try:
            triplets |= {(side, name): _triplet(run[name].load()) for side, run in enumerate(entries)}
        except LayercliError as error:
            left_out[name] = error.message
            continue
        names.append(name)
    if not names:
        raise no_samples(" and ".join(run.name for run in runs))
    names.sort(key=shared.index)
    items: list[dict[str, Any]] = []
    for name in names:
        if mode == "pairs":
            sides = [int(i) for i in rng.permutation(len(runs))[:2]]
            items.append({"sample": name, "sides": sides})
        else:
            items += [{"sample": name, "sides": [i]} for i in range(len(runs))]
    items = [items[i] for i in rng.permutation(len(items))]
    study = hashlib.sha256(f"{mode} {seed} {[run.digest for run in runs]} {names}".encode()).hexdigest()[:16]
    bodies, kept = [], {}
    for number, item in enumerate(items):
        code = f"{number:04d}"
        shown = [triplets[side, item["sample"]] for side in item["sides"]]
        bodies.append(_item(code, shown, mode, number == len(items) - 1))
        kept[code] = item
    key = {"layercli_study": study, "mode": mode, "runs": [run.name for run in runs], "items": kept}
    return Study(page=_page(study, bodies, mode), key=key, left_out=left_out)


def score_study(
    key: Mapping[str, Any], ratings: Sequence[Mapping[str, Any]], seed: int = 0
) -> list[dict[str, Any]]:
    """What raters said, by run: the mean rating or the share of pairs won (ties half), with intervals.

    Raises LayercliError for ratings of another study or answers that it does not ask for.
    """
    runs: list[str] = key["runs"]
    by_item: dict[int, dict[str, list[float]]] = {i: {} for i in range(len(runs))}
    for rating in ratings:
        if rating.get("study") != key["layercli_study"]:
            raise LayercliError("A file of ratings is of another study.", "Score it with that study's key.")
        for code, answer in rating.get("answers", {}).items():
            if code not in key["items"]:
                raise LayercliError(
                    f'The study has no item "{code}".', "Score the ratings with their own key."
                )
            for run, value in _values(key["mode"], key["items"][code]["sides"], str(answer)):
                by_item[run].setdefault(code, []).append(value)
    rows = []
    for run, items in by_item.items():
        means = [float(np.mean(values)) for values in items.values()]
        if not means:
            continue
        low, high = interval(means, seed)
        answers = sum(len(values) for values in items.values())
        rows.append(
            {"run": runs[run], "value": float(np.mean(means)), "low": low, "high": high, "items": len(means),
             "answers": answers, "raters": len(ratings)}
        )  # fmt: skip
    if not rows:
        raise LayercliError("The ratings hold no answer.", "Rate some items, save, and score again.")
    return rows


def _values(mode: str, sides: Sequence[int], answer: str) -> list[tuple[int, float]]:
    """What an answer says of each run: (run, value)."""
    if mode == "rating" and answer in ("1", "2", "3", "4", "5"):
        return [(sides[0], float(answer))]
    if mode == "pairs" and answer in ("1", "2", TIE):
        wins = {"1": (1.0, 0.0), "2": (0.0, 1.0), TIE: (0.5, 0.5)}[answer]
        return list(zip(sides, wins, strict=True))
    raise LayercliError(
        f'"{answer}" is no answer of this study.', "Use the file that the study's page saves."
    )


def _triplet(sample: Sample) -> str:
    front = np.zeros((sample.stack.canvas.height, sample.stack.canvas.width, 4), np.float32)
    for layer in sample.foregrounds:
        front = over(front, sample.placed(layer))
    pictures = [front, *sample.pictures("background"), sample.composite]
    images = "".join(f"<img src='{thumbnail(picture, SHOWN)}' alt=''>" for picture in pictures)
    return f"<div class=triplet>{images}</div>"


def _item(code: str, triplets: Sequence[str], mode: Mode, last: bool) -> str:
    end = " data-last=1" if last else ""

    def button(value: str, text: str) -> str:
        return f"<button data-item={code} data-value={value}{end}>{text}</button>"

    if mode == "rating":
        scale = "".join(button(str(n), str(n)) for n in range(1, 6))
        return f"<section class=item>{triplets[0]}<div>1 poor {scale} 5 excellent</div></section>"
    choices = button("1", "The first") + button(TIE, "Alike") + button("2", "The second")
    shown = "".join(
        f"<p class=side>{place}</p>{t}" for place, t in zip(("First", "Second"), triplets, strict=True)
    )
    return f"<section class=item>{shown}<div>{choices}</div></section>"


def _page(study: str, bodies: Sequence[str], mode: Mode) -> str:
    asked = (
        "How well do the foregrounds, the background and the whole picture belong together?"
        if mode == "rating"
        else "Which set of layers makes the better picture: clean objects, a complete background, a whole?"
    )
    return (
        f"{page_head('Picture study', _MORE)}<h1>Picture study</h1>"
        f"<p>{escape(asked)} <span class=faint id=place></span></p>"
        "<p><label>Your initials <input id=rater></label></p>"
        + "".join(bodies)
        + "<p><button data-go=-1>Back</button><button data-go=1>On</button>"
        "<button id=save>Save ratings</button></p>"
        f"<script>const STUDY = {json.dumps(study)};{_SCRIPT}</script></html>\n"
    )
