"""A package of furniture in the real layout: a .sh3f archive of models made of boxes, with its catalogue."""

from __future__ import annotations

import zipfile
from pathlib import Path

Box = tuple[float, float, float, float, float, float]
"""left, low, back, right, high, front in metres."""

MODELS: dict[str, tuple[str, list[Box], str]] = {
    "Sofa": ("Living room", [(0, 0, 0, 2, 0.45, 0.9), (0, 0.45, 0, 2, 0.9, 0.25)], "0.7 0.2 0.2"),
    "Table": ("Living room", [(0, 0.65, 0, 1.2, 0.75, 0.8), (0.5, 0, 0.3, 0.7, 0.65, 0.5)], "0.6 0.4 0.2"),
    "Chair": ("Living room", [(0, 0, 0, 0.5, 0.5, 0.5), (0, 0.5, 0, 0.5, 1, 0.1)], "0.3 0.5 0.3"),
    "Wardrobe": ("Bedroom", [(0, 0, 0, 1.2, 2, 0.6)], "0.8 0.8 0.7"),
    "Cat": ("Characters", [(0, 0, 0, 0.25, 0.4, 0.4)], "0.3 0.3 0.3"),
    "Dog": ("Characters", [(0, 0, 0, 0.35, 0.7, 0.8)], "0.5 0.35 0.2"),
    "Lamp": ("Lights", [(0.1, 0, 0.1, 0.15, 0.4, 0.15), (0, 0.4, 0, 0.25, 0.6, 0.25)], "0.9 0.9 0.6"),
    "Car": ("Vehicles", [(0, 0, 0, 1.8, 0.8, 4.2), (0.2, 0.8, 1, 1.6, 1.4, 3)], "0.2 0.3 0.8"),
    "Bench": ("Exterior", [(0, 0, 0, 1.6, 0.45, 0.5)], "0.5 0.3 0.1"),
    "Pine": ("Exterior", [(1, 0, 1, 1.2, 1, 1.2), (0, 1, 0, 2.2, 5, 2.2)], "0.1 0.4 0.1"),
}

_FACES = ((1, 4, 3, 2), (5, 6, 7, 8), (1, 2, 6, 5), (2, 3, 7, 6), (3, 4, 8, 7), (4, 1, 5, 8))


def obj(boxes: list[Box]) -> str:
    """Boxes as an OBJ file with material `1`, and with a line among its faces, as some models have."""
    lines = ["mtllib model.mtl"]
    for left, low, back, right, high, front in boxes:
        for z in (back, front):
            lines += [f"v {x} {y} {z}" for x, y in ((left, low), (right, low), (right, high), (left, high))]
    lines += ["usemtl 1", "f 1 2"]
    for number in range(len(boxes)):
        lines += ["f " + " ".join(str(corner + 8 * number) for corner in face) for face in _FACES]
    return "\n".join(lines) + "\n"


def make_package(
    folder: Path, catalogue: str = "BlendSwap-CC-0", numbers: dict[str, int] | None = None
) -> Path:
    """Write the archive and return the folder; numbers: of models in the catalogue, where they matter."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    with zipfile.ZipFile(folder / f"{catalogue}.sh3f", "w") as archive:
        for place, (name, (category, boxes, colour)) in enumerate(MODELS.items(), 1):
            number, slug = (numbers or {}).get(name, place), name.lower()
            width = max(box[3] for box in boxes) * 100
            height = max(box[4] for box in boxes) * 100
            depth = max(box[5] for box in boxes) * 100
            listed.append(
                f"name#{number}={name}\ncategory#{number}={category}\nmodel#{number}=/{slug}/model.obj\n"
                f"width#{number}={width}\ndepth#{number}={depth}\nheight#{number}={height}\n"
                f"dropOnTopElevation#{number}={45 if name == 'Sofa' else -1}\n"
            )
            archive.writestr(f"{slug}/model.obj", obj(boxes))
            archive.writestr(f"{slug}/model.mtl", f"Ns 20\nnewmtl 1\nKd {colour}\n")
        archive.writestr("PluginFurnitureCatalog.properties", "\n".join(listed))
    return folder
