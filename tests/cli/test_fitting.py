"""Too little memory: said before, and told with what would fit, on whatever device it runs out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from layercli.cli import fitting, making
from layercli.cli.fitting import fit_of, needed
from layercli.core.errors import LayercliError
from layercli.core.geometry import Size
from layercli.core.requests import GenerateRequest
from layercli.models.memory import SHAPES
from tests import tiny

GPU, CPU = torch.device("cuda"), torch.device("cpu")
GIB = 2**30


def asked(**changes: object) -> GenerateRequest:
    settings = {"foregrounds": ("a fox",), "background": "snow", "model": "sdxl", "size": Size(1024, 1024)}
    return GenerateRequest(**{**settings, **changes})  # type: ignore[arg-type]


def test_what_would_fit_is_the_gentlest_change_that_does() -> None:
    wide = asked(dtype="float32")
    steps = [(fit_of(wide, GPU, int(free * GIB)).what_fits()) for free in (14, 9, 6.2, 4)]
    assert steps[0] == "Try: --dtype float16"
    assert steps[1].startswith("Try: --dtype float16 --offload model")
    assert "--offload sequential" in steps[2]
    assert "--size 768x768" in steps[3]
    assert fit_of(asked(), GPU, 8 * GIB).what_fits() == "Try: --offload model"
    assert fit_of(asked(), GPU, 100_000_000).what_fits() == "Try: --device cpu"
    assert fit_of(asked(), CPU, 2 * GIB).what_fits().startswith("Try fewer foregrounds")
    assert fit_of(asked(size=Size(768, 768)), CPU, 2 * GIB).what_fits().startswith("Try fewer foregrounds")
    # what is proposed does fit by the same arithmetic
    for free, words in zip((14, 9, 6.2, 4), steps, strict=True):
        pairs = dict(zip(words.split()[1::2], words.split()[2::2], strict=True))
        change = {key.removeprefix("--"): value for key, value in pairs.items()}
        if "size" in change:
            change["size"] = Size.parse(change["size"])
        assert needed(SHAPES["sdxl"], wide.replace(**change), GPU) <= free * GIB


def test_a_mac_whose_gpu_shares_memory_is_not_told_to_offload() -> None:
    mac = torch.device("mps")
    ways = fit_of(asked(), mac, GIB).ways
    assert [way.words for way in ways] == ["", "--dtype float16", "--dtype float16 --size 768x768"]
    assert fit_of(asked(offload="sequential"), mac, GIB).ways[0].bytes == ways[0].bytes


def test_a_doubt_is_told_with_both_sizes_and_only_where_there_is_one() -> None:
    told = fit_of(asked(), GPU, 8 * GIB).doubt()
    assert "8.0 GiB are free on cuda" in told and "--offload model" in told
    assert fit_of(asked(), GPU, 80 * GIB).doubt() == ""
    assert fit_of(asked(model="embedded"), CPU, 1).doubt() == ""
    assert fit_of(asked(model="no-such-model"), CPU, 1).doubt() == ""


def test_a_canvas_is_counted_whatever_draws_on_it(monkeypatch) -> None:
    """A small model draws as little for a large picture; the picture is as large all the same."""
    wide = asked(model="embedded", size=Size(40_000, 20_000))
    fit = fit_of(wide, CPU, 20 * GIB)
    assert fit.doubt() == (
        "A canvas of this size needs about 35.8 GiB, and 20.0 GiB are free. Try: --size 21120x10560"
    )
    smaller = wide.replace(size=Size(21_120, 10_560))
    assert fit_of(smaller, CPU, 20 * GIB).doubt() == ""
    with pytest.raises(LayercliError, match="not enough memory") as caught, fit.told_when_full():
        raise MemoryError
    assert caught.value.hint == "Try: --size 21120x10560"
    assert "--size" not in fit_of(wide, CPU, 20 * GIB, resizable=False).doubt()

    class Memory:
        total = 32 * GIB

    monkeypatch.setattr("psutil.virtual_memory", Memory)
    fitting.check_canvas(smaller.size)
    with pytest.raises(LayercliError, match="A picture of 40000x20000 needs about 36 GiB") as caught:
        fitting.check_canvas(wide.size)
    fitting.check_canvas(Size.parse(caught.value.hint.split()[-1]))


def test_a_folder_is_doubted_by_its_own_weights(here) -> None:
    """A model that is thinner than its family's published one is not told to need as much."""
    folder, size = str(tiny.save("sdxl", here / "mine")), Size(1024, 1024)
    assert fit_of(asked(), GPU, GIB // 2).doubt()
    assert fit_of(asked(model=folder, size=size), GPU, GIB // 2).doubt() == ""
    assert "mine needs about 0.0 GiB" in fit_of(asked(model=folder, size=size), GPU, 1000).doubt()


def test_weights_that_main_memory_cannot_hold_are_doubted(monkeypatch) -> None:
    monkeypatch.setattr(fitting, "main_memory", lambda: 4 * GIB)
    for offload in ("none", "model"):
        told = fit_of(asked(offload=offload), GPU, 80 * GIB).doubt()
        assert "The weights of sdxl, 6.6 GiB, pass through main memory, where 4.0 GiB are free" in told
    monkeypatch.setattr(fitting, "main_memory", lambda: 8 * GIB)
    assert fit_of(asked(), GPU, 80 * GIB).doubt() == ""


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("MPS backend out of memory (MPS allocated: 17.9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        MemoryError(),
    ],
)
def test_running_out_of_memory_names_what_would_fit(run, here, monkeypatch, error) -> None:
    folder = tiny.save("sd15", here / "mine")

    def full(*_: object) -> None:
        raise error

    method = making.registry.load(making.METHODS, "layerfusion")
    monkeypatch.setattr(method, "generate", full)
    words = ("generate", "--fg", "a cat", "--bg", "a sofa", "--model", str(folder), "--size", "1024x512")
    result = run(*words, "--device", "cpu", "-o", "cat.psd")
    assert result.exit_code == 2, result.output
    assert "not enough memory on cpu" in result.stderr
    assert "--size" in result.stderr or "fewer foregrounds" in result.stderr
    assert not Path("cat.psd").exists()


def test_another_failure_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="shape"), fit_of(asked(), CPU, 1).told_when_full():
        raise RuntimeError("shape mismatch")
    with pytest.raises(LayercliError, match="no layer"), fit_of(asked(), CPU, 1).told_when_full():
        raise LayercliError("There is no layer.")


