"""What lies in Hugging Face's cache on this machine: found, checked and removed without asking the network.

Layout: models--OWNER--NAME/ holds blobs/ (a large file is named by its SHA-256, a small one by its git hash),
snapshots/COMMIT/ (links to blobs), and refs/BRANCH (a file with a commit in it).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

BLOCK = 1 << 20
_SHA256, _GIT = re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{40}")


def cache_folder() -> Path:
    """Hugging Face's cache: $HF_HUB_CACHE, or hub in $HF_HOME, or ~/.cache/huggingface/hub."""
    home = os.environ.get("HF_HUB_CACHE") or os.path.join(
        os.environ.get("HF_HOME") or os.path.join(Path.home(), ".cache", "huggingface"), "hub"
    )
    return Path(home).expanduser()


def repository_folder(hub: str) -> Path:
    """Where a repository ("owner/name") lies, whether it is there or not."""
    return cache_folder() / f"models--{hub.replace('/', '--')}"


def snapshot(hub: str, revision: str = "main") -> Path:
    """The folder of a commit, or of the commit that a branch was at when it was last fetched."""
    ref = repository_folder(hub) / "refs" / revision
    try:
        commit = ref.read_text(encoding="utf-8").strip()
    except OSError:
        commit = revision
    return repository_folder(hub) / "snapshots" / commit


def cached(hub: str, holds: str | Iterable[str] = "model_index.json", revision: str = "main") -> Path | None:
    """The snapshot of a repository in the local cache, or None; the network is not asked.

    holds: files without which the snapshot is not complete.
    """
    folder = snapshot(hub, revision)
    wanted = (holds,) if isinstance(holds, str) else tuple(holds)
    return folder if wanted and all((folder / name).is_file() for name in wanted) else None


def point(hub: str, revision: str, commit: str) -> None:
    """Note which commit a branch was at, as the hub's own tools do; a commit needs no note."""
    if revision != commit:
        ref = repository_folder(hub) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        ref.write_text(commit, encoding="utf-8")


def blob_name(path: Path) -> str:
    """The hash by which the cache keeps a file, SHA-256 or git's; "" for a file that is no link into it."""
    name = path.resolve().name if path.is_symlink() else ""
    return name if _SHA256.fullmatch(name) or _GIT.fullmatch(name) else ""


def has_hash(path: Path, digest: str) -> bool:
    """Whether a file's content has a hash: SHA-256 (64 digits), or that of a git blob (40 digits)."""
    if _GIT.fullmatch(digest):
        content = path.read_bytes()
        told = hashlib.sha1(f"blob {len(content)}\0".encode() + content, usedforsecurity=False).hexdigest()
    else:
        with path.open("rb") as file:
            told = hashlib.file_digest(file, "sha256").hexdigest()
    return told == digest


def bytes_in(folder: Path) -> int:
    """Disk use of a folder in bytes, where a link costs nothing; 0 for a folder that is not there."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def size_words(size: int) -> str:
    """Bytes as people say them: "1.20 MB", "6.94 GB"."""
    return f"{size / 1e9:.2f} GB" if size >= 1e8 else f"{size / 1e6:.2f} MB"


def files_in(folder: Path) -> list[str]:
    """The files of a snapshot by their paths in it, also those whose content is gone."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    )


def unlink_files(folder: Path, names: Iterable[str]) -> int:
    """Take single files out of a snapshot, and their blobs where no other link needs them -> bytes freed."""
    blobs = set()
    for name in names:
        path = folder / name
        if path.is_symlink() or path.is_file():
            blobs.add(path.resolve())
            path.unlink()
    snapshots = folder.parent.rglob("*")
    needed = {path.resolve() for path in snapshots if path.is_symlink()}
    freed = 0
    for blob in blobs - needed:
        if blob.is_file():
            freed += blob.stat().st_size
            blob.unlink()
    return freed


def remove_repository(hub: str) -> int:
    """Delete all that the cache has of a repository, by the hub's own strategy -> bytes freed."""
    import shutil

    from huggingface_hub import scan_cache_dir

    folder = repository_folder(hub)
    before = bytes_in(folder)
    if not folder.is_dir():
        return 0
    found = scan_cache_dir(cache_folder())
    commits = [
        revision.commit_hash for repo in found.repos if repo.repo_id == hub for revision in repo.revisions
    ]
    if commits:
        found.delete_revisions(*commits).execute()
    shutil.rmtree(folder, ignore_errors=True)  # a pull that was interrupted leaves parts and no revision
    return before - bytes_in(folder)
