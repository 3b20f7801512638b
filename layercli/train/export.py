"""Stage 3: the trained parts as one model folder: float16 safetensors, hashes and a training report."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from layercli.core.errors import LayercliError
from layercli.models.adapters import (
    FILE,
    adapter_folder,
    adapter_hashes,
    other_base,
    read_config,
    write_config,
)
from layercli.models.embedded_network import blended, load_unet, save_unet
from layercli.models.rgba_autoencoder import load_autoencoder
from layercli.models.text_static import EMBEDDED_FOLDER

FILE_LIMIT = 16 * 2**20
TOTAL_LIMIT = 40 * 2**20
ADAPTERS = ("dreamlayer", "layerdiff")


@dataclass(frozen=True, kw_only=True)
class Options:
    """The folders that the stages wrote, and where the model goes.

    text: the text encoder's folder; the one that ships with layercli when empty. blend: the folder of a base
    whose weights are mixed into those of `base`, such as the one it was trained on from; share: how much of
    the mixture is `base`. dreamlayer, layerdiff: the
    folders of adapters trained on this base; none, or those that are in `out` already, when empty.
    """

    autoencoder: str = "runs/autoencoder"
    base: str = "runs/base"
    text: str = ""
    blend: str = ""
    share: float = 0.8
    dreamlayer: str = ""
    layerdiff: str = ""
    out: str = "runs/model"


def report_of(folder: Path, stage: str = "") -> dict[str, Any]:
    """How far a stage came (the last line of its log) and its options; empty where the stage left none.

    A run that started from the weights of an exported model, or of another run (`init`), holds the report of
    the stage there as "before", so that all its training stays on record.
    """
    log, asked = folder / "log.jsonl", folder / "options.json"
    lines = log.read_text(encoding="utf-8").splitlines() if log.is_file() else []
    options = json.loads(asked.read_text(encoding="utf-8")) if asked.is_file() else {}
    report = {"last": json.loads(lines[-1]) if lines else {}, "options": options}
    earlier = Path(options["init"]).parent if stage and options.get("init") else None
    if earlier is not None and (earlier / "training.json").is_file():
        report["before"] = json.loads((earlier / "training.json").read_text(encoding="utf-8")).get(stage, {})
    elif earlier is not None and (earlier / asked.name).is_file():
        report["before"] = report_of(earlier, stage)
    return report


def _report_in(out: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((out / "training.json").read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _hashes(out: Path, files: Sequence[Path]) -> dict[str, str]:
    return {file.relative_to(out).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def _ship_adapters(runs: Mapping[str, Path], out: Path) -> None:
    """Copy adapters, by kind, beside the weights, with the hashes of these; refuse those of another base.

    An adapter that does not tell its base, as older ones do, is taken to be trained on this one.
    """
    weights = _hashes(out, [file for file in sorted(out.rglob("*.safetensors")) if file.name != FILE])
    sources = {kind: run / "adapter" if (run / "adapter").is_dir() else run for kind, run in runs.items()}
    for kind in ADAPTERS:
        source = sources.get(kind, out / kind)
        if kind not in runs and not (source / FILE).is_file():
            continue
        if file := other_base(adapter_folder(str(source), "embedded", kind), kind, weights):
            raise LayercliError(
                f"The {kind} adapter in {source} was trained on another {file} than the one in {out}.",
                f"Train it on this one: layercli train {kind} --base {out} --out runs/{kind}",
            )
    for kind, source in sources.items():
        config = read_config(source, kind)
        if source.resolve() != (out / kind).resolve():
            (out / kind).mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / FILE, out / kind / FILE)
        config["base"] = config.get("base") or weights
        config["sha256"] = adapter_hashes(out / kind, kind)[f"{kind}/{FILE}"]
        write_config(out / kind, config)


def train(options: Options, on_step: Callable[[int, int], None] = lambda done, total: None) -> Path:
    """Write the model folder and return it.

    A part whose folder holds no log of a run (it may be `out` itself) keeps what the report in `out` said of
    it. Raises LayercliError when a part is missing, when an adapter was trained on another base, or when the
    weights are larger than a repository takes (16 MiB a file, 40 MiB in all).
    """
    out = Path(options.out)
    before = _report_in(out)
    if not 0 <= options.share <= 1:
        raise LayercliError(f"share={options.share:g} is no share of a mixture.", "Try: -O share=0.8")
    parts = [(options.autoencoder, "autoencoder"), (options.base, "unet")]
    for part, stage in [*parts, (options.blend, "unet")] if options.blend else parts:
        if not (Path(part) / stage / "config.json").is_file():
            raise LayercliError(f"There is no trained {stage} in {part}.", "Train it: layercli train --help")
    load_autoencoder(Path(options.autoencoder) / "autoencoder").to(torch.float16).save_pretrained(
        out / "autoencoder"
    )
    on_step(1, 3)
    unet = load_unet(Path(options.base) / "unet")
    if options.blend:
        blend = Path(options.blend)
        other = _hashes(
            blend, sorted(blend.glob("unet/*.safetensors"))
        )  # before `out`, if it is that, changes
        unet = blended(unet, load_unet(blend / "unet"), options.share)
    save_unet(unet, out, torch.float16)
    on_step(2, 3)
    text = Path(options.text or EMBEDDED_FOLDER)
    if text.resolve() != (out / "text").resolve():
        shutil.copytree(text, out / "text", dirs_exist_ok=True)
    folders = {"autoencoder": options.autoencoder, "base": options.base}
    folders |= {kind: getattr(options, kind) for kind in ADAPTERS}
    _ship_adapters({kind: Path(folders[kind]) for kind in ADAPTERS if folders[kind]}, out)
    files = sorted(file for file in out.rglob("*.safetensors"))
    for file in files:
        file.chmod(0o644)  # safetensors writes for the owner alone
    reports = {part: report_of(Path(folder), part) if folder else {} for part, folder in folders.items()}
    if options.blend:
        reports["base"] |= {"blend": {"share": options.share, "with": other}}
    report = {
        **{
            part: told if any(told.values()) else before.get(part, told)
            for part, told in reports.items()
            if part not in ADAPTERS or (out / part).is_dir()
        },
        "torch": torch.__version__,
        "sha256": _hashes(out, files),
    }
    (out / "training.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    too_large = [file.name for file in files if file.stat().st_size >= FILE_LIMIT]
    total = sum(file.stat().st_size for file in files)
    if too_large or total > TOTAL_LIMIT:
        raise LayercliError(
            f"The model in {out} is too large to ship: {total / 2**20:.1f} MiB {' '.join(too_large)}.",
            "Train a narrower network, or adapters of lower rank: layercli train base -O channels=64,128,160",
        )
    on_step(3, 3)
    return out
