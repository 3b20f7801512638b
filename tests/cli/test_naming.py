"""Files get names that are safe and free, and a place that can be written is found before work begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.cli.files import format_of, formats_for, split_formats, split_options
from layercli.cli.naming import plan, slug, stem_for
from layercli.core.errors import LayercliError
from layercli.core.requests import GenerateRequest


def request(*foregrounds: str, background: str = "a sofa") -> GenerateRequest:
    return GenerateRequest(foregrounds=foregrounds, background=background)


def names(pictures) -> list[list[str]]:
    return [[str(target.path) for target in picture] for picture in pictures]


def planned(
    out: str | None, *formats: str, stem: str = "cat", count: int = 1, force: bool = False
) -> list[list[str]]:
    return names(plan(stem, count, out, formats or ("psd",), {}, force=force))


def test_a_name_is_made_of_the_prompts():
    assert stem_for(request("A dog", "a ball!", background="a beach")) == "a-dog-and-a-ball-on-a-beach"
    assert stem_for(request("../../etc/passwd")) == "etc-passwd-on-a-sofa"
    assert stem_for(request("eine Katze, müde", background="ソファ")) == "eine-katze-müde-on-ソファ"
    assert stem_for(request("…", background="?")) == "picture-on-picture"


@given(
    st.lists(st.text(min_size=1, max_size=300).filter(str.strip), min_size=1, max_size=3),
    st.text(min_size=1).filter(str.strip),
)
def test_a_name_is_never_a_path_and_never_too_long(foregrounds: list[str], background: str):
    stem = stem_for(request(*foregrounds, background=background))
    assert stem
    assert not set(stem) & set('/\\:*?"<>|\0. ')
    assert len(stem.encode()) <= 100
    assert slug(stem) == stem


def test_the_extension_says_the_format(here):
    assert formats_for("a.ora", []) == ["ora"]
    assert formats_for("A.PSD", []) == ["psd"]
    assert formats_for("a.tif", []) == ["tiff"]
    assert formats_for("a", []) == ["psd"]
    assert formats_for(None, []) == ["psd"]
    assert formats_for("v1.2/", []) == ["psd"]
    assert formats_for("a.psd", ["png"]) == ["png"]
    with pytest.raises(LayercliError, match=r'No format has the extension "\.xyz"'):
        formats_for("a.xyz", [])


def test_a_folder_is_a_folder_of_pictures(here):
    (here / "cat.layers").mkdir()
    assert format_of(here / "cat.layers") == "png"


def test_formats_are_split_known_and_each_once():
    assert split_formats(["png,tiff", "png", " psd "]) == ["png", "tiff", "psd"]
    with pytest.raises(LayercliError, match='There is no format "pgn"') as caught:
        split_formats(["psd,pgn"])
    assert "Did you mean png?" in caught.value.hint


def test_options_go_to_their_format_or_to_the_verb():
    given_ = {"window": "400-600", "png.full_canvas": "yes"}
    assert split_options(given_, ["png"]) == {"": {"window": "400-600"}, "png": {"full_canvas": "yes"}}
    with pytest.raises(LayercliError, match='is for the format "psd", which is not written'):
        split_options({"psd.x": "1"}, ["png"])


def test_one_file_is_called_what_is_asked(here):
    assert planned("a.psd") == [["a.psd"]]
    assert planned("a") == [["a.psd"]]
    assert planned(None) == [["cat.psd"]]
    assert planned("a.tif", "tiff") == [["a.tif"]]


def test_a_folder_takes_the_name_there_is(here):
    (here / "sub").mkdir()
    assert planned("sub") == planned("sub/") == [["sub/cat.psd"]]


@pytest.mark.parametrize("out", ["a.layers", "a.layers/"])
def test_a_folder_of_layers_is_one_output_and_never_written_into(here, out):
    assert planned(out, *formats_for(out, [])) == [["a.layers"]]
    (here / "a.layers").mkdir()
    assert planned(out, *formats_for(out, [])) == [["a-2.layers"]]
    assert planned(out, *formats_for(out, []), force=True) == [["a.layers"]]
    assert planned(out, "ora", "png") == [["a-2.ora", "a-2.layers"]]


def test_several_formats_share_the_name(here):
    assert planned("a.psd", "png", "tiff", "ora", "psd") == [["a.layers", "a.tif", "a.ora", "a.psd"]]


def test_a_picture_with_layers_is_a_folder(here):
    assert planned("a.png", "png") == [["a.layers"]]


def test_two_formats_of_one_extension_get_two_names(here):
    [paths] = planned("a", "psd", "psd-pytoshop")
    assert paths == ["a.psd", "a.psd-pytoshop.psd"]


def test_several_pictures_are_numbered(here):
    assert planned("a.psd", count=3) == [["a-1.psd"], ["a-2.psd"], ["a-3.psd"]]
    assert planned(None, count=2) == [["cat-1.psd"], ["cat-2.psd"]]


def test_what_exists_is_kept_unless_forced(here):
    for name in ("a.psd", "a-2.psd", "b-1.psd"):
        (here / name).touch()
    assert planned("a.psd") == [["a-3.psd"]]
    assert planned("a.psd", force=True) == [["a.psd"]]
    assert planned("b.psd", count=2) == [["b-1-2.psd"], ["b-2.psd"]]


def test_the_files_of_one_picture_keep_one_number(here):
    (here / "a.ora").touch()
    assert planned("a", "psd", "ora") == [["a-2.psd", "a-2.ora"]]


def test_a_link_that_leads_nowhere_is_not_written_through(here):
    (here / "a.psd").symlink_to(here / "gone")
    assert planned("a.psd") == [["a-2.psd"]]


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("none/a.psd", "There is no folder none."),
        ("none/", "There is no folder none."),
        ("file/a.psd", "file is a file, not a folder."),
        ("/proc/a.psd", "Nothing can be written to /proc"),
        (".psd/", "There is no folder"),
    ],
)
def test_a_place_that_cannot_be_written_is_found_at_once(here: Path, out: str, told: str):
    (here / "file").touch()
    with pytest.raises(LayercliError) as caught:
        planned(out)
    assert told in caught.value.message
    assert sorted(path.name for path in here.iterdir()) == ["file"]


def test_looking_leaves_nothing_behind(here):
    planned("a.psd", count=3)
    assert list(here.iterdir()) == []
