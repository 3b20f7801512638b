"""From a checked request to files: plan all of it, load the model once, then make picture after picture."""

from __future__ import annotations

import dataclasses
import importlib
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from layercli.cli.asking import build_request, command_line, pairs
from layercli.cli.estimate import estimate, is_long
from layercli.cli.files import Target, formats_for, read_stack, split_formats, split_options, write_all
from layercli.cli.fitting import check_canvas, fit_of, free_on
from layercli.cli.naming import plan, stem_for
from layercli.cli.output import Output
from layercli.core import registry
from layercli.core.errors import LayercliError, as_word
from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest
from layercli.core.splitting import Split
from layercli.models.catalog import MODELS, load_model

if TYPE_CHECKING:
    from layercli.core.layers import LayerStack
    from layercli.core.receipt import Receipt
    from layercli.models.family import Model

METHODS = "layercli.generate"
SEEN = 1 / 255
"""A layer whose alpha nowhere reaches this is empty in every file."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """One picture to make: what, into which files, and from which description, where one was split.

    notes: what a person should know about it before it is made.
    """

    request: GenerateRequest
    targets: tuple[Target, ...]
    split: Split | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Made:
    """One picture that was made."""

    picture: Picture
    paths: tuple[Path, ...]
    layers: tuple[str, ...]
    seconds: float


def plan_pictures(params: Mapping[str, Any], split: Split | None = None) -> list[Picture]:
    """Check everything that can be checked before a model is loaded: request, names, folders, masks."""
    out = params["output"]
    formats = formats_for(out, split_formats(params["formats"] or []))
    options = split_options(pairs(params["options"] or [], "-O"), formats)
    asked = {**params, "options": [f"{key}={value}" for key, value in options[""].items()]}
    request = build_request(asked, stored_request(params["repeat"]) if params["repeat"] else None)
    notes: tuple[str, ...] = ()
    if request.given:
        request, notes = _on_a_canvas(request, sized=bool(params["size"] or params["repeat"]))
    check_canvas(request.size)
    if request.masks:
        from layercli.core.masks import open_mask

        for path in request.masks.values():
            open_mask(path, request.size)
    files = plan(stem_for(request), params["count"], out, formats, options, force=params["force"])
    return [
        Picture(
            request=request.replace(seed=request.seed + number),
            targets=tuple(targets),
            split=split,
            notes=notes,
        )
        for number, targets in enumerate(files)
    ]


def _on_a_canvas(request: GenerateRequest, *, sized: bool) -> tuple[GenerateRequest, tuple[str, ...]]:
    """The request on the canvas of a given background, unless a size was asked for; a note on what is scaled.

    Raises LayercliError for a picture that cannot be read.
    """
    from layercli.core.photos import covers
    from layercli.core.pixels import open_image

    picture = open_image(request.given)
    own = Size(picture.shape[1], picture.shape[0])
    if not sized and covers(picture):
        return request.replace(size=own), ()
    if request.size == own:
        return request, ()
    scaled = f"{request.given} is {own} and is scaled to a canvas of {request.size}."
    return request, (f"{scaled} Its own pixels stay with --size {own}",)


def stored_request(path: Path) -> GenerateRequest:
    """The request in a file's receipt; a file without one raises LayercliError."""
    receipt = read_stack(path).receipt
    if receipt is None or not receipt.request:
        raise LayercliError(f"{path} holds no request to repeat.", f"Try: layercli show {as_word(path)}")
    return GenerateRequest.from_dict(receipt.request)


def make(talk: Output, pictures: Sequence[Picture]) -> Iterator[Made]:
    """Load the model of the first request, which all share, and write picture after picture."""
    from layercli.models.family import resolve_device

    first = pictures[0].request
    method = registry.load(METHODS, first.method)
    options = registry.options_for(method, first.options)
    device = resolve_device(first.device)
    free = free_on(device)
    fit = fit_of(first, device, free)
    if unsure := fit.doubt():
        talk.warn(unsure)
    talk.say(f"Loading {first.model}…")
    with fit.told_when_full():
        model = load_model(first.model, device=first.device, dtype=first.dtype, offload=first.offload)
    weights = model.weight_hashes() | _adapter_hashes(options, first, model)
    if unsure := _doubt_of_adapter(options, first, weights):
        talk.warn(unsure)
    for note in (*pictures[0].notes, *notes_on_words(first)):
        talk.warn(note)
    for note in model.notes_on(texts_of(first)):
        talk.say(note)
    if first.alone and not (first.foregrounds and hasattr(method, "ALONE")):  # the same by any method
        method = importlib.import_module(f"{METHODS}._alone")
    if is_long(first, len(pictures)):
        with fit.told_when_full():
            talk.say(str(estimate(model, first, len(pictures))))
    for number, picture in enumerate(pictures, 1):
        began = time.monotonic()
        label = picture.targets[0].path.name + (f" ({number}/{len(pictures)})" if len(pictures) > 1 else "")
        with talk.progress(label) as on_step, fit_of(picture.request, device, free).told_when_full():
            stack = method.generate(picture.request, model, options, on_step)
        seconds = round(time.monotonic() - began, 3)
        receipt = _receipt(picture.request, seconds, str(model.device), weights)
        stack = dataclasses.replace(stack, receipt=receipt)
        paths = write_all(stack, picture.targets)
        _warn_of_empty_layers(talk, stack, picture.request)
        talk.say(f"{', '.join(stack.names)} in {seconds:.1f} s")
        yield Made(picture=picture, paths=paths, layers=stack.names, seconds=seconds)


