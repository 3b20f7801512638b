"""Many photos: several at a time give the same files, and what was interrupted goes on."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.core.pixels import quantize
from tests.cli.conftest import STOPPED, started
from tests.decompose.made import ball, over, wall


@pytest.fixture
def photos(here: Path) -> Path:
    """A folder with three photos, a broken one among them."""
    folder = here / "in"
    folder.mkdir()
    for number, name in enumerate("acd"):
        rgb = over(wall(seed=number), ball(centre=(0.5, 0.4 + 0.1 * number)), (0.8, 0.15, 0.1))
        Image.fromarray(quantize(rgb)).save(folder / f"{name}.png")
    (folder / "b.png").write_bytes(b"broken")
    return folder


def test_several_at_a_time_give_the_same_layers_in_the_same_order(run, here, photos):
    results = []
    for jobs in ("1", "3"):
        (here / jobs).mkdir()
        result = run("decompose", "in", "-o", f"{jobs}/", "--jobs", jobs)
        assert result.exit_code == 2, result.output
        assert "1 of 4 photos failed." in result.stderr
        assert "b.png" in result.stderr
        results.append(result)
    one, three = (result.stdout for result in results)
    assert one.split() == ["1/a.psd", "1/c.psd", "1/d.psd"]
    assert three.split() == ["3/a.psd", "3/c.psd", "3/d.psd"]
    for name in "acd":
        stacks = [read_stack(here / jobs / f"{name}.psd") for jobs in ("1", "3")]
        assert stacks[0].names == stacks[1].names
        for layer in stacks[0].names:
            np.testing.assert_array_equal(stacks[0].placed(layer), stacks[1].placed(layer))
    told = [line for line in results[1].stderr.splitlines() if "Recomposition error" in line]
    assert [line.split(":")[0] for line in told] == ["in/a.png", "in/c.png", "in/d.png"]


def test_going_on_keeps_what_is_done_and_makes_what_is_not(run, here, photos):
    (photos / "b.png").unlink()
    (here / "out").mkdir()
    assert run("decompose", "in/a.png", "-o", "out/").exit_code == 0
    (here / "out" / "c.psd").write_bytes(b"somebody else's")
    kept = (here / "out" / "a.psd").stat().st_mtime_ns
    result = run("decompose", "in", "-o", "out/", "--resume", "--json")
    assert result.exit_code == 0, result.output
    made = [entry["files"] for entry in json.loads(result.stdout)["pictures"]]
    assert made == [["out/c-2.psd"], ["out/d.psd"]]
    assert (here / "out" / "a.psd").stat().st_mtime_ns == kept
    assert (here / "out" / "c.psd").read_bytes() == b"somebody else's"
    again = run("decompose", "in", "-o", "out/", "--resume")
    assert again.exit_code == 0 and again.stdout == ""
    assert "3 of 3 photos are done already." in again.stderr
    # Another request, or another photo under the same name, is no going on.
    other = run("decompose", "in/a.png", "-o", "out/", "--resume", "--seed", "1")
    assert other.stdout.split() == ["out/a-2.psd"]
    Image.fromarray(quantize(over(wall(seed=9), ball(), (0.1, 0.2, 0.8)))).save(photos / "d.png")
    assert run("decompose", "in/d.png", "-o", "out/", "--resume").stdout.split() == ["out/d-2.psd"]


def test_an_interrupt_leaves_whole_files_and_the_rest_is_made_later(here):
    (here / "in").mkdir()
    (here / "out").mkdir()
    for number in range(6):
        rgb = over(wall(150, 200, seed=number), ball(150, 200), (0.8, 0.15, 0.1))
        Image.fromarray(quantize(rgb)).save(here / "in" / f"{number}.png")
    words = ("decompose", "in", "-o", "out/", "--jobs", "2", "--resume")
    running = started(*words)
    for _ in range(600):
        if list((here / "out").glob("*.psd")) or running.poll() is not None:
            break
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as Ctrl-C does: to every process
    _, told = running.communicate(timeout=60)
    assert running.returncode in STOPPED, told
    assert "Traceback" not in told
    first = {path.name for path in (here / "out").iterdir()}
    assert first and first < {f"{number}.psd" for number in range(6)}
    again = started(*words)
    _, told = again.communicate(timeout=120)
    assert again.returncode == 0, told
    assert f"{len(first)} of 6 photos are done already." in told
    assert {path.name for path in (here / "out").iterdir()} == {f"{number}.psd" for number in range(6)}
    assert all(read_stack(path).names for path in (here / "out").iterdir())


def test_going_on_always_answers_with_json_what_is_done_and_what_was_made(run, here, photos):
    """Also where nothing is left to make, for a photo alone, and where all that is left is broken."""
    words = ("decompose", "in/a.png", "in/b.png", "--resume")
    first = run(*words, "--json")
    assert first.exit_code == 2
    told = json.loads(first.stdout)
    assert [entry["files"] for entry in told["pictures"]] == [["a.psd"]] and told["done"] == []
    again = run(*words, "--json")  # b.png alone is left
    assert again.exit_code == 2
    told = json.loads(again.stdout)
    assert told["pictures"] == [] and [entry["files"] for entry in told["done"]] == [["a.psd"]]
    assert "in/b.png: " in again.stderr and "1 of 2 photos failed." in run(*words).stderr
    one = run("decompose", "in/a.png", "--resume", "--json")
    assert one.exit_code == 0
    assert [entry["request"]["photo"] for entry in json.loads(one.stdout)["done"]] == ["in/a.png"]
    assert "in/a.png is done already: a.psd." in run("decompose", "in/a.png", "--resume").stderr
    planned = json.loads(run(*words, "--dry-run", "--json").stdout)
    assert [[entry["files"] for entry in planned[part]] for part in ("pictures", "done")] == [
        [["b.psd"]], [["a.psd"]],
    ]  # fmt: skip


def test_a_link_to_itself_does_not_stop_the_others(run, here, photos):
    (photos / "b.png").unlink()
    (photos / "b.png").symlink_to("b.png")
    result = run("decompose", "in/a.png", "in/b.png")
    assert result.exit_code == 2 and result.stdout.split() == ["a.psd"]
    assert '"in/b.png" is a link that leads back to itself.' in result.stderr
