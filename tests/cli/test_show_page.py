"""`layercli show --html`, in a real browser where there is one."""

from __future__ import annotations

import html
import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.cli.files import read_stack
from layercli.formats import psd
from tests.edit import scenes

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIDEBAR = 320


@pytest.fixture
def scene(here: Path) -> Path:
    psd.write(scenes.one_object(), here / "a b.psd")
    return Path("a b.psd")


@pytest.fixture
def browse(here: Path):
    """Run a headless browser on a page; its stdout."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("there is no Chromium on this machine (Debian: apt install chromium)")

    def browse_(*words: str) -> str:
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
                 "--disable-dev-shm-usage", f"--user-data-dir={here / 'profile'}",
                 "--force-color-profile=srgb",
                 "--window-size=1000,700", "--virtual-time-budget=3000"]  # fmt: skip
        env = {**os.environ, "XDG_CACHE_HOME": str(here / "cache")}  # it would leave files beside the tests
        done = subprocess.run([found, *quiet, *words], capture_output=True, text=True, timeout=120, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return browse_


def shown(here: Path, browse, page: str) -> np.ndarray:
    """The stage of a page at 4 pixels a pixel, (40, 48, 3), as the browser draws it."""
    browse(f"--screenshot={here / 'shot.png'}", page)
    shot = np.asarray(Image.open(here / "shot.png").convert("RGB"))
    left = (shot.shape[1] - SIDEBAR - 4 * scenes.CANVAS.width) // 2
    middle = shot[:, left + 2 : left + 4 * scenes.CANVAS.width : 4]
    paper = shot[4, 4].astype(int)
    rows = np.flatnonzero((np.abs(middle.astype(int) - paper).max(axis=-1) > 24).all(axis=1))
    return middle[rows[0] + 2 : rows[0] + 4 * scenes.CANVAS.height : 4]


def test_a_page_beside_the_file(run, here, scene):
    for name in ("a b.html", "a b-2.html"):
        result = run("show", scene, "--html", "--no-sheet")
        assert result.exit_code == 0, result.output
        assert f"Wrote {name}" in result.stderr
        assert (here / name).exists()
    assert '"page": "a b-3.html"' in run("show", scene, "--html", "--no-sheet", "--json").stdout


def test_a_browser_draws_what_the_file_shows(run, here, scene, browse):
    run("show", scene, "--html", "--no-sheet")
    found = shown(here, browse, str(here / "a b.html"))
    wanted = read_stack(here / scene).flatten_quantized()[..., :3]
    assert np.abs(found.astype(int) - wanted).max() <= 3


def test_what_is_done_on_the_page_is_a_command_that_does_it(run, here, scene, browse):
    run("show", scene, "--html", "--no-sheet")
    text = (here / "a b.html").read_text(encoding="utf-8")
    done = """<script>
    const box = stage.getBoundingClientRect(), point = (x, y) => ({ clientX: box.left + x * box.width / 48,
      clientY: box.top + y * box.height / 40, pointerId: 1, bubbles: true });
    stage.setPointerCapture = () => {};
    stage.dispatchEvent(new PointerEvent("pointerdown", point(11, 21)));
    stage.dispatchEvent(new PointerEvent("pointermove", point(19, 18)));
    stage.dispatchEvent(new PointerEvent("pointerup", point(19, 18)));
    const key = { key: "ArrowRight", shiftKey: true, bubbles: true };
    document.body.dispatchEvent(new KeyboardEvent("keydown", key));
    rows[1].opacity.value = 70; rows[1].opacity.oninput();
    rows[3].eye.checked = false; rows[3].eye.onchange();
    </script>"""
    (here / "done.html").write_text(text.replace("</body>", f"{done}</body>"), encoding="utf-8")
    dom = browse("--dump-dom", str(here / "done.html"))
    [command] = re.findall(r'<pre id="command">(.*?)</pre>', dom, re.DOTALL)
    words = shlex.split(html.unescape(command))
    assert words[:3] == ["layercli", "edit", "a b.psd"]
    assert " ".join(words[3:]) == "move cat --by=18,-3 then opacity cat 70% then hide light --alone"
    result = run(*words[1:])
    assert result.exit_code == 0, result.output
    wanted = read_stack(here / scene).flatten_quantized()[..., :3]
    found = shown(here, browse, str(here / "done.html"))
    rough = np.abs(found.astype(int) - wanted).max(axis=-1)  # but for the dashed line around the chosen layer
    assert np.median(rough) == 0 and (rough > 3).mean() < 0.06
