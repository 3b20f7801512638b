"""From edits to a changed file: one load, all edits, one report, one save."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import shlex
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layercli.cli.chaining import requests_of, script_of, words_of
from layercli.cli.documents import Document, check_writable, open_document
from layercli.cli.files import format_of, is_folder, read_stack, write_picture
from layercli.cli.naming import check_folder
from layercli.cli.output import Output
from layercli.core.edit_requests import EditRequest
from layercli.core.errors import LayercliError, as_word
from layercli.core.receipt import Receipt
from layercli.core.requests import GenerateRequest
from layercli.formats._files import safe_file_name, unique_path

if TYPE_CHECKING:
    import numpy as np

    from layercli.core.layers import LayerStack
    from layercli.edit._chain import Edited, Step


def edit_file(talk: Output, file: Path, words: Sequence[str], params: Mapping[str, Any]) -> None:
    """Check the edits, open the file, do them, say what has changed, and save it."""
    if str(file).startswith("-") and not file.exists():
        raise LayercliError(f"No such option: {file}.", "Try: layercli edit --help")
    if params["replay"] is not None and str(file) == "onto" and len(words) == 1:
        file, words = Path(words[0]), []  # layercli edit --replay A onto B
    requests = _requests(file, words, params["script"], params["replay"])
    from layercli.edit._chain import changed_outside, plan

    try:
        steps = plan(requests)
    except LayercliError as error:
        raise LayercliError(error.message, _in_full(error.hint, file, requests)) from error
    target = _target(file, params)
    document = open_document(file)
    _check_colours(document, steps)
    name = _model_name(steps, params["model"])
    kept = document.kept
    full, model, weights = _model(talk, steps, name, params, kept.stack)
    began = time.monotonic()
    with full:
        edited = _run(talk, document, steps, model, {} if params["locked"] else kept.locked)
    before = kept.seen(kept.stack, kept.stack.names).flatten_quantized()
    after = kept.seen(edited.stack, edited.origins, edited.moved).flatten_quantized()
    seconds = round(time.monotonic() - began, 3)
    pictures = _named_pictures(edited, steps, force=params["force"])
    only_pictures = bool(pictures) and all(hasattr(step.module, "pictures") for step in steps)
    notes: list[str] = []
    saved = None
    if not params["dry_run"]:
        for path, picture in pictures.items():
            write_picture(path, picture, force=True)
        if not only_pictures:
            done = [_remembered(step, name) for step in steps]
            receipt = _receipt(document, done, weights, seconds, target)
            stack = dataclasses.replace(edited.stack, receipt=receipt)
            notes, saved = document.write(
                stack, edited.origins, edited.moved, target, backup=params["backup"]
            )
    _warn_of_empty_layers(talk, edited, steps)
    report = {
        "file": None if only_pictures else str(target),
        "edits": [
            {**request.to_dict(), "meant": list(meant)}
            for request, meant in zip(requests, edited.chosen, strict=True)
        ],
        "layers": list(edited.stack.names),
        "changed": _changed(before, after, edited),
        "changed_outside": changed_outside(before, edited, after),
        "not_drawn": kept.undrawn,
        "written": not params["dry_run"],
        "backup": str(saved) if saved else None,
        "pictures": [str(path) for path in pictures],
    }
    _say(talk, report, document, asked_for_backup=params["backup"])
    for note in notes:
        talk.warn(note)


def _model_name(steps: Sequence[Step], asked: str) -> str:
    """The one model of all edits that draw: the one that is asked for, unless an edit names its own."""
    names = {step.options.model or asked for step in steps if step.with_model}
    if len(names) > 1:
        listed = ", ".join(sorted(names))
        raise LayercliError(f"The edits ask for several models: {listed}.", "Do them in two runs.")
    return names.pop() if names else asked


def _remembered(step: Step, model: str) -> EditRequest:
    """The edit as the receipt keeps it: with the model that drew it, if that is not the usual one."""
    if not step.with_model or model == GenerateRequest.model:
        return step.request
    return dataclasses.replace(step.request, options={**step.request.options, "model": model})


def _warn_of_empty_layers(talk: Output, edited: Edited, steps: Sequence[Step]) -> None:
    drawn = {
        name for step, names in zip(steps, edited.chosen, strict=True) if step.with_model for name in names
    }
    for layer, origin in zip(edited.stack.layers, edited.origins, strict=True):
        new = layer.name in drawn or (origin is None and layer.blend == "normal")
        if new and any(step.with_model for step in steps) and layer.rgba[..., 3].max() < 1 / 255:
            talk.warn(f'"{layer.name}" came out fully transparent. Try another --seed.')


def _requests(
    file: Path, words: Sequence[str], script: Path | None, replay: Path | None
) -> list[EditRequest]:
    """The edits of the command line, of a script or of another file's receipt; exactly one of the three."""
    given = [bool(words), script is not None, replay is not None]
    if sum(given) > 1:
        raise LayercliError("Edits are given in more than one way.", "Use words, --script or --replay.")
    if script is not None or replay is not None:
        from layercli.edit._chain import steps_of

        if script is not None:
            return list(steps_of(script_of(script)))
        assert replay is not None
        receipt = read_stack(replay).receipt
        if receipt is None or not receipt.edits:
            raise LayercliError(
                f"{replay} says nothing of edits to repeat.", f"Try: layercli show {as_word(replay)}"
            )
        return list(steps_of(list(receipt.edits)))
    if not words:
        raise LayercliError(
            "There is no edit to do.",
            f"Try: layercli edit {as_word(file)} move LAYER --by 40,0; or: layercli edit --help",
        )
    return requests_of(words)


