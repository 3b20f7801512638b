"""Layered pictures of photos: each taken apart, filtered as in the papers, with captions; or drawn first.

The folder is as `layercli data layered` writes it, so that training reads it. The photos are those of a
folder (`photos`), or are drawn from a file of descriptions (`prompts`), DreamLayer's way (arXiv 2503.12838,
section 4): split, drawn by a text-to-image model into `drawn/` with their captions, and then taken apart.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from layercli.core.decompose_request import DecomposeRequest
from layercli.core.errors import LayercliError
from layercli.core.photos import SUFFIXES, open_photo
from layercli.core.pixels import quantize, save_png
from layercli.core.splitting import split_prompt
from layercli.data._layered_set import statistics, summary, without_duplicates
from layercli.data._layered_source import areas_of, box_of, fingerprint
from layercli.data._photo_source import Filters, frames_of
from layercli.data._photo_words import captions_of, told_of, written
from layercli.data._shards import add_frames, held_to, write_text
from layercli.data.captions import article, plain_noun
from layercli.decompose import matte
from layercli.vision import nets
from layercli.vision._digest import file_digest
from layercli.vision.grids import resized
from layercli.vision.saliency import open_finder, to_look_at

__all__ = ["Options", "build", "summary"]

SHARD = 8
"""Photos a file: what an interrupt may cost."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where photos come from, where to write, and what is asked of them.

    photos: a folder; prompts: a file with a description a line, drawn by `model` (steps, guidance, device as
    in generate) after `planner`, a language model's folder, or rules have split it. size: of the square
    pictures, in pixels; layers: of a photo, 0 for as many as stand out; net: what finds objects, "auto" the
    best at hand; captioner: the folder of an image-to-text model; licence: of the photos. smallest, largest,
    salient, nested: LayerDiff's filters; workers: processes.
    """

    photos: str = ""
    prompts: str = ""
    out: str = "runs/photos"
    size: int = 256
    layers: int = 0
    net: str = "auto"
    captioner: str = ""
    planner: str = ""
    model: str = "embedded"
    device: str = "auto"
    steps: int = 30
    guidance: float = 4.0
    licence: str = "unknown"
    smallest: float = 0.01
    largest: float = 0.8
    salient: float = 0.1
    nested: float = 0.9
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if bool(self.photos) == bool(self.prompts):
            raise LayercliError(
                "Photos come from a folder or from a file of descriptions, one of the two.",
                "Try: layercli data photos --from-photos DIR, or --from-prompts FILE",
            )
        if not 16 <= self.size <= 4096:
            raise LayercliError(f"size={self.size} is not from 16 to 4096.", "Try: -O size=256")


def build(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the data set and return its folder; what an earlier run has made is kept.

    Raises LayercliError where there is no photo, or where the folder holds a set asked for in other words.
    """
    out = Path(options.out)
    with held_to(out, _asked(options), "photos' layers"):
        return _built(out, options, on_step)


