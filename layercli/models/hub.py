"""Asking the model hub what a repository holds, and fetching it into Hugging Face's cache.

Large files are fetched here: they go on where they stopped, and are let into the cache only if their content
has the hash that the hub says. Small files and links are left to huggingface_hub.
"""

from __future__ import annotations

import io
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from layercli.core.errors import LayercliError
from layercli.models.hub_cache import (
    cache_folder,
    has_hash,
    point,
    repository_folder,
    size_words,
    snapshot,
)
from layercli.models.hub_failures import failure

OnBytes = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""

_READ = (".json", ".txt", ".model", ".safetensors")
"""What is ever fetched: settings, words and safe weights; never anything that runs when it is read."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository; sha256 is "" for the small ones, which git keeps itself."""

    path: str
    bytes: int
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a repository has of the files asked for, at one commit."""

    hub: str
    revision: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def bytes(self) -> int:
        """The size of all files."""
        return sum(file.bytes for file in self.files)

    @property
    def folder(self) -> Path:
        """Where the files lie once they are fetched."""
        return snapshot(self.hub, self.commit)

    @property
    def missing(self) -> tuple[HubFile, ...]:
        """The files that are not here yet."""
        return tuple(file for file in self.files if not (self.folder / file.path).is_file())


def endpoint() -> str:
    """The address of the hub: $HF_ENDPOINT, or huggingface.co; raises LayercliError for one that is none."""
    named = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    try:
        address = urlsplit(named)
        usable = address.scheme in ("http", "https") and address.hostname and address.port != 0
    except ValueError:
        usable = None
    if not usable:
        raise LayercliError(
            f'HF_ENDPOINT is "{named}", which is no address of a hub.', "Try: unset HF_ENDPOINT"
        )
    return named.rstrip("/")


def ask(hub: str, patterns: Iterable[str], revision: str = "main", *, half: bool = True) -> Offer:
    """Ask the hub for the files of a repository that match, in float16 where there are both, or not (half).

    Raises LayercliError where the hub cannot be asked, or has no such repository, revision or files.
    """
    refuse_offline(hub)
    from huggingface_hub import HfApi

    with _failures(hub, revision), _quiet():
        info = HfApi(endpoint=endpoint()).model_info(hub, revision=revision, files_metadata=True, timeout=30)
    found = [
        HubFile(
            path=sibling.rfilename,
            bytes=sibling.size or 0,
            sha256=sibling.lfs["sha256"] if sibling.lfs else "",
        )
        for sibling in info.siblings or ()
    ]
    files = wanted(found, patterns, half=half)
    if not files or not info.sha:
        raise LayercliError(
            f"The repository {hub} at {revision} has none of the files {', '.join(patterns)}.",
            "Leave --revision out, or look at the repository's page.",
        )
    return Offer(hub=hub, revision=revision, commit=info.sha, files=files)


def wanted(files: Iterable[HubFile], patterns: Iterable[str], *, half: bool) -> tuple[HubFile, ...]:
    """The files to fetch of those there are: readable ones that match, in one number type a folder.

    The largest come first, and what stands at the top last: a model_index.json means that all else is there.
    """
    ways = tuple(patterns)
    kept = [
        file
        for file in files
        if file.path.endswith(_READ)
        and "non_ema" not in file.path
        and any(fnmatchcase(file.path, way) for way in ways)
    ]
    folders = {file.path.rpartition("/")[0] for file in kept if _is_half(file.path)}
    whole = {
        file.path.rpartition("/")[0]
        for file in kept
        if file.path.endswith(".safetensors") and not _is_half(file.path)
    }
    both = folders & whole
    kept = [
        file
        for file in kept
        if file.path.rpartition("/")[0] not in both
        or not file.path.endswith((".safetensors", ".index.json", ".index.fp16.json"))
        or _is_half(file.path) == half
    ]
    return tuple(sorted(kept, key=lambda file: ("/" not in file.path, -file.bytes, file.path)))


def _is_half(path: str) -> bool:
    return ".fp16" in path.rpartition("/")[2]


def fetch(offer: Offer, on_bytes: OnBytes = lambda done, total: None) -> Path:
    """Fetch what is missing of an offer into the cache -> the folder.

    An interrupted fetch goes on where it stopped when it is called again. Raises LayercliError where there is
    no room or no network, and where a file is not what the hub said it would be.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.file_download import are_symlinks_supported

    refuse_offline(offer.hub)
    missing = offer.missing
    _make_room(offer, missing)
    done = offer.bytes - sum(file.bytes for file in missing)
    on_bytes(done, offer.bytes)
    with _failures(offer.hub, offer.commit), _quiet():
        for file in missing:
            if file.sha256 and are_symlinks_supported(cache_folder()):
                _fetch_blob(offer, file, on_bytes, done)
            hf_hub_download(
                offer.hub,
                file.path,
                revision=offer.commit,
                cache_dir=cache_folder(),
                endpoint=endpoint(),
            )
            done += file.bytes
            on_bytes(done, offer.bytes)
    point(offer.hub, offer.revision, offer.commit)
    return offer.folder


