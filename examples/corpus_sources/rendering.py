"""OBJ models to pixels: VTK drawing offscreen, in software if there is no graphics card."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

from layercli.core.errors import LayercliError

VIEW_ANGLE = 30.0  # degrees, vertical
# Shares of a surface's own colour: enough ambient light that no side is black, enough direct light for form.
AMBIENT, DIFFUSE, SPECULAR = 0.5, 0.6, 0.08
KEY_LIGHT, FILL_LIGHT = 0.8, 0.35


@dataclass(frozen=True)
class Solid:
    """A model as VTK actors: standing on y = 0, centred on x = z = 0, in metres, its front towards +z."""

    actors: tuple[Any, ...]
    width: float
    height: float
    depth: float


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from and what it looks at, in metres, y upwards.

    flat: half the height in metres of what a picture without perspective shows; None for perspective.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    flat: float | None = None


def orbit(solid: Solid, azimuth: float, elevation: float) -> Camera:
    """A camera on a sphere around a model, from which it just fits the picture; 0° is its front."""
    radius = float(np.linalg.norm([solid.width, solid.height, solid.depth])) / 2
    distance = 1.05 * radius / float(np.sin(np.radians(VIEW_ANGLE / 2)))
    around, above = np.radians(azimuth), np.radians(elevation)
    return Camera(
        (
            float(distance * np.cos(above) * np.sin(around)),
            float(solid.height / 2 + distance * np.sin(above)),
            float(distance * np.cos(above) * np.cos(around)),
        ),
        (0.0, solid.height / 2, 0.0),
    )


def overhead(solid: Solid) -> Camera:
    """A camera straight above a model that shows twice its footprint, its front at the bottom."""
    half = max(solid.width, solid.depth)
    return Camera((0.0, solid.height + 10.0, 0.0), (0.0, 0.0, 0.0), up=(0.0, 0.0, -1.0), flat=half)


class Stage:
    """One offscreen window, lit by a key and a fill light that stand beside the camera."""

    def __init__(self) -> None:
        self._vtk = _vtk()
        self._vtk.vtkObject.GlobalWarningDisplayOff()
        self._renderer = self._vtk.vtkRenderer()
        self._renderer.AutomaticLightCreationOff()
        self._renderer.SetUseDepthPeeling(True)  # glass in front of glass
        self._renderer.SetMaximumNumberOfPeels(8)
        self._window = self._vtk.vtkRenderWindow()
        self._window.SetOffScreenRendering(True)
        self._window.SetMultiSamples(0)
        self._window.AddRenderer(self._renderer)
        for intensity, place in ((KEY_LIGHT, (-0.6, 1.0, 0.6)), (FILL_LIGHT, (0.8, 0.3, 0.6))):
            light = self._vtk.vtkLight()
            light.SetLightTypeToCameraLight()
            light.SetPosition(*place)
            light.SetFocalPoint(0, 0, 0)
            light.SetIntensity(intensity)
            self._renderer.AddLight(light)

    def load(self, obj: Path, size: tuple[float, float, float], turn: Sequence[float] = ()) -> Solid:
        """A model file, turned, and stretched to a width, depth and height in metres.

        turn: the nine numbers of a rotation matrix, row by row; none for a model that already stands.
        """
        importer = self._vtk.vtkOBJImporter()
        importer.SetFileName(str(obj))
        importer.SetFileNameMTL(str(obj.with_suffix(".mtl")))
        importer.SetTexturePath(str(obj.parent))
        aside = self._vtk.vtkRenderWindow()
        aside.SetOffScreenRendering(True)
        importer.SetRenderWindow(aside)
        importer.Update()
        loaded = importer.GetRenderer()
        turned = self._vtk.vtkMatrix4x4()
        for place, value in enumerate(turn):
            turned.SetElement(place // 3, place % 3, value)
        actors = tuple(loaded.GetActors())
        for actor in actors:
            actor.SetUserMatrix(turned)
            _matt(actor.GetProperty())
        left, right, low, high, back, front = loaded.ComputeVisiblePropBounds()
        if not (right > left and high > low and front > back):
            raise LayercliError(f"{obj.name} has no volume.", "Leave this model out.")
        width, depth, height = size
        placed = self._vtk.vtkTransform()
        placed.Scale(width / (right - left), height / (high - low), depth / (front - back))
        placed.Translate(-(left + right) / 2, -low, -(back + front) / 2)
        placed.Concatenate(turned)
        for actor in actors:
            actor.SetUserMatrix(placed.GetMatrix())
        return Solid(actors, width, height, depth)

    def floor(self, texture: np.ndarray, side: float, repeat: float) -> Any:
        """A square floor around the middle; the texture covers `repeat` metres and is repeated."""
        half = side / 2
        return self._sheet(texture, (-half, 0, half), (half, 0, half), (-half, 0, -half), side / repeat)

    def wall(self, texture: np.ndarray, side: float, behind: float, repeat: float) -> Any:
        """A wall across the picture, `behind` metres behind the middle."""
        half = side / 2
        return self._sheet(
            texture, (-half, 0, -behind), (half, 0, -behind), (-half, side, -behind), side / repeat
        )

    def decal(self, texture: np.ndarray, middle: float, side: float) -> Any:
        """A square picture (height, width, 4) on the floor, a millimetre above it."""
        half, up = side / 2, 0.001
        return self._sheet(
            texture, (middle - half, up, half), (middle + half, up, half), (middle - half, up, -half), 1
        )

    def moved(self, solid: Solid, sideways: float) -> tuple[Any, ...]:
        """The actors of a solid, `sideways` metres to the right of the middle."""
        for actor in solid.actors:
            actor.SetPosition(0, 0, 0)
            placed = self._vtk.vtkTransform()
            placed.Translate(sideways, 0, 0)
            placed.Concatenate(actor.GetUserMatrix())
            actor.SetUserMatrix(placed.GetMatrix())
        return solid.actors

    def _sheet(
        self,
        texture: np.ndarray,
        origin: tuple[float, float, float],
        right: tuple[float, float, float],
        up: tuple[float, float, float],
        repeats: float,
    ) -> Any:
        """A flat rectangle given by three corners, covered with a texture (height, width, 3 or 4), 0 to 1."""
        plane = self._vtk.vtkPlaneSource()
        plane.SetOrigin(*origin)
        plane.SetPoint1(*right)
        plane.SetPoint2(*up)
        plane.Update()
        mesh = plane.GetOutput()
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], dtype=np.float32) * repeats
        mesh.GetPointData().SetTCoords(self._vtk.numpy_to_vtk(corners, deep=True))
        image = self._vtk.vtkImageData()
        image.SetDimensions(texture.shape[1], texture.shape[0], 1)
        pixels = np.rint(texture[::-1].clip(0, 1) * 255).astype(np.uint8)
        image.GetPointData().SetScalars(
            self._vtk.numpy_to_vtk(pixels.reshape(-1, texture.shape[2]), deep=True)
        )
        cover = self._vtk.vtkTexture()
        cover.SetInputDataObject(image)
        cover.RepeatOn()
        cover.InterpolateOn()
        cover.MipmapOn()
        mapper = self._vtk.vtkPolyDataMapper()
        mapper.SetInputData(mesh)
        actor = self._vtk.vtkActor()
        actor.SetMapper(mapper)
        actor.SetTexture(cover)
        actor.GetProperty().SetColor(1, 1, 1)
        # Lit by ambient light alone: a floor under a camera light would be bright in the middle.
        actor.GetProperty().SetAmbient(1)
        actor.GetProperty().SetDiffuse(0)
        if texture.shape[2] == 4:
            actor.ForceTranslucentOn()
        return actor

    def shoot(
        self, actors: Iterable[Any], camera: Camera, size: tuple[int, int], *, sharper: int = 2
    ) -> Image.Image:
        """An RGBA picture of some actors on transparency.

        Drawn once on black and once on white: alpha is what the two agree on, whatever the renderer does with
        glass and edges. `sharper` times as many pixels are drawn each way and averaged.
        """
        drawn = list(actors)
        for actor in drawn:
            self._renderer.AddActor(actor)
        view = self._renderer.GetActiveCamera()
        view.SetViewAngle(VIEW_ANGLE)
        view.SetPosition(*camera.position)
        view.SetFocalPoint(*camera.target)
        view.SetViewUp(*camera.up)
        view.SetParallelProjection(camera.flat is not None)
        view.SetParallelScale(camera.flat or 1.0)
        self._renderer.ResetCameraClippingRange()
        self._window.SetSize(size[0] * sharper, size[1] * sharper)
        black, white = self._draw(0.0), self._draw(1.0)
        for actor in drawn:
            self._renderer.RemoveActor(actor)
        small = [
            shot.reshape(size[1], sharper, size[0], sharper, 3).mean((1, 3)) / 255 for shot in (black, white)
        ]
        alpha = np.clip(1 - (small[1] - small[0]).mean(-1, keepdims=True), 0, 1)
        colour = np.where(alpha > 1 / 255, small[0] / np.maximum(alpha, 1 / 255), 0).clip(0, 1)
        return Image.fromarray(np.rint(np.concatenate([colour, alpha], -1) * 255).astype(np.uint8), "RGBA")

    def _draw(self, grey: float) -> np.ndarray:
        """What the window shows on a grey background -> (height, width, 3) uint8, top row first."""
        self._renderer.SetBackground(grey, grey, grey)
        self._window.Render()
        reader = self._vtk.vtkWindowToImageFilter()
        reader.SetInput(self._window)
        reader.ReadFrontBufferOff()
        reader.Update()
        image = reader.GetOutput()
        width, height, _ = image.GetDimensions()
        values = np.asarray(self._vtk.vtk_to_numpy(image.GetPointData().GetScalars()))
        return values.reshape(height, width, -1)[::-1, :, :3]


def _matt(surface: Any) -> None:
    surface.SetAmbientColor(surface.GetDiffuseColor())
    surface.SetAmbient(AMBIENT)
    surface.SetDiffuse(DIFFUSE)
    surface.SetSpecular(SPECULAR)
    surface.SetSpecularPower(20)


# VTK's modules are large: only these are loaded. The first draws; the others would not without it.
_VTK = {
    "vtkmodules.vtkRenderingOpenGL2": (),
    "vtkmodules.vtkCommonCore": ("vtkObject",),
    "vtkmodules.vtkCommonMath": ("vtkMatrix4x4",),
    "vtkmodules.vtkCommonTransforms": ("vtkTransform",),
    "vtkmodules.vtkFiltersSources": ("vtkPlaneSource",),
    "vtkmodules.vtkIOImport": ("vtkOBJImporter",),
    "vtkmodules.vtkRenderingCore": (
        "vtkActor",
        "vtkLight",
        "vtkPolyDataMapper",
        "vtkRenderer",
        "vtkRenderWindow",
        "vtkTexture",
        "vtkWindowToImageFilter",
    ),
    "vtkmodules.vtkCommonDataModel": ("vtkImageData",),
    "vtkmodules.util.numpy_support": ("numpy_to_vtk", "vtk_to_numpy"),
}


def _vtk() -> Any:
    """The few things of VTK that are used, as attributes of one object."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    try:
        modules = {name: importlib.import_module(name) for name in _VTK}
    except ImportError as error:
        raise LayercliError("Rendering 3D models needs vtk.", "pip install vtk") from error
    return SimpleNamespace(
        **{part: getattr(modules[name], part) for name, parts in _VTK.items() for part in parts}
    )
