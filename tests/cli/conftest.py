"""A command line in an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from layercli.cli.app import app
from layercli.core.geometry import Offset, Size
from layercli.core.layers import Layer, LayerStack

Run = Callable[..., Result]
STOPPED = (130, -signal.SIGINT)
"""How a program that Ctrl-C stopped ends; a shell tells both as 130. Where the signal met C code that ran
Python while it was imported, the interpreter ends by the signal itself."""


def started(*words: str) -> subprocess.Popen[str]:
    """One command line in processes of its own, a group that Ctrl-C stops; what it tells is piped."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "layercli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        # A shell ignores Ctrl-C for what it runs in the background, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


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
        _talk, *told = result.stderr.strip().split("Error: ")
        assert len(told) == 1
        sentence, *hints = told[0].splitlines()
        assert sentence.endswith(".")
        assert len(hints) <= 1
        assert "Traceback" not in result.stderr
        return " ".join([sentence, *hints])

    return refused_


@pytest.fixture
def stack() -> LayerStack:
    """Two layers on 12 x 8 pixels: a blue background and a red square with a soft edge."""
    back = np.zeros((8, 12, 4), dtype=np.float32)
    back[...] = (0, 0, 1, 1)
    square = np.zeros((4, 4, 4), dtype=np.float32)
    square[...] = (1, 0, 0, 1)
    square[0, :, 3] = 0.5
    return LayerStack(
        canvas=Size(12, 8),
        layers=(
            Layer(name="sea", rgba=back),
            Layer(name="a/../boat", rgba=square, offset=Offset(2, 3), opacity=0.8, prompt="a boat"),
        ),
    )


@pytest.fixture
def boat_psd(here: Path, stack: LayerStack) -> Path:
    """The stack as boat.psd in the empty folder."""
    from layercli.formats import psd

    return psd.write(stack, here / "boat.psd", psd.Options())