def _fetch_blob(offer: Offer, file: HubFile, on_bytes: OnBytes, before: int) -> None:
    from huggingface_hub import hf_hub_url
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import WeakFileLock, build_hf_headers

    repository = repository_folder(offer.hub)
    blob = repository / "blobs" / file.sha256
    part = blob.with_name(f"{file.sha256}.incomplete")
    lock = cache_folder() / ".locks" / repository.name / f"{file.sha256}.lock"
    for folder in (blob.parent, lock.parent):
        folder.mkdir(parents=True, exist_ok=True)
    with WeakFileLock(lock):
        if blob.is_file():
            return
        if part.is_file() and part.stat().st_size > file.bytes:
            part.unlink()
        address = hf_hub_url(offer.hub, file.path, revision=offer.commit, endpoint=endpoint())
        with _Told(part, lambda here: on_bytes(before + here, offer.bytes)) as written:
            http_get(
                address,
                written,
                resume_size=written.tell(),
                headers=build_hf_headers(),
                expected_size=file.bytes,
            )
        if not has_hash(part, file.sha256):
            part.unlink()
            raise LayercliError(
                f"{file.path} of {offer.hub} came as another file than the hub said, and was thrown away.",
                "Try again; if it comes so again, do not trust where it comes from.",
            )
        os.replace(part, blob)


class _Told(io.BufferedRandom):
    """A file that is written on from its end, and tells how far it is."""

    def __init__(self, path: Path, on_bytes: Callable[[int], None]) -> None:
        path.touch()
        super().__init__(io.FileIO(path, "r+"))
        self.seek(0, io.SEEK_END)
        self._on_bytes = on_bytes

    def write(self, block: Any) -> int:
        written = super().write(block)
        self._on_bytes(self.tell())
        return written


def _make_room(offer: Offer, missing: Iterable[HubFile]) -> None:
    needed = sum(file.bytes for file in missing)
    place = cache_folder()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed > free:
        raise LayercliError(
            f"{offer.hub} needs {size_words(needed)}, and the disk of {place} has {size_words(free)} free.",
            "Free some space, or set HF_HOME to a folder on another disk.",
        )


def refuse_offline(hub: str) -> None:
    """Raise LayercliError where the environment says that nothing is to be fetched."""
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "LAYERCLI_OFFLINE"):
        if os.environ.get(name, "").upper() in {"1", "ON", "YES", "TRUE"}:
            raise LayercliError(
                f"{hub} is not fetched, because {name} is set.", f"To fetch it, first type: unset {name}"
            )


@contextmanager
def _failures(hub: str, revision: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        known = failure(error, hub, revision, endpoint())
        if known is None:
            raise
        raise known from error


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no notes of huggingface_hub: what it says is said by the command."""
    from huggingface_hub.utils import (
        are_progress_bars_disabled,
        disable_progress_bars,
        enable_progress_bars,
    )

    log = logging.getLogger("huggingface_hub")
    level, drawn = log.level, not are_progress_bars_disabled()
    log.setLevel(logging.CRITICAL)
    if drawn:
        disable_progress_bars()
    try:
        yield
    finally:
        log.setLevel(level)
        if drawn:
            enable_progress_bars()
