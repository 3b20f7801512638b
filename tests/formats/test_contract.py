"""What every format promises, for each file in layercli/formats: a new one inherits these tests."""

from __future__ import annotations

import dataclasses
import os
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from layercli.core import registry
from layercli.core.errors import LayercliError
from layercli.core.layers import Layer, LayerStack, Offset, Size
from layercli.formats._files import clean_name, unique_names
from tests.formats.stacks import RECEIPT, assert_same, noise, sample_stack, stacks

PACKAGE = "layercli.formats"
FORMATS = sorted(registry.plugins(PACKAGE))


@pytest.fixture(params=FORMATS)
def name(request):
    return request.param


@pytest.fixture
def module(name):
    return registry.load(PACKAGE, name)


def write(module, stack: LayerStack, folder: Path, stem: str = "picture") -> Path:
    path = folder / f"{stem}{module.EXTENSIONS[0]}"
    return module.write(stack, path, module.Options())


def files_of(path: Path) -> list[Path]:
    return sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]


def contents(path: Path) -> dict[str, bytes]:
    return {str(file.relative_to(path.parent)): file.read_bytes() for file in files_of(path)}


def test_there_are_the_formats_the_readme_names():
    assert {"psd", "psd-pytoshop", "png", "tiff", "tiff-photoshop", "ora"} <= set(FORMATS)


def test_a_format_describes_itself(name, module):
    assert registry.plugins(PACKAGE)[name].strip().endswith((".", ")"))
    assert module.EXTENSIONS and all(e.startswith(".") and e == e.lower() for e in module.EXTENSIONS)
    assert registry.constants(PACKAGE, "EXTENSIONS")[name] == module.EXTENSIONS
    for function in (module.write, module.read):
        assert function.__doc__, function


def test_options_are_frozen_and_honest(name, module):
    options = module.Options()
    assert dataclasses.is_dataclass(options)
    assert registry.options_for(module, {}) == options
    with pytest.raises(dataclasses.FrozenInstanceError):
        options.anything = 1
    with pytest.raises(LayercliError, match="no-such-option"):
        registry.options_for(module, {"no-such-option": "1"})
    assert set(registry.outline(PACKAGE, name)) <= {field.name for field in dataclasses.fields(options)}


def test_a_stack_comes_back_whole(module, tmp_path):
    stack = sample_stack()
    path = write(module, stack, tmp_path)
    again = module.read(path)
    assert_same(stack, again)
    assert again.receipt == RECEIPT
    assert os.listdir(tmp_path) == [path.name]


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stack=stacks())
def test_any_stack_comes_back_whole(module, tmp_path, stack):
    again = module.read(write(module, stack, tmp_path))
    assert_same(stack, again)
    assert again.receipt is None
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()


def test_a_layer_without_margins_keeps_its_very_box(module, tmp_path):
    rgba = noise(5, 4, 1)
    rgba[..., 3] = np.maximum(rgba[..., 3], 1 / 255)
    layer = Layer(name="box", rgba=rgba, offset=Offset(-1, 7), blend="multiply", opacity=51 / 255)
    found = module.read(write(module, LayerStack(canvas=Size(9, 9), layers=(layer,)), tmp_path)).layers[0]
    assert (found.offset, found.size) == (layer.offset, layer.size)


def test_nothing_of_a_picture_is_left_under_its_transparency(module, tmp_path):
    rgba = np.full((60, 60, 4), 0.8, dtype=np.float32)
    rgba[..., 3] = 0
    rgba[:2, :2, 3] = rgba[-2:, -2:, 3] = 1
    stack = LayerStack(canvas=Size(60, 60), layers=(Layer(name="cut", rgba=rgba),))
    found = module.read(write(module, stack, tmp_path)).layers[0]
    assert found.rgba[20:40, 20:40].max() == 0


NAMES = [
    "łódź", "日本語", "مرحبا", "👩‍👩‍👧 family 😀", "a/b\\c", "..", "../../up", "CON", '"quoted" & <tag>',
    "x" * 255, "e\u0301", " ", "\ufeffmark", "\u2028", "{json: [1]}", "\U0010ffff", "%s %d {0}", "-", "\t",
    "layer (hidden)", "</Layer group>",
]  # fmt: skip


def test_names_of_any_language_come_back(module, tmp_path):
    names = [name for name in NAMES if clean_name(name) == name]
    assert len(names) > 14
    layers = tuple(Layer(name=name, rgba=noise(2, 2, i), group=(name,)) for i, name in enumerate(names))
    again = module.read(write(module, LayerStack(canvas=Size(4, 4), layers=layers), tmp_path))
    assert again.names == tuple(names)
    assert [layer.group for layer in again.layers] == [(name,) for name in names]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(
        st.text(min_size=1, max_size=8) | st.sampled_from(NAMES), min_size=1, max_size=3, unique=True
    )
)
def test_any_names_make_a_file_that_opens(module, tmp_path, names):
    layers = tuple(Layer(name=name, rgba=noise(1, 2, i)) for i, name in enumerate(names))
    path = write(module, LayerStack(canvas=Size(3, 3), layers=layers), tmp_path)
    again = module.read(path)
    assert len(again.layers) == len(names)
    if not {"\ufffe", "\uffff"} & set("".join(names)):  # characters that are none, and that XML cannot hold
        assert again.names == unique_names(clean_name(name) for name in names)
    assert os.listdir(tmp_path) == [path.name]
    shutil.rmtree(tmp_path)
    tmp_path.mkdir()


