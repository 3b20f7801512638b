"""PSD files in GIMP 2.10: the same layers, the same picture."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from layercli.core.trim import trim
from layercli.formats import psd, psd_pytoshop
from tests.formats.stacks import edited, sample_stack

#: Prints every layer with its depth in the tree, front to back, and saves what is visible.
SCRIPT = """
(let ((image (car (file-psd-load RUN-NONINTERACTIVE "{path}" "{path}"))))
  (define (text part) (string-append (if (number? part) (number->string part) part) "|"))
  (define (told . parts) (gimp-message (apply string-append (map text parts))))
  (define (walk items depth)
    (for-each (lambda (l)
      (told "LAYER" depth (car (gimp-item-get-name l)) (car (gimp-item-is-group l))
            (car (gimp-drawable-offsets l)) (cadr (gimp-drawable-offsets l))
            (car (gimp-drawable-width l)) (car (gimp-drawable-height l))
            (car (gimp-layer-get-opacity l)) (car (gimp-item-get-visible l)) (car (gimp-layer-get-mask l)))
      (if (= 1 (car (gimp-item-is-group l)))
          (walk (vector->list (cadr (gimp-item-get-children l))) (+ depth 1))))
      items))
  (walk (vector->list (cadr (gimp-image-get-layers image))) 0)
  (let ((shown (car (gimp-image-merge-visible-layers image CLIP-TO-IMAGE))))
    (file-png-save RUN-NONINTERACTIVE image shown "{path}.png" "{path}.png" 0 3 0 0 0 0 0)))
"""


@pytest.mark.parametrize("change", [False, True], ids=["written", "edited"])
@pytest.mark.parametrize("writer", [psd, psd_pytoshop], ids=["psd-tools", "pytoshop"])
def test_gimp_shows_the_same_layers_and_the_same_picture(writer, change, tmp_path):
    gimp = shutil.which("gimp-console-2.10")
    if gimp is None:
        pytest.skip("GIMP 2.10 is not installed (Debian: apt install gimp)")
    stack = sample_stack(48)
    path = writer.write(stack, tmp_path / "a.psd")
    stack = edited(stack, path) if change else stack
    told = subprocess.run(
        [gimp, "-i", "-d", "-f", "-b", SCRIPT.format(path=path), "-b", "(gimp-quit 0)"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )
    lines = [line.split("LAYER|")[1].split("|") for line in told.stderr.splitlines() if "LAYER|" in line]
    layers = {name: entry for depth, name, group, *entry, _ in lines if group == "0"}
    assert list(layers) == list(stack.names)[::-1], told.stderr[-2000:]
    depths = {name: int(depth) for depth, name, *_ in lines}
    for layer in stack.layers:
        cut = trim(layer)
        _, height, width = cut.planes.shape
        left, top, wide, high, opacity, visible, mask = layers[layer.name]
        assert (int(left), int(top), int(wide), int(high)) == (cut.left, cut.top, width, height)
        assert float(opacity) == pytest.approx(cut.opacity / 2.55, abs=1e-3)
        assert visible == ("1" if layer.visible else "0")
        assert (mask == "-1") == (layer.mask is None)
        assert depths[layer.name] == len(layer.group)
    with Image.open(Path(f"{path}.png")) as image:
        found = np.asarray(image.convert("RGBA")).astype(int)
    assert np.abs(found - stack.flatten_quantized()).max() <= 1
