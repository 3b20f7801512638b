"""The program itself: help without weight, one boundary for every failure, answers apart from talk."""

from __future__ import annotations

import errno
import importlib
import os
import subprocess
import sys
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from layercli import __version__
from layercli.cli._base import with_output_flags
from layercli.cli.app import COMMANDS, CommandGroup
from layercli.core import registry
from layercli.core.errors import LayercliError

HEAVY = ("torch", "diffusers", "transformers", "numpy", "PIL", "psd_tools", "rich")
STAGES = [("train", name) for name in registry.plugins("layercli.train")]
DATA = [("data", name) for name in registry.plugins("layercli.data")]


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("words", [(), *((name,) for name in COMMANDS), *STAGES, *DATA], ids=" ".join)
def test_help_imports_nothing_heavy(words: tuple[str, ...]):
    code = (
        "import sys\n"
        f"sys.argv = ['layercli', *{words!r}, '--help']\n"
        "from layercli.cli.app import main\n"
        "try: main()\n"
        f"finally: print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = python("-c", code)
    assert done.returncode == 0, done.stderr
    assert "Usage: layercli" in done.stdout
    assert "--help" in done.stdout
    assert done.stderr.strip() == "[]"


def test_help_imports_no_command_at_all():
    """What makes the help quick, whatever the machine: it reads the first line of each command's file."""
    code = (
        "import sys; sys.argv = ['layercli', '--help']\n"
        "from layercli.cli.app import COMMANDS, main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([n for n in COMMANDS if 'layercli.cli.' + n in sys.modules], file=sys.stderr)"
    )
    done = python("-c", code)
    assert done.stderr.strip() == "[]"
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(run, name):
    own = (importlib.import_module(f"layercli.cli.{name}").__doc__ or "").partition("\n")[0]
    assert f" {name} {own}" in " ".join(run("--help").stdout.split())
    assert own in " ".join(run(name, "--help").stdout.split())


def test_without_a_command_the_help_is_shown(run):
    result = run()
    assert result.exit_code == 0
    assert all(name in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("group", ["train", "data"])
def test_a_group_without_a_command_shows_its_help(run, group):
    result = run(group)
    assert result.exit_code == 0
    assert f"Usage: layercli {group}" in result.stdout


def test_the_version_is_told(run):
    result = run("--version")
    assert (result.exit_code, result.stdout) == (0, f"layercli {__version__}\n")


def test_the_module_runs_like_the_program():
    done = python("-m", "layercli", "--version")
    assert (done.returncode, done.stdout) == (0, f"layercli {__version__}\n")


def test_an_unknown_command_is_refused_with_the_closest_one(refused):
    assert 'There is no command "generat". Did you mean generate? There are: generate, decompose' in refused(
        "generat"
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_flag_fails(refused, command: str):
    told = refused(command, "--no-such-flag")
    assert "No such option: --no-such-flag" in told
    assert f"Try: layercli {command} --help" in told


def test_a_flag_without_its_value_fails(refused):
    assert "--seed" in refused("generate", "--fg", "a cat", "--bg", "a sofa", "--seed")


def test_a_value_of_another_type_fails(refused):
    assert "--seed" in refused("generate", "--fg", "a cat", "--bg", "a sofa", "--seed", "many")


def test_shell_completion_offers_the_commands():
    environment = {"_LAYERCLI_COMPLETE": "complete_bash", "COMP_WORDS": "layercli ", "COMP_CWORD": "1"}
    code = f"import os; os.environ.update({environment!r}); from layercli.cli.app import main; main()"
    done = python("-c", code)
    assert set(done.stdout.split()) >= set(COMMANDS)


class OutOfMemoryError(RuntimeError):
    """Named as torch names its own."""


def failing(error: BaseException, *words: str) -> Any:
    """Run a program of one command, `fail`, that raises the error inside the real boundary."""
    single = typer.Typer(add_completion=False)

    @single.command()
    def fail() -> None:
        raise error

    class Failing(CommandGroup):
        def get_command(self, ctx: Any, cmd_name: str) -> Any:
            return with_output_flags(typer.main.get_command(single))

    program = typer.Typer(cls=Failing)
    program.callback()(lambda: None)
    return CliRunner().invoke(program, ["fail", *words])


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (LayercliError("No fox.", "Layers: hill."), 2, "Error: No fox.\nLayers: hill.\n"),
        (MemoryError(), 2, "There is not enough memory for this picture.\nClose other programs, or make"),
        (
            OutOfMemoryError("CUDA out of memory. Tried"),
            2,
            "this picture.\nMake the picture smaller, or try --dev",
        ),
        (RuntimeError("[enforce fail] can't allocate memory: you"), 2, "There is not enough memory"),
        (RuntimeError("Invalid buffer size: 19.38 GiB"), 2, "There is not enough memory"),
        (
            RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"),
            2,
            "There is not enough memory",
        ),
        (TypeError("BFloat16 is not supported on MPS"), 2, "computes no bfloat16 on its GPU"),
        (TypeError("BFloat16 is a number type"), 1, "layercli made a mistake: TypeError"),
        (PermissionError(errno.EACCES, "denied", "a.psd"), 2, "There is no permission to open a.psd."),
        (OSError(errno.ELOOP, "links", "a.psd"), 2, "a.psd is a link that leads back to itself."),
        (OSError(errno.ENOSPC, "no space", "a.psd"), 2, "The disk is full: a.psd was not written."),
        (OSError(errno.EROFS, "read-only", "a.psd"), 2, "a.psd lies on a disk that can only be read."),
        (FileNotFoundError(errno.ENOENT, "none", "a.psd"), 2, "There is no file a.psd."),
        (IsADirectoryError(errno.EISDIR, "folder", "a"), 2, "a is a folder, not a file."),
        (ModuleNotFoundError("none", name="scipy.ndimage"), 2, 'package "scipy" is not installed.'),
        (KeyboardInterrupt(), 130, "Stopped. No file was left half-written."),
        (ZeroDivisionError("division by zero"), 1, "layercli made a mistake: ZeroDivisionError: division by"),
        (
            ModuleNotFoundError("none", name="layercli.lost"),
            1,
            "layercli made a mistake: ModuleNotFoundError",
        ),
    ],
)
def test_every_failure_is_a_sentence_and_an_exit_code(error, code, sentence):
    result = failing(error)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_debug_shows_the_traceback():
    result = failing(LayercliError("No fox."), "--debug")
    assert result.exit_code == 2
    assert "Traceback (most recent call last)" in result.stderr
    assert result.stderr.endswith("Error: No fox.\n")


def test_the_reader_may_leave_early():
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "layercli", "--help"]
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, "")


def test_streams_may_be_closed(tmp_path):
    words = [sys.executable, "-m", "layercli", "models", "list", "--quiet"]
    shell = ["sh", "-c", '"$@" >&- 2>"$0"', tmp_path / "told", *words]
    assert subprocess.run(shell, timeout=60).returncode == 0
    assert (tmp_path / "told").read_text() == ""
    assert subprocess.run(["sh", "-c", '"$@" 2>&-', "sh", *words, "--no"], timeout=60).returncode == 2
