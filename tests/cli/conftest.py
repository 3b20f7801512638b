"""A command line in an empty folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from layercli.cli.app import app

Run = Callable[..., Result]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(here: Path) -> Run:
    """Run one command line in the empty folder; the result has exit_code, stdout and stderr."""

    def run_(*words: str) -> Result:
        return CliRunner().invoke(app, [str(word) for word in words])

    return run_


@pytest.fixture
def refused(run: Run, here: Path) -> Callable[..., str]:
    """Run a command line that must fail with one sentence and leave the folder as it is; the sentence."""

    def refused_(*words: str) -> str:
        before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
        result = run(*words)
        after = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
        assert result.exit_code == 2, result.output
        assert result.stdout == ""
        assert after == before
        first, *hints = result.stderr.strip().splitlines()
        assert first.startswith("Error: ")
        assert first.endswith(".")
        assert len(hints) <= 1
        assert "Traceback" not in result.stderr
        return result.stderr.replace("\n", " ")

    return refused_