def _target(file: Path, params: Mapping[str, Any]) -> Path:
    """The path to write; raises LayercliError for a file that may not be written."""
    output: Path | None = params["output"]
    if output is None:
        if file.exists() and not params["dry_run"]:
            check_writable(file)
            check_folder(file.resolve().parent)
        return file
    if is_folder(str(output)) and not file.is_dir():
        output = output / file.name
    check_folder(output.parent)
    if output.suffix:
        format_of(output)  # an ending that no format has is told before any work is done
    return output if params["force"] else unique_path(output)


def _check_colours(document: Document, steps: Sequence[Step]) -> None:
    needing = next((step for step in steps if step.srgb), None)
    if needing is not None and not document.kept.srgb:
        path = document.path
        raise LayercliError(
            f"{path} has a profile other than sRGB, which {needing.request.edit} cannot use.",
            f"Try: layercli convert {as_word(path)} {as_word(path.with_stem(path.stem + '-srgb'))}",
        )


def _model(
    talk: Output, steps: Sequence[Step], name: str, params: Mapping[str, Any], stack: LayerStack
) -> tuple[contextlib.AbstractContextManager[None], Any, dict[str, str]]:
    """What tells of memory that runs out, the model, and its hashes; where no edit draws, none of it."""
    if not any(step.with_model for step in steps):
        return contextlib.nullcontext(), None, {}
    from layercli.cli.fitting import fit_of, free_on
    from layercli.cli.making import notes_on_prompts
    from layercli.models.catalog import load_model
    from layercli.models.family import resolve_device

    picture = GenerateRequest(
        foregrounds=("a thing",) * max(1, len(stack.layers) - 1),
        background="a place",
        size=stack.canvas,
        model=name,
        dtype=params["dtype"],
        offload=params["offload"],
    )
    device = resolve_device(params["device"])
    fit = fit_of(picture, device, free_on(device), resizable=False)
    if unsure := fit.doubt():
        talk.warn(unsure)

    said = [
        step.request.options.get(key, "") for step in steps if step.with_model for key in ("prompt", "fg")
    ]
    for note in notes_on_prompts(name, said):
        talk.warn(note)
    talk.say(f"Loading {name}…")
    with fit.told_when_full():
        model = load_model(name, params["device"], params["dtype"], params["offload"])
    for note in model.notes_on(list(filter(None, said))):
        talk.say(note)
    return fit.told_when_full(), model, model.weight_hashes()