def _built(out: Path, options: Options, on_step: Callable[[int, int], None]) -> Path:
    refused = _draw(options, on_step) if options.prompts else {}
    photos = _listed(out, Path(options.photos) if options.photos else out / "drawn")
    shards = [(f"photos-{start:06d}", start) for start in range(0, len(photos), SHARD)]
    parts = {name: photos[start : start + SHARD] for name, start in shards}
    missing = [(name, start) for name, start in shards if not _is_whole(out, name, parts[name])]
    on_step(len(shards) - len(missing), len(shards))
    for done, _ in enumerate(_made(options, missing, parts), len(shards) - len(missing) + 1):
        on_step(done, len(shards))
    told = [json.loads((out / f"index-{name}.json").read_text(encoding="utf-8")) for name, _ in shards]
    rows: list[dict[str, Any]] = [row for shard in told for row in shard["rows"]]
    kept = without_duplicates(rows)
    write_text(out / "index.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept))
    left_out = sum((Counter(shard["rejected"].values()) for shard in told), Counter(refused.values()))
    manifest = {
        "asked": _asked(options),
        **statistics(kept),
        "photos": len(photos) + len(refused),
        "captions_by": dict(Counter(row["captions_by"] for row in kept)),
        "near_duplicates_left_out": len(rows) - len(kept),
        "left_out": dict(left_out),
        "sha256": {f"{name}.tar": file_digest(out / f"{name}.tar") for name, _ in shards},
    }
    write_text(out / "manifest.json", json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
    return out


def _draw(options: Options, on_step: Callable[[int, int], None]) -> dict[str, str]:
    """Draw the descriptions that are not drawn yet; those that cannot be split, and why."""
    file = Path(options.prompts)
    if not file.is_file():
        raise LayercliError(f"There is no file {file}.", "Give a text file with a description a line.")
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [line for line in dict.fromkeys(lines) if line and not line.startswith("#")]
    split: Callable[[str], Any] = split_prompt
    if options.planner:
        from layercli.models.planner import Planner

        split = Planner(Path(options.planner)).split
    folder = Path(options.out) / "drawn"
    folder.mkdir(exist_ok=True)
    model, refused = None, {}
    for done, text in enumerate(texts):
        on_step(done, len(texts))
        path = folder / f"{hashlib.sha256(text.encode()).hexdigest()[:16]}.png"
        if path.is_file():
            continue
        try:
            parts = split(text)
        except LayercliError as error:
            refused[text] = error.message.partition('"')[0].strip()
            continue
        if model is None:
            from layercli.models.catalog import load_model

            model = load_model(options.model, options.device)
        _draw_one(model, parts, path, options)
    return refused


def _draw_one(model: Any, split: Any, path: Path, options: Options) -> None:
    from layercli.core.geometry import Size
    from layercli.models.single import draw_picture

    seed = (int(path.stem, 16) + options.seed) % 2**62
    more = {"steps": options.steps, "guidance": options.guidance, "negative": split.negative}
    rgb = draw_picture(model, split.whole, size=Size(options.size, options.size), seed=seed, **more)
    write_text(path.with_suffix(".txt"), written(split))
    part = path.with_name(f".{path.name}")
    save_png(part, rgb)
    part.replace(path)


def _listed(out: Path, folder: Path) -> list[str]:
    """The photos of a folder and of those in it; new ones go behind those of earlier runs."""
    if not folder.is_dir():
        raise LayercliError(f"There is no folder {folder}.", "Name the folder with your photos.")
    there = sorted(
        str(path)
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    stamp = out / "photos.json"
    known = json.loads(stamp.read_text(encoding="utf-8")) if stamp.is_file() else []
    photos = [*known, *(path for path in there if path not in set(known))]
    if not photos:
        raise LayercliError(f"There is no photo in {folder}.", f"Try: ls {folder}")
    write_text(stamp, json.dumps(photos, ensure_ascii=False, indent=0))
    return photos


def _is_whole(out: Path, name: str, photos: list[str]) -> bool:
    """Whether a shard is there and was made of these photos, no fewer."""
    index = out / f"index-{name}.json"
    if not index.is_file():
        return False
    made: list[str] = json.loads(index.read_text(encoding="utf-8"))["photos"]
    return made == photos


def _made(options: Options, missing: list[tuple[str, int]], parts: dict[str, list[str]]) -> Iterator[str]:
    """Make shards, in processes of their own where there are several workers."""
    if options.workers <= 1 or len(missing) <= 1:
        for name, start in missing:
            yield _make_shard(options, name, start, parts[name])
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(options.workers, len(missing)), mp_context=context) as pool:
        jobs = [pool.submit(_make_shard, options, name, start, parts[name]) for name, start in missing]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _make_shard(options: Options, name: str, start: int, photos: list[str]) -> str:
    """Write one tar file and, last, its rows, which say that it is whole."""
    out = Path(options.out)
    rows, rejected = [], {}
    maker = _Maker(options)
    part = out / f".{name}.tar"
    with tarfile.open(part, "w") as tar:
        for number, photo in enumerate(photos, start):
            try:
                made = maker.picture(photo)
            except LayercliError as error:
                made = error.message.partition(" in ")[0].rstrip(".").lower()
            if isinstance(made, str):
                rejected[photo] = made
                continue
            frames, row = made
            add_frames(tar, number, frames)
            mark = f"{fingerprint(frames[-1]):016x}"
            rows.append({"shard": name, "number": number, "fingerprint": mark, **row})
    part.replace(out / f"{name}.tar")
    index = {"photos": photos, "rows": rows, "rejected": rejected}
    write_text(out / f"index-{name}.json", json.dumps(index, ensure_ascii=False))
    return name


class _Maker:
    """What makes pictures of photos: a net and perhaps a captioner, opened once."""

    def __init__(self, options: Options) -> None:
        self.options = options
        net = nets.at_hand() if options.net == "auto" else options.net
        self.matte = matte.Options(net=net)
        self.finder = open_finder(net, nets.weights_of(net) if net in nets.NETS else None)
        self.caption = None
        if options.captioner:
            from layercli.vision.captioner import Captioner

            self.caption = Captioner(Path(options.captioner))

    def picture(self, path: str) -> tuple[np.ndarray, dict[str, Any]] | str:
        """Frames (k + 2, size, size, 4) uint8 and their row, or why there are none."""
        photo = open_photo(path).rgb
        request = DecomposeRequest(photo=path, layers=self.options.layers, seed=self.options.seed)
        stack = matte.decompose(request, photo, self.matte)
        asked = self.options
        filters = Filters(
            smallest=asked.smallest, largest=asked.largest, salient=asked.salient, nested=asked.nested
        )

        def standing_out() -> np.ndarray:
            return resized(self.finder(to_look_at(photo, self.finder)), *photo.shape[:2])

        found = frames_of(stack, photo, asked.size, standing_out, filters)
        if isinstance(found, str):
            return found
        frames, names = found
        told = told_of(Path(path))
        captions = captions_of(frames, told, names, self.caption)
        areas, visible = areas_of(list(frames[1:-1]))
        nouns = [plain_noun(caption) for caption in captions[:-1]]
        row = {
            "captions": captions,
            "captions_by": told.by if told.by == "text" or not self.caption else "captioner",
            "nouns": [article(noun) if noun else None for noun in nouns],
            "style": "photo",
            "boxes": [box_of(frame[..., 3]) for frame in frames[1:-1]],
            "areas": [round(area, 4) for area in areas],
            "visible": [round(share, 4) for share in visible],
            "sources": ["drawn" if asked.prompts else "photos"],
            "licences": [asked.licence],
            "works": [path],
            "rejected": {},
        }
        return quantize(frames), row


def _asked(options: Options) -> dict[str, Any]:
    """What decides the pixels and captions."""
    return {key: value for key, value in asdict(options).items() if key not in ("out", "workers", "device")}
