"""Packages by name and version, through their registries' own clients, unpacked once into a folder."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from layercli.core.errors import LayercliError

_DEBIAN_SUITES = ("trixie", "sid", "bookworm")
_DEBIAN_KEYS = "/usr/share/keyrings/debian-archive-keyring.gpg"


@dataclass(frozen=True)
class Packages:
    """A folder of unpacked packages.

    any_version: where the version that a source asks for is no longer published, take the one that is.
    """

    folder: Path
    any_version: bool = False

    def npm(self, name: str, version: str) -> Path:
        """The folder `package/` of an npm package, fetched with `npm pack` (which checks its integrity)."""
        place = self.folder / f"npm-{name.strip('@').replace('/', '-')}-{version}"
        if not place.is_dir():
            _need("npm", "Install Node.js, which brings npm.")
            with _Part(place) as part:
                _run(["npm", "pack", f"{name}@{version}", "--silent"], part, f"npm package {name} {version}")
                archive = next(part.glob("*.tgz"))
                with tarfile.open(archive) as tar:
                    tar.extractall(part, filter="data")
                archive.unlink()
        return place / "package"

    def debian(self, name: str, version: str) -> Path:
        """The root of a Debian package, fetched with `apt-get download` (which checks its signature)."""
        place = self.folder / f"deb-{name}-{version.replace(':', '%')}"
        if not place.is_dir():
            for tool in ("apt-get", "dpkg-deb"):
                _need(tool, "Run this source on Debian or Ubuntu.")
            with _Part(place) as part:
                wanted = name if self.any_version else f"{name}={version}"
                _run(
                    ["apt-get", *self._apt_options, "download", wanted],
                    part,
                    f"Debian package {name} {version}",
                )
                archive = next(part.glob("*.deb"))
                _run(["dpkg-deb", "-x", archive.name, "."], part, archive.name)
                archive.unlink()
        return place

    @cached_property
    def _apt_options(self) -> list[str]:
        """Options that give apt fresh lists of its own: any release, any user, the system untouched."""
        if not Path(_DEBIAN_KEYS).is_file():
            raise LayercliError(f"{_DEBIAN_KEYS} is missing.", "apt-get install debian-archive-keyring")
        apt = self.folder.absolute() / "apt"
        for needed in ("lists/partial", "cache/archives/partial"):
            (apt / needed).mkdir(parents=True, exist_ok=True)
        (apt / "status").touch()
        lines = [
            f"deb [signed-by={_DEBIAN_KEYS}] http://deb.debian.org/debian {suite} main\n"
            for suite in _DEBIAN_SUITES
        ]
        (apt / "sources.list").write_text("".join(lines), encoding="utf-8")
        settings = {
            "Dir::Etc::sourcelist": apt / "sources.list",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": apt / "lists",
            "Dir::State::status": apt / "status",
            "Dir::Cache": apt / "cache",
            "APT::Architecture": "amd64",  # every package used here is for all architectures
            "APT::Sandbox::User": "root",  # the folder may be one that apt's own user cannot enter
        }
        options = [part for key, value in settings.items() for part in ("-o", f"{key}={value}")]
        _run(["apt-get", *options, "update"], apt, "Debian's package lists")
        return options


class _Part:
    """A folder that takes its final name only when its block ends without an error."""

    def __init__(self, place: Path) -> None:
        self._place, self._part = place, place.with_name(place.name + ".part")

    def __enter__(self) -> Path:
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir(parents=True)
        return self._part

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._part.replace(self._place)


def _need(tool: str, hint: str) -> None:
    if shutil.which(tool) is None:
        raise LayercliError(f"{tool} is not installed.", hint)


def _run(command: list[str], folder: Path, what: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise LayercliError(
            f"Could not fetch {what}: {last}",
            "Check the network; --any-version takes another version where this one is gone.",
        )
