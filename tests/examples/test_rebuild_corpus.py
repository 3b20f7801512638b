"""examples/rebuild_corpus.py: everything that it does without a network, on small sources made here."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import rebuild_corpus
from corpus_sources import emoji, furniture, openclipart, rooms, scenes
from corpus_sources.copyrights import Copyrights
from corpus_sources.packages import Packages
from corpus_sources.pictures import Picture, coverage, framed_object, framed_scene, solid_box
from corpus_sources.shards import Shard, build_shard, write_manifest
from corpus_sources.svg import can_render, normalised, render
from corpus_sources.wording import file_slug
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from layercli.core.errors import LayercliError
from layercli.data import _furniture, _rendering, corpus
from layercli.data.captions import with_article, words_of

needs_svg = pytest.mark.skipif(not can_render(), reason="neither resvg-py nor cairosvg is installed")
ascii_text = st.text(st.characters(max_codepoint=126, min_codepoint=32), max_size=40)


def block(width: int, height: int, left: int = 0, top: int = 0, side: int = 256) -> Image.Image:
    """An opaque rectangle on a transparent square."""
    image = Image.new("RGBA", (side, side))
    image.paste((200, 90, 30, 255), (left, top, left + width, top + height))
    return image


def sample(number: int, image: Image.Image | None = None, name: str = "red apple") -> Picture:
    framed = image if image is not None else framed_object(block(40 + number, 30))
    assert framed is not None
    return Picture(
        image=framed,
        number=number,
        name=name,
        caption=with_article(name),
        style="flat",
        source="npm:fruit",
        licence="MIT",
        tags=("fruit",),
    )


def rows_of(out: Path) -> list[dict[str, object]]:
    write_manifest(out)
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


# Captions


@pytest.mark.parametrize(
    ("name", "caption"),
    [
        ("apple", "an apple"),
        ("cat", "a cat"),
        ("grapes", "grapes"),
        ("glass", "a glass"),
        ("bus", "a bus"),
        ("sunglasses", "a sunglasses"),
        ("two hearts", "two hearts"),
        ("the moon", "the moon"),
        ("a simple pig", "a simple pig"),
        ("red apples", "a red apples"),
    ],
)
def test_a_name_gets_its_article(name: str, caption: str) -> None:
    assert with_article(name) == caption


@pytest.mark.parametrize(
    ("identifier", "words"),
    [
        ("hot-dog", "hot dog"),
        ("pool-8-ball", "pool ball"),
        ("1st-place-medal", "1st place medal"),
        ("boar-2", "boar"),
        ("PlayStation", "play station"),
        ("Concept Sedan 02", "concept sedan"),
        ("35_rainbow_arc", "rainbow arc"),
        ("rhinoceros 3d", "rhinoceros 3d"),
    ],
)
def test_identifiers_become_words(identifier: str, words: str) -> None:
    assert words_of(identifier) == words


@given(ascii_text)
def test_words_stay_the_same_words(text: str) -> None:
    assert words_of(words_of(text)) == words_of(text)


@given(st.text(max_size=90))
def test_file_names_are_harmless(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9-]{0,48}", file_slug(name))


# Framing


@given(st.integers(9, 200), st.integers(9, 200), st.integers(0, 50), st.integers(0, 50))
def test_an_object_is_centred_and_fills_its_frame(width: int, height: int, left: int, top: int) -> None:
    framed = framed_object(block(width, height, left, top))
    assert framed is not None
    assert framed.size == (256, 256)
    box = solid_box(framed, least=127)
    assert box is not None
    assert max(box[2] - box[0], box[3] - box[1]) == 244
    assert abs(box[0] + box[2] - 256) <= 1
    assert abs(box[1] + box[3] - 256) <= 1


def test_nothing_is_no_object() -> None:
    faint = Image.new("RGBA", (64, 64), (255, 0, 0, 5))
    assert framed_object(faint) is None
    assert coverage(faint) == 0.0


@given(st.integers(20, 900), st.integers(20, 900))
def test_a_scene_has_a_short_side_of_320_and_is_at_most_twice_as_long(width: int, height: int) -> None:
    framed = framed_scene(Image.new("RGB", (width, height)))
    assert min(framed.size) == 320
    assert max(framed.size) <= 640


# SVG


@pytest.mark.parametrize(
    ("root", "expected"),
    [
        ('<svg width="72pt" height="36pt">', 'viewBox="0 0 96 48" width="96" height="48"'),
        ('<svg width="25.4mm" height="50.8mm">', 'viewBox="0 0 96 192" width="96" height="192"'),
        ('<svg viewBox="1,2,30,40">', 'viewBox="1 2 30 40" width="30" height="40"'),
        ('<svg width="100%" height="100%" viewBox="0 0 8 9">', 'viewBox="0 0 8 9" width="8" height="9"'),
        ("<svg>", 'viewBox="0 0 100 100" width="100" height="100"'),
        ("<svg\n width='2in'\n height='1in'\n>", 'viewBox="0 0 192 96" width="192" height="96"'),
    ],
)
def test_every_root_gets_a_view_box_in_pixels(root: str, expected: str) -> None:
    made = normalised(f"<?xml version='1.0'?>\n{root}<path stroke-width=\"3\" d='M0 0'/></svg>")
    assert expected in made
    assert made.endswith("<path stroke-width=\"3\" d='M0 0'/></svg>")
    assert made.count("<svg") == made.count("viewBox=") == 1


@given(
    st.floats(0.5, 5000),
    st.floats(0.5, 5000),
    st.sampled_from(["", "px", "pt", "pc", "mm", "cm", "in"]),
    st.booleans(),
)
def test_a_normalised_drawing_is_normal(width: float, height: float, unit: str, boxed: bool) -> None:
    box = f' viewBox="0 0 {width} {height}"' if boxed else ""
    once = normalised(f'<svg width="{width}{unit}" height="{height}{unit}"{box}><use xlink:href="#a"/></svg>')
    assert normalised(once) == once
    assert 'xmlns="http://www.w3.org/2000/svg"' in once
    assert 'xmlns:xlink="http://www.w3.org/1999/xlink"' in once


def test_what_is_no_drawing_is_refused() -> None:
    with pytest.raises(LayercliError, match="no <svg> element"):
        normalised("<html></html>")


@needs_svg
def test_a_root_in_points_without_a_view_box_is_drawn_whole() -> None:
    drawn = render('<svg width="30pt" height="30pt"><rect width="40" height="20" fill="#f00"/></svg>', 80)
    assert drawn.size == (80, 80)
    assert solid_box(drawn) == (0, 0, 80, 40)


@needs_svg
def test_a_broken_drawing_is_named_as_such() -> None:
    with pytest.raises(LayercliError, match="cannot be rendered"):
        render('<svg viewBox="0 0 9 9"><rect</svg>', 32)


# Emoji


def fake_icon_set(folder: Path) -> tuple[Path, list[dict[str, object]]]:
    """A package like Iconify's, and records like emojibase's."""
    square = '<rect width="16" height="16" fill="#36c"/><circle cx="8" cy="8" r="4" fill="#fc3"/>'
    bodies: dict[str, dict[str, object]] = {
        "2-hearts": {"body": '<circle cx="5" cy="5" r="3" fill="#c00"/>'},
        "apple": {"body": '<rect x="2" y="4" width="8" height="4" fill="#0a0"/>'},
        "apple-dark": {"body": '<rect x="2" y="4" width="8" height="4" fill="#030"/>'},
        "apple-old": {"body": '<rect width="8" height="4" fill="#0a0"/>', "hidden": True},
        "apple-twin": {"body": '<rect x="2" y="4" width="8" height="4" fill="#0a0"/>'},
        "broken": {"body": "<rect"},
        "left-arrow": {"body": '<rect width="9" height="9"/>'},
        "nothing": {"body": ""},
        "sunset": {"body": square},
        "warning": {"body": '<rect width="9" height="9"/>'},
        "zebra": {"body": '<rect width="3" height="9" fill="#111"/>'},
    }
    folder.mkdir()
    (folder / "icons.json").write_text(
        json.dumps({"prefix": "x", "width": 16, "height": 16, "icons": bodies})
    )
    things = [name for name in bodies if name not in ("warning", "left-arrow")]
    (folder / "metadata.json").write_text(
        json.dumps({"categories": {"Nature": things, "Symbols": ["warning"]}})
    )
    records: list[dict[str, object]] = [
        {"label": "apple", "hexcode": "1F34E", "tags": ["fruit", "red"], "group": 4},
        {"label": "left arrow", "hexcode": "2B05", "tags": [], "group": 8},
    ]
    return folder, records


ICONS = emoji.IconSet("@test/icons", "1", "flat", "MIT", first=500)


def test_signs_tones_and_hidden_icons_are_left_out(tmp_path: Path) -> None:
    folder, records = fake_icon_set(tmp_path / "icons")
    icons = json.loads((folder / "icons.json").read_text())
    kept = dict(emoji.kept_icons(icons, {}, records, run_together=False))
    assert kept.keys() == {
        "2-hearts",
        "apple",
        "apple-twin",
        "broken",
        "nothing",
        "sunset",
        "warning",
        "zebra",
    }
    assert kept["2-hearts"] == "hearts"


def test_names_without_spaces_are_read_through_emojibase() -> None:
    icons = {"icons": {"alarmclock": {}, "angry": {}, "someicon": {}}}
    records = [{"label": "Alarm clock", "group": 5}, {"label": "angry face", "group": 0}]
    kept = emoji.kept_icons(icons, {}, records, run_together=True)
    assert list(kept) == [("alarmclock", "alarm clock"), ("angry", "angry face")]


@needs_svg
def test_an_icon_set_becomes_a_shard_that_training_reads(tmp_path: Path) -> None:
    folder, records = fake_icon_set(tmp_path / "icons")
    shard = Shard("icons", "made here", lambda packages: emoji.icon_pictures(ICONS, folder, records))
    out = tmp_path / "corpus"
    assert build_shard(shard, Packages(tmp_path), out) == 4
    rows = rows_of(out)
    # The twin has the same pixels, `broken` and `nothing` draw nothing: their numbers stay unused.
    assert [row["member"] for row in rows] == [
        "fg/hearts-00500.webp",
        "fg/apple-00501.webp",
        "bg/sunset-00505.webp",
        "fg/zebra-00506.webp",
    ]
    assert rows[1] == {
        "shard": "icons.tar",
        "member": "fg/apple-00501.webp",
        "caption": "an apple",
        "kind": "fg",
        "width": 256,
        "height": 256,
        "style": "flat",
        "source": "npm:@test/icons",
        "licence": "MIT",
        "tags": ["fruit", "red"],
        "group": "Nature",
    }
    assert (rows[2]["kind"], rows[2]["width"], rows[2]["height"]) == ("bg", 320, 320)
    with tarfile.open(out / "icons.tar") as tar:
        member = tar.extractfile("fg/apple-00501.webp")
        assert member is not None
        with Image.open(io.BytesIO(member.read())) as apple:
            assert solid_box(apple.convert("RGBA"), least=127) == (6, 67, 250, 189)

    data = corpus.build(corpus.Options(corpus=str(out), out=str(tmp_path / "data"), size=32, scene_crops=1))
    pixels = np.load(data / "pixels-icons.npy")
    assert pixels.shape == (4, 32, 32, 4)
    assert pixels[2, ..., 3].min() == 255


# Shards


def drawn_by(counts: list[int], total: int = 3) -> Shard:
    """A shard of a few blocks that counts how often it is drawn."""

    def draw(_: Packages) -> Iterator[Picture]:
        counts.append(1)
        yield from (sample(number) for number in range(total))

    return Shard("blocks", "made here", draw)


def test_a_shard_that_is_there_is_kept_and_another_limit_makes_it_again(tmp_path: Path) -> None:
    drawn: list[int] = []
    shard, packages = drawn_by(drawn), Packages(tmp_path)
    assert build_shard(shard, packages, tmp_path) == 3
    assert build_shard(shard, packages, tmp_path) == 3
    assert len(drawn) == 1
    assert build_shard(shard, packages, tmp_path, limit=2) == 2
    assert len(drawn) == 2
    assert len(rows_of(tmp_path)) == 2


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path) -> None:
    for place in ("one", "two"):
        build_shard(drawn_by([]), Packages(tmp_path), tmp_path / place)
    assert (tmp_path / "one/blocks.tar").read_bytes() == (tmp_path / "two/blocks.tar").read_bytes()


def test_an_interrupted_shard_leaves_nothing_that_counts(tmp_path: Path) -> None:
    def draw(_: Packages) -> Iterator[Picture]:
        yield sample(1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_shard(Shard("blocks", "made here", draw), Packages(tmp_path), tmp_path)
    assert not (tmp_path / "blocks.tar").exists()
    assert rows_of(tmp_path) == []
    assert build_shard(drawn_by([]), Packages(tmp_path), tmp_path) == 3


def test_a_picture_is_kept_once(tmp_path: Path) -> None:
    twins = [sample(1), sample(2), sample(1, name="twin")]
    shard = Shard("twins", "made here", lambda _: iter(twins))
    assert build_shard(shard, Packages(tmp_path), tmp_path) == 2


# Licences

LANDSCAPE_RIGHTS = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: somebody
License: GPL-3+

Files: images/land/*
Copyright: Various
License: public-domain
 Donated photographs.

Files:
 images/land/beach1*
 images/land/sea?blue*
Copyright: A
License: CC-BY-SA-4.0

Files: images/land/beach2.jpg
Copyright: B
License: CC0
"""