def report(talk: Output, pictures: Sequence[Picture], made: Iterable[Made]) -> None:
    """Answer with every path as soon as it is written; where nothing is made, with all that would be."""
    answers = []
    for entry in made:
        talk.line(*map(str, entry.paths))
        answers.append(_answer(entry.picture, entry.paths, entry.layers, entry.seconds))
    for picture in pictures[len(answers) :]:
        paths = tuple(target.path for target in picture.targets)
        talk.line(*map(str, paths))
        answers.append(_answer(picture, paths, (), None))
    talk.answer({"pictures": answers})


def _answer(
    picture: Picture, paths: tuple[Path, ...], layers: tuple[str, ...], seconds: float | None
) -> dict[str, Any]:
    return {
        "files": [str(path) for path in paths],
        "layers": list(layers),
        "seconds": seconds,
        "command": command_line(picture.request),
        "request": picture.request.to_dict(),
        **({"split": picture.split.to_dict()} if picture.split is not None else {}),
    }


def _receipt(request: GenerateRequest, seconds: float, device: str, weights: dict[str, str]) -> Receipt:
    from layercli.core.receipt import Receipt

    return Receipt(
        request=request.to_dict(),
        versions={name: version(name) for name in ("layercli", "torch", "diffusers", "numpy")},
        weights=weights,
        seconds=seconds,
        device=device,
        command=command_line(request),
    )


def _adapter_hashes(options: Any, request: GenerateRequest, model: Model) -> dict[str, str]:
    """What a method's own weights add to the model; raises LayercliError where they are missing."""
    method = registry.load(METHODS, request.method)
    if request.alone and not (request.foregrounds and hasattr(method, "ALONE")):  # drawn by the model alone
        return {}
    if hasattr(method, "weight_files"):
        from layercli.vision._digest import file_digest

        return {
            f"{request.method}/{path.name}": file_digest(path)
            for path in method.weight_files(options, request, model)
        }
    if not hasattr(options, "adapter"):
        return {}
    from layercli.models.adapters import adapter_folder, adapter_hashes

    return adapter_hashes(adapter_folder(options.adapter, request.model, request.method), request.method)


def _doubt_of_adapter(options: Any, request: GenerateRequest, weights: Mapping[str, str]) -> str:
    """What a person should know about an adapter that was trained on other weights of the model, or ""."""
    if request.alone or not hasattr(options, "adapter"):
        return ""
    from layercli.models.adapters import adapter_folder, how_to_train, other_base

    kind = request.method
    folder = adapter_folder(options.adapter, request.model, kind)
    if not (file := other_base(folder, kind, weights)):
        return ""
    return (
        f"The {kind} adapter in {folder} was trained on another {file} than this model's; its layers may "
        f"come out worse. {how_to_train(kind, request.model)}"
    )


def texts_of(request: GenerateRequest) -> list[str]:
    """Every text that a model reads for a request, each once."""
    texts = [*request.foregrounds, request.background, request.global_prompt]
    style = request.style.strip()
    styled = [f"{text.strip()}, {style}" if style else text.strip() for text in texts if text]
    return list(dict.fromkeys([*styled, request.negative]))


def notes_on_words(request: GenerateRequest) -> list[str]:
    """What a person should know about words that the embedded model never saw; other models know more."""
    return notes_on_prompts(request.model, (*request.foregrounds, request.background))


def notes_on_prompts(model: str, prompts: Iterable[str]) -> list[str]:
    """The same for the prompts that a model is given."""
    entry = MODELS.get(model)
    if entry is None or not entry.family.startswith("embedded:"):
        return []
    from layercli.models.vocabulary import read_as, unknown_words

    prompts = list(prompts)
    kindred = {word: noun for prompt in prompts for word, noun in read_as(prompt).items()}
    unseen = {unknown.word: unknown for prompt in prompts for unknown in unknown_words(prompt)}
    notes = [
        f'The model "{model}" never saw "{word}" and draws "{noun}" for it.' for word, noun in kindred.items()
    ]
    return notes + [
        f'The model "{model}" never saw "{unknown.word}"'
        + (
            f"; the nearest words it knows are {', '.join(unknown.nearest)}. "
            if unknown.nearest
            else ", and knows no word like it. "
        )
        + "For more, fetch a larger model: layercli models"
        for unknown in unseen.values()
    ]


def _warn_of_empty_layers(talk: Output, stack: LayerStack, request: GenerateRequest) -> None:
    for name in request.layer_names:
        if name in stack.names and stack.layer(name).rgba[..., 3].max() < SEEN:
            talk.warn(f'"{name}" came out fully transparent. Try: --seed {request.seed + 1}')
