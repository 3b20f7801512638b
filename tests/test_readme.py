"""The README says what is true: its commands exist and run, and every command is in it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from layercli.cli.app import COMMANDS, app
from layercli.models.catalog import folder_of

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
LINES = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    for line in block.splitlines()
]


def test_the_first_two_blocks_install_and_run_and_test():
    assert LINES[0] == 'pip install . && layercli generate --fg "a cat" --bg "a sofa"'
    assert LINES[1] == 'pip install ".[test]" && pytest'


def test_every_line_is_a_command_of_ours():
    assert len(LINES) > 10
    assert all(line.startswith(("layercli ", "pip install ")) for line in LINES)


def test_every_command_is_documented():
    documented = {shlex.split(line)[1] for line in LINES if line.startswith("layercli ")}
    assert documented == set(COMMANDS)


def test_the_files_it_points_to_are_there():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_command_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if folder_of("embedded") is None:
        pytest.skip("the embedded weights are not in this tree")
    monkeypatch.chdir(tmp_path)
    for line in LINES:
        words = shlex.split(re.sub(r"--steps \d+", "--steps 2", line.partition("&& ")[2] or line))
        if words[0] != "layercli":
            continue
        # Two steps make no picture worth looking at, but run every line of the way.
        more = ["--steps", "2"] if words[1] == "generate" else []
        result = CliRunner().invoke(app, [*words[1:], *more])
        assert result.exit_code == 0, f"{line}\n{result.output}"
    made = {path.name for path in tmp_path.iterdir()}
    assert made >= {"a-cat-on-a-sofa.psd", "dog.psd", "dog-sheet.png", "dog.ora", "cats-4.psd", "cat.layers"}
