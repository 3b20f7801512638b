"""Inception of torch-fidelity, real structure and random weights, from the file of weights to FID and KID."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from layercli.core.errors import LayercliError
from layercli.evaluate import fid, kid
from layercli.evaluate._rows import rows_from
from layercli.vision.features import _inception_of_torch_fidelity, open_net
from tests.evaluate.samples import ground

needed = pytest.mark.skipif(
    importlib.util.find_spec("torch_fidelity") is None,
    reason="torch-fidelity is not here: pip install --no-deps torch-fidelity",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights by the names and shapes of the published file, of a size that keeps features alive."""

    class Unfilled(_inception_of_torch_fidelity()):  # type: ignore[misc]
        def load_state_dict(self, *_: object, **__: object) -> None:
            return

    folder = tmp_path_factory.mktemp("inception")
    torch.save({}, folder / "none.pth")
    torch.manual_seed(0)
    unfilled = Unfilled("inception-v3-compat", ["2048"], feature_extractor_weights_path=folder / "none.pth")
    for value in unfilled.parameters():
        if value.ndim == 4:
            torch.nn.init.kaiming_normal_(value.data)
    torch.save(unfilled.state_dict(), folder / "weights.pth")
    return folder / "weights.pth"


def pictures(count: int, first: int, light: float = 0.0) -> list[np.ndarray]:
    """Grounds with a box each, of two sizes."""
    found = []
    for seed in range(first, first + count):
        picture = ground(seed, 40 + 8 * (seed % 2))
        picture[8:24, 10:30, :3] = np.random.default_rng(seed).uniform(size=3)
        picture[..., :3] = (picture[..., :3] + light).clip(0, 1)
        found.append(picture)
    return found


@needed
def test_from_the_file_of_weights_to_a_distance(weights: Path):
    net = open_net(f"inception={weights}")
    a, b, bright = (net.look(pictures(4, *of), "composite") for of in ((0,), (50,), (50, 0.4)))
    assert a.shape == (4, 2048) and net.settings["features"] == 2048 and len(net.digest) == 64
    near, far = (fid.frechet(a, other) for other in (b, bright))
    assert 0 < near < far and fid.frechet(a, a) == pytest.approx(0, abs=1e-6 * far)
    rows = [rows_from(features) for features in (a, bright)]
    assert kid.distance(*rows, kid.Options(size=4))["kid"] > 0
    # one by one or together, by the extractor itself: the same numbers
    bytes_ = torch.from_numpy(np.rint(np.stack([p[..., :3] for p in pictures(4, 0)[::2]]) * 255)).byte()
    with torch.inference_mode():
        together = net.net(bytes_.permute(0, 3, 1, 2))[0].double().numpy()
    assert a[::2] == pytest.approx(together, rel=1e-4, abs=1e-5)


@needed
def test_layerfusions_first_64_features(weights: Path):
    net = open_net(f"inception-64={weights}")
    assert net.look(pictures(2, 0), "composite").shape == (2, 64)
    assert net.settings["features"] == 64 and "torch-fidelity 0." in net.settings["net"]


@needed
def test_torchvision_is_not_needed_and_nothing_stays_half_imported():
    assert _inception_of_torch_fidelity().INPUT_IMAGE_SIZE == 299
    assert not [name for name in sys.modules if name.startswith("torch_fidelity")]


@needed
def test_a_damaged_or_dangerous_file_is_refused(tmp_path: Path, weights: Path):
    import pickle

    class Dangerous:
        def __reduce__(self) -> tuple[object, ...]:
            return (print, ("code of a stranger",))

    torch.save({"fc.bias": Dangerous()}, tmp_path / "dangerous.pth")
    (tmp_path / "short.pth").write_bytes(weights.read_bytes()[:1000])
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Dangerous()))
    torch.save({"fc.bias": torch.zeros(3)}, tmp_path / "other.pth")
    for name in ("dangerous", "short", "plain", "other"):
        with pytest.raises(LayercliError, match=f"{name}.pth cannot be read"):
            open_net(f"inception={tmp_path / name}.pth")


def test_weights_or_a_package_that_are_missing_have_their_sentence(tmp_path: Path):
    with pytest.raises(LayercliError) as caught:
        open_net(f"inception={tmp_path / 'none.pth'}")
    assert "are not at" in caught.value.message and "net=inception=FILE" in caught.value.hint
    (tmp_path / "none.pth").write_bytes(b"")
    if importlib.util.find_spec("torch_fidelity") is None:
        with pytest.raises(LayercliError) as caught:
            open_net(f"inception={tmp_path / 'none.pth'}")
        assert "pip install --no-deps torch-fidelity" in caught.value.hint
