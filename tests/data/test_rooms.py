"""Rendered scenes: catalogues read, things placed, layers and shadows that make the whole, sets to read."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layercli.core.errors import LayercliError
from layercli.data import _furniture, _layered_set, _shade, corpus, rooms
from layercli.data._furniture import Piece
from layercli.data._layered_source import Layered, box_of
from layercli.data._picture_sets import open_pictures
from layercli.data._placing import Thing, along_wall, beside, camera_for, on_top
from layercli.data._rendering import Camera, Solid, Stage, View, orbit
from layercli.data._scenery import Cast, Place
from tests.data.furniture_boxes import make_package, obj

SIZE = 64
HELD_OUT = next(
    number
    for number in range(11, 1000)
    if corpus.is_held_out(
        {"source": "deb:sweethome3d-furniture (BlendSwap-CC-0)", "model": f"BlendSwap-CC-0_{number:03}"}
    )
)

CATALOGUE = """\
id=Some#Models
id#1=Some#couch
name#1=Couch
category#1=Living room
model#1=/some/couch/couch.obj
width#1=200
depth#1=90.5
height#1=80
modelRotation#1=1 0 0 0 1 0 0 0 1
doorOrWindow#1=false
dropOnTopElevation#1=43.4
creator#1=Someone
name#2=Bill 10\\u20ac
name#10=French window
"""


# Catalogues


def test_a_catalogue_is_read_by_number() -> None:
    entries = _furniture.read_catalogue(CATALOGUE)
    assert entries.keys() == {1, 2, 10}
    assert entries[1]["depth"] == "90.5"
    assert entries[1]["creator"] == "Someone"
    assert _furniture.piece_name(entries[1]["name"]) == "sofa"
    assert _furniture.piece_name(entries[2]["name"]) == "bill €"


def test_pieces_have_their_true_size(tmp_path: Path) -> None:
    text = CATALOGUE + "model#10=/w.obj\nwidth#10=100\ndepth#10=10\nheight#10=210\ndoorOrWindow#10=true\n"
    (tmp_path / "PluginFurnitureCatalog.properties").write_text(text, encoding="latin-1")
    sofa, window = _furniture.pieces(_furniture.Catalogue("Some", "CC0"), tmp_path)
    assert (sofa.model, sofa.name, sofa.size, sofa.top) == ("Some_001", "sofa", (2.0, 0.905, 0.8), 0.434)
    assert sofa.turn == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert sofa.obj == tmp_path / "some/couch/couch.obj"
    assert (window.model, window.in_wall, window.top) == ("Some_010", True, None)
    assert {sofa.licence, window.licence} == {"CC0"}


def test_materials_become_readable_to_vtk(tmp_path: Path) -> None:
    (tmp_path / "Wood.JPG").touch()
    wood = "Ns 20\nnewmtl 1\nKd 1 0 0\nmap_Kd C:\\textures\\wood.jpg\t\t\nmap_Bump Wood.JPG\n"
    oak = "newmtl grey oak\nmap_Kd gone.png\n"
    assert _furniture.readable_materials(wood + oak, tmp_path) == (
        "newmtl material_1\nKd 1 0 0\nmap_Kd Wood.JPG\nnewmtl material_grey oak\n"
    )


def test_lines_among_faces_are_left_out() -> None:
    made = _furniture.readable_model("usemtl 1 \nf 1 2\nf 1/1 2/2 3/3\nf 4\n")
    assert made == "usemtl material_1\nf 1/1 2/2 3/3\n"


def test_a_folder_without_catalogues_is_told(tmp_path: Path) -> None:
    with pytest.raises(LayercliError, match="No furniture catalogues") as told:
        rooms.build(
            rooms.Options(models=str(tmp_path), unpacked=str(tmp_path / "u"), out=str(tmp_path / "o"))
        )
    assert "apt-get download sweethome3d-furniture" in told.value.hint
    assert not (tmp_path / "o").exists()


# What stands where


def piece(name: str, size: tuple[float, float, float], category: str = "Living room", **more: Any) -> Piece:
    return Piece(f"Some_{name}", name, category, "", Path("x.obj"), size, (), False, "CC0", "test", **more)


def test_nothing_stands_in_something_else() -> None:
    rng = np.random.default_rng(3)
    things = along_wall([piece("sofa", (2, 0.9, 0.8)), piece("table", (1, 1, 0.7))], rng)
    for number in range(6):
        placed = beside(piece(f"stool {number}", (0.4, 0.4, 0.5)), 20, things, rng, True)
        things += [placed] if placed else []
    assert len(things) > 4
    for i, one in enumerate(things):
        for other in things[:i]:
            apart = np.abs(np.array(one.at) - other.at)[[0, 2]]
            assert (apart > (np.array(one.footprint) + other.footprint) / 2 - 1e-6).any()


def test_what_lies_on_top_lies_on_the_seat_and_not_on_the_back() -> None:
    relief = np.zeros((96, 96))
    relief[28:68, 4:92] = 0.45  # the seat: 0.9 m deep at 2 / 88 m a pixel
    relief[28:38, 4:92] = 0.9
    sofa = Thing(piece("sofa", (2, 0.9, 0.9), top=0.45), (1.0, 0.0, 2.0), 0.0, False)
    cat = piece("cat", (0.25, 0.3, 0.4), "Characters")
    rng = np.random.default_rng(0)
    for _ in range(20):
        placed = on_top(cat, sofa, (relief, 2 / 88), rng)
        assert placed is not None
        assert placed.at[1] == pytest.approx(0.45, abs=0.01)
        assert abs(placed.at[0] - 1) < 1 and placed.at[2] > 1.75
    assert on_top(piece("bed", (1.9, 1.5, 0.5)), sofa, (relief, 2 / 88), rng) is None


def test_a_camera_shows_all_that_it_must() -> None:
    must = Thing(piece("car", (1.8, 4.2, 1.4)), (3.0, 0.0, -1.0), 40.0, True).corners()
    for seed in range(20):
        camera = camera_for(
            must, np.array([[-9.0, 0, 0], [9, 5, -3]]), np.random.default_rng(seed), outside=True
        )
        away = np.array(camera.position) - camera.target
        away /= np.linalg.norm(away)
        right = np.cross([0, 1, 0], away)
        right /= np.linalg.norm(right)
        rel = must - camera.position
        depth = -(rel @ away) * np.tan(np.radians(15))
        assert (depth > 0).all()
        assert np.abs(rel @ right / depth).max() < 1 and np.abs(rel @ np.cross(away, right) / depth).max() < 1


def test_the_same_thing_is_not_drawn_twice() -> None:
    cast = Cast(
        [piece("sofa", (2, 0.9, 0.8)), piece("burlap sofa", (2, 0.9, 0.8)), piece("table", (1, 1, 0.7))]
    )
    rng = np.random.default_rng(0)
    drawn = {cast.draw(rng, "sofa|table", but=[cast.pieces[0]]) for _ in range(20)}
    assert drawn == {cast.pieces[2]}


def test_places_are_told_as_people_would() -> None:
    rng = np.random.default_rng(0)
    told = {Place("room", "a kitchen").told(["a table", "a stool"], rng) for _ in range(60)}
    assert told == {"a table", "a kitchen", "a table and a stool in a kitchen"}
    assert Place("road", "a road").told([], rng) == "a road"


# Light


def ball_view(depth: np.ndarray) -> View:
    return View(np.zeros((*depth.shape, 4)), depth, np.diag([1.0, 1, -1, 1]))


def test_pixels_know_where_they_are() -> None:
    where = ball_view(np.full((4, 4), 0.25)).positions()
    assert where[0, 0] == pytest.approx([-0.75, 0.75, 0.5])
    assert where[3, 2] == pytest.approx([0.25, -0.75, 0.5])


def test_only_what_lies_behind_is_hidden() -> None:
    depth = np.ones((1, _shade.SIDE, _shade.SIDE), np.float32)
    depth[0, :, : _shade.SIDE // 2] = 0.5
    maps = _shade.Maps(depth, np.diag([1.0, 1, 1, 1])[None], 0.01)
    points = np.array([[-0.5, 0, 0.2], [-0.5, 0, -0.2], [0.5, 0, 0.2], [-3, 0, 0.9]])
    for soft in (True, False):
        assert _shade.hidden(points, maps, slice(None), soft=soft).tolist() == [[1, 0, 0, 0]]


def test_all_light_comes_from_somewhere() -> None:
    light = _shade.lamps(np.array([0.0, 0.8, 0.6]), 180, np.random.default_rng(0))
    assert light.shares.sum() == pytest.approx(1)
    assert np.linalg.norm(light.directions, axis=1) == pytest.approx(1)
    assert (light.directions[:, 1] > 0).all()


# Rendering


@pytest.fixture(scope="module")
def vtk() -> None:
    pytest.importorskip("vtkmodules", reason="vtk is not installed")


@pytest.fixture
def stage_and_box(tmp_path: Path, vtk: None) -> tuple[Stage, Solid]:
    """A red box, half as wide as high."""
    (tmp_path / "model.obj").write_text(
        _furniture.readable_model(obj([(0, 0, 0, 2, 2, 2)])), encoding="latin-1"
    )
    (tmp_path / "model.mtl").write_text("newmtl material_1\nKd 0.8 0.1 0.1\n", encoding="latin-1")
    stage = Stage()
    return stage, stage.load(tmp_path / "model.obj", (0.5, 0.5, 1.0))


def test_a_model_is_drawn_whole_on_transparency(stage_and_box: tuple[Stage, Solid]) -> None:
    stage, box = stage_and_box
    shot = stage.shoot(box.actors, orbit(box, 0, 6), (128, 128))
    left, top, right, bottom = box_of(np.asarray(shot)[..., 3])
    assert 1.6 < (bottom - top) / (right - left) < 2.1
    middle, corner = shot.getpixel((64, 64)), shot.getpixel((2, 2))
    assert isinstance(middle, tuple) and middle[3] == 255 and middle[0] > 3 * middle[1]
    assert corner == (0, 0, 0, 0)


def test_what_is_seen_is_where_it_stands(stage_and_box: tuple[Stage, Solid]) -> None:
    stage, box = stage_and_box
    camera = Camera((1.0, 1.0, 6.0), (1.0, 0.5, 0.0))
    view = stage.see(stage.stand(box, (1.0, 0.0, 0.5), 90.0), camera, (SIZE, SIZE))
    seen = view.positions()[view.depth < 1]
    assert seen.min(0) == pytest.approx([0.75, 0.0, 0.75], abs=0.06)  # its front
    assert seen.max(0) == pytest.approx([1.25, 1.0, 0.75], abs=0.06)


def test_a_box_seen_from_above_is_as_high_as_it_is(stage_and_box: tuple[Stage, Solid]) -> None:
    stage, box = stage_and_box
    shade = _shade.Shade(stage)
    relief, metres = shade.relief(shade.caster(box), box)
    assert np.unique(relief.round(2)).tolist() == [0.0, 1.0]
    assert (relief > 0.5).sum() * metres**2 == pytest.approx(0.25, abs=0.03)


def test_a_box_darkens_the_floor_on_the_side_away_from_the_light(stage_and_box: tuple[Stage, Solid]) -> None:
    stage, box = stage_and_box
    shade = _shade.Shade(stage)
    light = _shade.Lamps(np.array([[0.6, 0.8, 0.0]]), np.ones(1), 1)
    maps = shade.maps(shade.caster(box), box, (2.0, 0.0, 0.0), 0.0, light)
    points = np.array([[1.5, 0, 0], [1.1, 0, 0], [2.5, 0, 0], [1.5, 0, 0.5], [2.0, 1.0, 0]])
    assert _shade.hidden(points, maps, slice(None), soft=False)[0].tolist() == [1, 1, 0, 0, 0]


# Sets


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_package(tmp_path_factory.mktemp("package"), numbers={"Wardrobe": HELD_OUT})


def settings(package: Path, out: Path, **changes: Any) -> rooms.Options:
    asked = {"samples": 8, "size": SIZE, "counts": (0.4, 0.4, 0.2)} | changes
    return rooms.Options(models=str(package), unpacked=str(package / "unpacked"), out=str(out), **asked)


@pytest.fixture(scope="module")
def built(package: Path, tmp_path_factory: pytest.TempPathFactory, vtk: None) -> Path:
    return rooms.build(settings(package, tmp_path_factory.mktemp("rooms")))


def pictures(folder: Path) -> list[Layered]:
    return [picture for _, shard in _layered_set.read_shards(folder) for picture in shard]


def test_layers_and_shadow_make_the_whole(built: Path) -> None:
    darkest = []
    for picture in pictures(built):
        frames = picture.frames.astype(np.float32) / 255
        assert (frames[0, ..., 3] == 1).all() and (frames[-1, ..., 3] == 1).all()
        plain = frames[0, ..., :3]
        for layer in frames[1:-1]:
            plain = layer[..., :3] * layer[..., 3:] + plain * (1 - layer[..., 3:])
        assert (frames[-1, ..., :3] <= plain + 2.5 / 255).all()  # nothing else than shadow
        darkest.append(float((plain - frames[-1, ..., :3]).max()))
    assert np.median(darkest) > 0.1


def test_rows_say_where_everything_is(built: Path) -> None:
    assert len(pictures(built)) >= 6
    for picture in pictures(built):
        row, alphas = picture.row, picture.frames[1:-1, ..., 3]
        assert row["captions"][-1] == f"{' and '.join(row['captions'][1:-1])}, {row['captions'][0]}"
        assert row["style"] == "3d render" and len(row["nouns"]) == len(alphas) + 1
        for alpha, box, area, visible in zip(alphas, row["boxes"], row["areas"], row["visible"], strict=True):
            assert box_of(alpha) == pytest.approx(box, abs=2 / SIZE)
            assert alpha.mean() / 255 == pytest.approx(area, abs=0.01)
            assert 0.01 <= area <= 0.8 and visible >= 0.3
            assert max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()) < 130


def test_held_out_models_stand_nowhere_and_licences_are_told(built: Path) -> None:
    manifest = json.loads((built / "manifest.json").read_text())
    used = {work for picture in pictures(built) for work in picture.row["works"]}
    assert used and f"BlendSwap-CC-0_{HELD_OUT:03}" not in used
    assert manifest["licences"] == {"CC0": manifest["pictures"]}
    assert manifest["sources"] == {"deb:sweethome3d-furniture (BlendSwap-CC-0)": manifest["pictures"]}


def test_the_same_seed_gives_the_same_bytes(package: Path, built: Path, tmp_path: Path) -> None:
    again = rooms.build(settings(package, tmp_path / "again"))
    other = rooms.build(settings(package, tmp_path / "other", seed=1, samples=2))
    sums = [json.loads((folder / "manifest.json").read_text())["sha256"] for folder in (built, again, other)]
    assert sums[0] == sums[1]
    assert list(sums[0].values()) != list(sums[2].values())


def test_the_base_reads_backgrounds_and_whole_pictures(built: Path) -> None:
    read = open_pictures(built, ("background", "global"))
    assert len(read) == 2 * len(pictures(built))
    assert {row["kind"] for row in read.rows} == {"background", "global"}
    first = pictures(built)[0]
    assert (read.pixels(0) == first.frames[0]).all() and (read.pixels(1) == first.frames[-1]).all()
    assert read.rows[0]["caption"] == first.row["captions"][0]
    assert read.rows[1]["caption"].endswith(f", {first.row['captions'][0]}")


def test_without_vtk_the_way_to_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vtkmodules.vtkRenderingOpenGL2", None)
    with pytest.raises(LayercliError, match="needs vtk") as told:
        Stage()
    assert told.value.hint == "pip install 'layercli[rooms]'"