def test_a_doubt_is_said_before_the_model_is_loaded(run, here, monkeypatch) -> None:
    folder = tiny.save("sd15", here / "mine")
    monkeypatch.setattr(fitting, "free_on", lambda device: 1000)
    monkeypatch.setattr(making, "free_on", lambda device: 1000)
    words = ("generate", "--fg", "a", "--bg", "b", "--model", str(folder), "--size", "32x32", "--steps", "1")
    result = run(*words, "--device", "cpu", "--harmonize", "none", "-o", "cat.psd")
    assert result.exit_code == 0, result.output
    assert "GiB are free on cpu" in result.stderr.partition("Loading")[0]


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_offloading_makes_the_same_picture(run, here, how) -> None:
    from layercli.cli.files import read_stack

    folder = tiny.save("sd15", here / "mine")
    words = ("generate", "--fg", "a cat", "--bg", "a sofa", "--model", str(folder), "--size", "32x32")
    made = []
    for name, more in (("a.psd", ()), ("b.psd", ("--offload", how))):
        result = run(*words, "--steps", "2", "--device", "cpu", "-o", name, *more)
        assert result.exit_code == 0, result.stderr
        made.append(read_stack(Path(name)))
    assert made[0].names == made[1].names
    assert all(
        (one.rgba == other.rgba).all() for one, other in zip(made[0].layers, made[1].layers, strict=True)
    )
    assert made[1].receipt.request["offload"] == how


def test_another_word_for_offload_is_refused(refused) -> None:
    told = refused("generate", "--fg", "a", "--bg", "b", "--offload", "some")
    assert "offload" in told and "sequential" in told
    assert "nothing to gain" in refused(
        "generate", "--fg", "a", "--bg", "b", "--offload", "model", "--device", "cpu"
    )


@pytest.mark.parametrize("how", ["model", "sequential"])
def test_edits_are_offloaded_too(run, here, how) -> None:
    from layercli.cli.files import read_stack

    folder = str(tiny.save("sd15", here / "mine"))
    more = ("--model", folder, "--device", "cpu")
    words = ("generate", "--fg", "a cat", "--bg", "a sofa", "--size", "32x32", "--steps", "2")
    assert run(*words, *more, "--harmonize", "over", "-o", "a.psd").exit_code == 0
    made = []
    for name, offload in (("b.psd", ()), ("c.psd", ("--offload", how))):
        result = run("edit", "a.psd", "regenerate", "a cat", "--steps", "1", *more, *offload, "-o", name)
        assert result.exit_code == 0, result.output
        made.append(read_stack(Path(name)).flatten_quantized())
    assert (made[0] == made[1]).all()
    assert (made[0] != read_stack(Path("a.psd")).flatten_quantized()).any()