def test_the_same_stack_gives_the_same_bytes(module, tmp_path):
    first = contents(write(module, sample_stack(), tmp_path))
    second = contents(write(module, sample_stack(), tmp_path))
    assert first == second


def test_a_transparent_canvas_and_an_empty_layer_can_be_written(module, tmp_path):
    layers = (
        Layer(name="nothing", rgba=np.zeros((3, 3, 4), dtype=np.float32)),
        Layer(name="far away", rgba=noise(3, 3, 2), offset=Offset(100, -100)),
        Layer(name="dot", rgba=noise(1, 1, 3)),
    )
    stack = LayerStack(canvas=Size(7, 5), layers=layers)
    assert_same(stack, module.read(write(module, stack, tmp_path)))


def test_a_file_is_replaced_by_a_whole_one(module, tmp_path):
    write(module, sample_stack(16), tmp_path)
    stack = sample_stack(20)
    path = write(module, stack, tmp_path)
    assert_same(stack, module.read(path))
    assert os.listdir(tmp_path) == [path.name]


def test_a_disk_that_is_full_harms_nothing(module, tmp_path):
    """The system itself refuses to let files grow beyond a size: the writer fails somewhere in the middle."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    before = contents(write(module, sample_stack(16), tmp_path))
    larger = sample_stack(200)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (0, 700, 60_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(LayercliError) as caught:
                write(module, larger, tmp_path)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        check_sentence(caught.value)
        assert len(os.listdir(tmp_path)) == 1
        assert contents(tmp_path / os.listdir(tmp_path)[0]) == before


def test_a_place_that_cannot_be_written_to_is_told(module, tmp_path):
    suffix = module.EXTENSIONS[0]
    with pytest.raises(LayercliError, match="missing") as caught:
        module.write(sample_stack(), tmp_path / "missing" / f"a{suffix}", module.Options())
    assert "mkdir" in caught.value.hint
    # A file where a folder would go, and a folder where a file would go, stay as they are.
    taken = tmp_path / f"taken{suffix}"
    if write(module, sample_stack(), tmp_path).is_dir():
        taken.write_bytes(b"mine")
    else:
        taken.mkdir()
        (taken / "mine.txt").write_bytes(b"mine")
    before = contents(taken)
    with pytest.raises(LayercliError) as caught:
        module.write(sample_stack(), taken, module.Options())
    check_sentence(caught.value)
    assert contents(taken) == before


def check_sentence(error: LayercliError) -> None:
    assert error.message.endswith(".") and "\n" not in error.message, error.message
    assert len(error.message) < 500, error.message
    assert error.hint and "\n" not in error.hint


def read_or_refuse(module, path: Path) -> LayercliError | None:
    """Read a broken file: a stack or a LayercliError; anything else fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            assert isinstance(module.read(path), LayerStack)
        except LayercliError as error:
            check_sentence(error)
            return error
    return None


def must_refuse(module, path: Path) -> None:
    error = read_or_refuse(module, path)
    assert error is not None, f"{path.name} was read"
    assert path.name in error.message


@pytest.mark.parametrize("junk", [b"", b"\0", b"hello\n", bytes(5000), np.random.default_rng(0).bytes(5000)])
def test_a_file_of_something_else_is_refused(module, tmp_path, junk):
    for suffix in module.EXTENSIONS:
        path = tmp_path / f"junk{suffix}"
        path.write_bytes(junk)
        must_refuse(module, path)


def test_a_missing_file_and_an_empty_folder_are_refused(module, tmp_path):
    must_refuse(module, tmp_path / f"missing{module.EXTENSIONS[0]}")
    folder = tmp_path / f"folder{module.EXTENSIONS[0]}"
    folder.mkdir()
    must_refuse(module, folder)


def test_a_file_without_the_right_to_read_is_refused(module, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("the superuser may read everything")
    path = write(module, sample_stack(), tmp_path)
    for file in files_of(path):
        file.chmod(0)
    must_refuse(module, path)


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.5, 0.9])
def test_a_file_cut_short_is_refused_or_has_all_its_layers(module, tmp_path, kept):
    path = write(module, sample_stack(), tmp_path)
    for file in files_of(path):
        whole = file.read_bytes()
        file.write_bytes(whole[: int(len(whole) * kept)])
        if read_or_refuse(module, path) is None:  # only the composite, which is for people, was cut
            assert kept == 0.9 or file.name == "composite.png", f"{file.name} was read"
            assert_same(sample_stack(), module.read(path))
        file.write_bytes(whole)


def test_damage_anywhere_is_refused_or_harmless(module, tmp_path):
    path = write(module, sample_stack(), tmp_path)
    rng = np.random.default_rng(1)
    for file in files_of(path):
        whole = file.read_bytes()
        for _ in range(max(4, 100 // len(files_of(path)))):
            broken = bytearray(whole)
            # Heads hold what parsers trust, so half of the damage goes there.
            end = len(whole) if rng.random() < 0.5 else min(len(whole), 400)
            for place in rng.integers(0, end, rng.integers(1, 4)):
                broken[place] = rng.integers(0, 256)
            file.write_bytes(broken)
            read_or_refuse(module, path)
        file.write_bytes(whole)
    assert_same(sample_stack(), module.read(path))
