from __future__ import annotations

import errno
import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from layercli.core.errors import LayercliError
from layercli.formats._files import (
    ascii_name,
    atomic,
    clean_name,
    safe_file_name,
    unique_names,
    unique_path,
)


def test_a_file_appears_whole(tmp_path):
    target = tmp_path / "a.psd"
    with atomic(target) as part:
        part.write_bytes(b"new")
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.psd"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_body_that_raises_harms_nothing(tmp_path, error):
    target = tmp_path / "a.psd"
    target.write_bytes(b"old")
    with pytest.raises(error), atomic(target) as part:
        part.write_bytes(b"half")
        raise error
    assert target.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.psd"]


def test_a_body_that_raises_in_a_folder_harms_nothing(tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "old.png").write_bytes(b"old")
    with pytest.raises(ValueError), atomic(target) as part:
        part.mkdir()
        (part / "new.png").write_bytes(b"half")
        raise ValueError
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(target) == ["old.png"]


def test_a_folder_replaces_a_folder(tmp_path):
    target = tmp_path / "out"
    for name in ("old.png", "new.png"):
        with atomic(target) as part:
            part.mkdir()
            (part / name).write_bytes(b"")
    assert os.listdir(tmp_path) == ["out"]
    assert os.listdir(target) == ["new.png"]


def test_a_file_keeps_the_mode_of_the_one_it_replaces(tmp_path):
    target = tmp_path / "a.psd"
    target.write_bytes(b"old")
    target.chmod(0o640)
    with atomic(target) as part:
        part.write_bytes(b"new")
    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_a_link_is_written_through(tmp_path):
    (tmp_path / "real.psd").write_bytes(b"old")
    (tmp_path / "link.psd").symlink_to("real.psd")
    with atomic(tmp_path / "link.psd") as part:
        part.write_bytes(b"new")
    assert (tmp_path / "link.psd").is_symlink()
    assert (tmp_path / "real.psd").read_bytes() == b"new"


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(LayercliError, match="no folder") as caught, atomic(tmp_path / "no" / "a.psd") as part:
        part.write_bytes(b"")
    assert "mkdir" in caught.value.hint


@pytest.mark.parametrize(
    ("number", "hint"),
    [(errno.ENOSPC, "Free some space, or write to another disk"), (errno.EIO, "Name another")],
)
def test_what_the_disk_refuses_is_told_with_the_option_to_type(tmp_path, number, hint):
    with (
        pytest.raises(LayercliError, match=r"a\.psd.* cannot be written") as caught,
        atomic(tmp_path / "a.psd"),
    ):
        raise OSError(number, os.strerror(number))
    assert caught.value.hint.startswith(hint) and caught.value.hint.endswith(" with -o.")


def test_files_and_folders_do_not_replace_each_other(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(LayercliError, match="folder already"), atomic(tmp_path / "folder") as part:
        part.write_bytes(b"")
    (tmp_path / "file").touch()
    with pytest.raises(LayercliError, match="file already"), atomic(tmp_path / "file") as part:
        part.mkdir()
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_unique_path_counts_up(tmp_path):
    path = tmp_path / "cat.psd"
    assert unique_path(path) == path
    path.touch()
    assert unique_path(path) == tmp_path / "cat-2.psd"
    (tmp_path / "cat-2.psd").symlink_to("nowhere")
    assert unique_path(path) == tmp_path / "cat-3.psd"
    (tmp_path / "study.key.json").touch()
    assert unique_path(tmp_path / "study.html", [".key.json"]) == tmp_path / "study-2.html"


def test_a_link_that_leads_to_itself_gives_way_to_the_file(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with atomic(tmp_path / "loop") as part:
        part.write_text("whole")
    assert not (tmp_path / "loop").is_symlink() and (tmp_path / "loop").read_text() == "whole"


@given(st.text())
def test_clean_names_are_clean(name):
    cleaned = clean_name(name)
    assert 1 <= len(cleaned.encode("utf-16-le")) // 2 <= 255  # encoding fails for lone surrogates
    assert cleaned == cleaned.strip()
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in cleaned)
    assert clean_name(cleaned) == cleaned


@given(
    st.text(max_size=300)
    | st.sampled_from(["../../etc/passwd", "a/b", "..", ".", "C:\\x", "NUL", "com1.txt", "~"])
)
def test_safe_file_names_stay_in_their_folder(name):
    safe = safe_file_name(name)
    assert not set(safe) & set('<>:"/\\|?*')
    assert safe not in (".", "..", "")
    assert safe[0] not in ". "
    assert safe[-1] not in ". "
    assert len(safe.encode()) <= 121
    assert safe.partition(".")[0].lower() not in ("nul", "con", "com1")
    assert safe_file_name(safe) == safe


def test_names_people_use_are_kept():
    assert safe_file_name("a cat") == "a cat"
    assert safe_file_name("Füchse 🦊") == "Füchse 🦊"
    assert clean_name("line\nbreak\x00") == "line break"
    assert clean_name("x" * 300) == "x" * 255
    assert ascii_name("Füchse 🦊 und Bären") == "Fuchse und Baren"
    assert ascii_name("日本") == "layer"


@given(st.lists(st.sampled_from(["a", "A", "b", "a 2", "x" * 255, "🦊" * 127])), st.booleans())
def test_unique_names_are_unique_and_short(names, fold):
    result = unique_names(names, fold=fold)
    folded = [name.casefold() if fold else name for name in result]
    assert len(set(folded)) == len(result) == len(names)
    assert all(len(name.encode("utf-16-le")) <= 510 for name in result)
    for given_name, name in zip(names, result, strict=True):
        assert name == given_name or name.rpartition(" ")[0][:1] == given_name[:1]


def test_names_that_are_unique_already_are_kept():
    assert unique_names(["a", "b", "A"]) == ("a", "b", "A")
    assert unique_names(["a", "b", "A"], fold=True) == ("a", "b", "A 2")