def test_the_last_stanza_that_fits_a_file_says_its_licence() -> None:
    rights = Copyrights(LANDSCAPE_RIGHTS)
    assert rights.licence("images/land/beach0.jpg") == "public-domain"
    assert rights.licence("images/land/beach10.jpg") == "CC-BY-SA-4.0"
    assert rights.licence("images/land/beach2.jpg") == "CC0"
    assert rights.licence("images/land/sea-blue1.jpg") == "CC-BY-SA-4.0"
    assert rights.licence("images/ship/sea.png") == "GPL-3+"
    assert Copyrights("").licence("images/land/beach0.jpg") == ""


def test_share_alike_landscapes_are_left_out_and_their_numbers_with_them(tmp_path: Path) -> None:
    images = tmp_path / "usr/share/games/endless-sky/images"
    for name in ("land/beach0.jpg", "land/beach1.jpg", "land/beach2.jpg", "land/loc0.jpg", "scene/none"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    rights = tmp_path / "usr/share/doc/endless-sky-data/copyright"
    rights.parent.mkdir(parents=True)
    rights.write_text(LANDSCAPE_RIGHTS, encoding="utf-8")
    found = [
        (number, path.name, name, licence) for number, path, name, licence in scenes.landscapes(tmp_path)
    ]
    assert found == [
        (22686, "beach0.jpg", "beach and sea", "public-domain"),
        (22688, "beach2.jpg", "beach and sea", "CC0"),
    ]


def test_a_preview_has_the_licence_of_its_scene(tmp_path: Path) -> None:
    rights = tmp_path / "usr/share/doc/povray-examples/copyright"
    rights.parent.mkdir(parents=True)
    rights.write_text(
        "Files: distribution/scenes/*\nLicense: CC-BY-3.0\n\n"
        "Files: distribution/scenes/advanced/*\n distribution/scenes/camera/*\nLicense: CC-BY-SA-3.0\n",
        encoding="utf-8",
    )
    found = list(scenes.ray_traced(tmp_path))
    assert found[0][0] == 23134  # the 27 before it are share-alike
    assert {path.parent.name for _, path, _, _ in found}.isdisjoint({"advanced", "camera"})
    assert found[0][1].name == "ballbox1.jpg"
    assert {licence for *_, licence in found} == {"CC-BY-3.0"}


def test_the_notice_names_every_package_and_version() -> None:
    notice = (Path(__file__).parents[2] / "NOTICE").read_text(encoding="utf-8")
    sets = [(icon_set.package, icon_set.version) for icon_set in emoji.SETS]
    games = [scenes.ENDLESS_SKY, scenes.WALLPAPERS, scenes.POVRAY, scenes.RENPY]
    for package, version in [
        *sets,
        *games,
        emoji.FLUENT_3D,
        emoji.NAMES,
        openclipart.PACKAGE,
        (furniture.PACKAGE, furniture.VERSION),
    ]:
        assert f"{package} {version}" in " ".join(notice.split())


def test_clip_art_under_another_licence_is_left_out() -> None:
    free = '<cc:license rdf:resource="http://web.resource.org/cc/PublicDomain" />'
    assert openclipart.is_free(free)
    assert openclipart.is_free("<svg/>")
    assert not openclipart.is_free(
        free + '<license rdf:resource="http://creativecommons.org/licenses/GPL/2.0/"/>'
    )


def test_the_list_of_clip_art_is_whole() -> None:
    listed = Path(openclipart.__file__).with_name("openclipart.tsv").read_text(encoding="utf-8")
    entries = list(openclipart.chosen(listed))
    assert len(entries) > 1500
    assert len({number for number, _, _ in entries}) == len({file for _, file, _ in entries}) == len(entries)
    assert all(file.endswith(".svg") and name == name.strip() != "" for _, file, name in entries)


def test_keywords_are_lower_case_and_said_once() -> None:
    words = ("Fruit", " ", "salt &amp; pepper", "fruit")
    svg = "".join(f"<rdf:li>{word}</rdf:li>" for word in words)
    assert openclipart.keywords(svg) == ("fruit", "salt & pepper")


# 3D models


def test_tiny_cut_and_wiry_views_are_thrown_away() -> None:
    assert furniture.is_worth_keeping(block(120, 90, 60, 60))
    assert not furniture.is_worth_keeping(block(30, 20, 60, 60))
    assert not furniture.is_worth_keeping(block(120, 90, 0, 60))
    assert not furniture.is_worth_keeping(block(120, 4, 60, 60))
    assert not furniture.is_worth_keeping(Image.new("RGBA", (256, 256)))
    wires = Image.new("RGBA", (256, 256))
    for edge in ((40, 40, 200, 41), (40, 199, 200, 200), (40, 40, 41, 200), (199, 40, 200, 200)):
        wires.paste((0, 0, 0, 255), edge)
    assert not furniture.is_worth_keeping(wires)


def test_what_belongs_in_a_wall_is_seen_from_its_front() -> None:
    made = {"category": "", "creator": "", "obj": Path("x.obj"), "size": (1.0, 1.0, 1.0), "turn": ()}
    chair, hatch, window = (
        _furniture.Piece(model="x", name=name, in_wall=in_wall, licence="CC0", source="test", **made)
        for name, in_wall in (("chair", False), ("hatch", True), ("french window", False))
    )
    assert len(furniture.views_of(chair)) == 8
    assert furniture.views_of(hatch) == furniture.views_of(window) == (0, 2)


def test_scenes_are_told_as_people_would() -> None:
    assert rooms.scene_words(["desk", "armchair"], "an office") == "a desk and an armchair in an office"
    assert rooms.scene_words(["car"], "a road") == "a car on a road"
    assert rooms.scene_words([], "a living room") == "an empty living room"


def test_a_room_is_the_same_on_every_machine() -> None:
    first, again, other = (
        rooms.dice_of(model).uniform(size=3) for model in ("Scopia_001", "Scopia_001", "Scopia_002")
    )
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("surface", [*rooms.FLOORS, *rooms.WALLS, rooms.grass, rooms.asphalt])
def test_surfaces_are_colours(surface: rooms.Surface) -> None:
    drawn = surface(rooms.dice_of("Scopia_001"))
    assert drawn.shape == (512, 512, 3)
    assert drawn.min() >= 0
    assert drawn.max() <= 1


CUBE = """\
mtllib cube.mtl
v 0 0 0
v 2 0 0
v 2 2 0
v 0 2 0
v 0 0 2
v 2 0 2
v 2 2 2
v 0 2 2
usemtl material_1
f 1 4 3 2
f 5 6 7 8
f 1 2 6 5
f 2 3 7 6
f 3 4 8 7
f 4 1 5 8
"""


@pytest.fixture
def stage_and_cube(tmp_path: Path) -> tuple[_rendering.Stage, _rendering.Solid]:
    """A red box, half as wide as high, in front of VTK's camera."""
    pytest.importorskip("vtkmodules", reason="vtk is not installed")
    (tmp_path / "cube.obj").write_text(CUBE, encoding="latin-1")
    (tmp_path / "cube.mtl").write_text("newmtl material_1\nKd 0.8 0.1 0.1\n", encoding="latin-1")
    stage = _rendering.Stage()
    return stage, stage.load(tmp_path / "cube.obj", (0.5, 0.5, 1.0))


def test_a_scene_shows_the_same_place_with_and_without_its_piece(
    stage_and_cube: tuple[_rendering.Stage, _rendering.Solid],
) -> None:
    stage, cube = stage_and_cube
    full, empty = (
        np.asarray(rooms.draw_scene(stage, "Kitchen", solids, cube, rooms.dice_of("cube"))).astype(int)
        for solids in ([cube], [])
    )
    assert full.shape == empty.shape == (320, 480, 3)
    changed = np.abs(full - empty).max(-1) > 2
    assert changed[100:220, 180:300].any()
    assert not changed[:, :60].any()
    assert not changed[:, -60:].any()


# The command


def test_the_sources_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert rebuild_corpus.main(["--list"]) == 0
    listed = capsys.readouterr().out
    assert len(listed.splitlines()) == 21
    assert "endless-sky-data" in listed


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "unicorns"], "There is no source unicorns"),
        (["--limit", "0"], "--limit 0 would build nothing"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "corpus"
    assert rebuild_corpus.main([str(out), *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_missing_client_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert rebuild_corpus.main([str(tmp_path / "corpus"), "--only", "iconify-json-noto"]) == 2
    assert "npm is not installed" in capsys.readouterr().err
    assert rebuild_corpus.main([str(tmp_path / "corpus"), "--only", "renpy-demo"]) == 2
    assert "apt-get is not installed" in capsys.readouterr().err