def _run(
    talk: Output, document: Document, steps: Sequence[Step], model: Any, locked: Mapping[str, frozenset[str]]
) -> Edited:
    from layercli.edit._chain import run

    try:
        with talk.progress(document.path.name) as on_step:
            return run(document.kept.stack, steps, model, on_step, locked)
    except LayercliError as error:
        hint = _in_full(error.hint, document.path, [step.request for step in steps])
        if error.message.startswith("No layer") or ": No layer" in error.message:
            hint = f"{hint} Try: layercli show {as_word(document.path)}"
            where = f" in {document.path}. Layers:"
            raise LayercliError(error.message.replace(". Layers:", where, 1), hint) from error
        raise LayercliError(error.message, hint) from error


def _in_full(hint: str, file: Path, requests: Sequence[EditRequest]) -> str:
    """A hint that begins with an edit as the whole command; one with a word to put in stays a pattern."""
    names = "|".join(re.escape(request.edit) for request in requests)
    if re.search(r"\bLAYER\b", hint):
        return hint
    return re.sub(rf"Try: (?=(?:{names})\b)", lambda _: f"Try: layercli edit {as_word(file)} ", hint)


def _named_pictures(edited: Edited, steps: Sequence[Step], *, force: bool) -> dict[Path, np.ndarray]:
    """Where each exported picture goes: a file, or for several a folder."""
    named: dict[Path, np.ndarray] = {}
    for (number, layer), picture in edited.pictures.items():
        to = steps[number - 1].options.to
        several = sum(1 for key in edited.pictures if key[0] == number) > 1
        if to and not several and not Path(to).is_dir() and not to.endswith("/"):
            path = Path(to) if Path(to).suffix.lower() == ".png" else Path(f"{to}.png")
            check_folder(path.parent)
            named[path if force else unique_path(path)] = picture
            continue
        folder = Path(to) if to else Path()
        check_folder(folder)
        named[unique_path(folder / f"{safe_file_name(layer)}.png")] = picture
    return named


def _changed(before: np.ndarray, after: np.ndarray, edited: Edited) -> int:
    """How many pixels of the picture are others than before; all of them where the canvas is another."""
    if before.shape != after.shape or edited.moved.left or edited.moved.top:
        return int(after.shape[0] * after.shape[1])
    return int((before != after).any(axis=-1).sum())


def _receipt(
    document: Document, requests: Sequence[EditRequest], weights: dict[str, str], seconds: float, target: Path
) -> Receipt:
    """The file's receipt with the edits added; how it was first made stays in it."""
    old = document.kept.stack.receipt or Receipt()
    packages = ("layercli", "numpy", "pillow", *(("torch", "diffusers") if weights else ()))
    words = [word for number, request in enumerate(requests)
             for word in (*(["then"] if number else []), *words_of(request))]  # fmt: skip
    command = old.command or shlex.join(["layercli", "edit", target.name, *words])
    return dataclasses.replace(
        old,
        versions=old.versions or {name: version(name) for name in packages},
        weights=old.weights | weights,
        seconds=round(old.seconds + seconds, 3),
        command=command,
        edits=(*old.edits, *(request.to_dict() for request in requests)),
    )


def _say(talk: Output, report: Mapping[str, Any], document: Document, *, asked_for_backup: bool) -> None:
    for entry in report["edits"]:
        names = ", ".join(entry["meant"])
        talk.say(f"{entry['edit']}{': ' if names else ''}{names}")
    dry = "would change" if not report["written"] else "changed"
    if report["file"] is not None:
        beyond = f"{report['changed_outside']:,} of them outside the edited layers"
        talk.say(f"{report['changed']:,} pixels {dry}, {beyond}.")
        talk.line(report["file"])
    if report["not_drawn"]:
        listed = "; ".join(f"{what} ({', '.join(names)})" for what, names in report["not_drawn"].items())
        talk.warn(f"{document.path} keeps what layercli cannot draw: {listed}.")
    if asked_for_backup and report["written"] and report["file"] and not report["backup"]:
        talk.warn(f"No backup was made: {report['file']} is a new file, and {document.path} stays as it was.")
    if report["backup"]:
        talk.say(f"The old file is {report['backup']}.")
    talk.line(*report["pictures"])
    talk.answer(report)
