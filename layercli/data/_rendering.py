"""OBJ models to pixels: VTK drawing offscreen, in software if there is no graphics card."""

from __future__ import annotations

import functools
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
    """A model as VTK actors: standing on y = 0, centred on x = z = 0, in metres, its front towards +z.

    upright: (4, 4), takes the file's coordinates to these; cells: number of its faces.
    """

    actors: tuple[Any, ...]
    width: float
    height: float
    depth: float
    upright: np.ndarray
    cells: int


@dataclass(frozen=True)
class Camera:
    """Where a picture is taken from and what it looks at, in metres, y upwards.

    flat: half the height in metres of what a picture without perspective shows; None for perspective.
    """

    position: tuple[float, float, float]
    target: tuple[float, float, float]
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    flat: float | None = None
    clipping: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class View:
    """What a camera sees: straight-alpha colours (H, W, 4) in [0, 1], where, and how it projects.

    depth: (H, W), the renderer's own, 1 where nothing is; projection: (4, 4), from metres to [-1, 1]^3.
    """

    rgba: np.ndarray
    depth: np.ndarray
    projection: np.ndarray

    def positions(self) -> np.ndarray:
        """Where in the scene each pixel's surface is, (H, W, 3) in metres; nonsense where depth is 1."""
        height, width = self.depth.shape
        x = (np.arange(width) + 0.5) / width * 2 - 1
        y = 1 - (np.arange(height) + 0.5) / height * 2
        seen = np.ones((height, width, 4))
        seen[..., 0], seen[..., 1], seen[..., 2] = x, y[:, None], self.depth * 2 - 1
        back = seen @ np.linalg.inv(self.projection).T
        return back[..., :3] / back[..., 3:]


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

    def __init__(self, peels: int = 8) -> None:
        """peels: how many panes of glass, or leaves, behind one another are told apart."""
        self.vtk = _vtk()
        self.vtk.vtkObject.GlobalWarningDisplayOff()
        self._window, self._renderer = self.opened()
        self._renderer.SetUseDepthPeeling(True)  # glass in front of glass
        self._renderer.SetMaximumNumberOfPeels(peels)
        self._covers: dict[int, tuple[np.ndarray, Any]] = {}
        self._lights = []
        for intensity, place in ((KEY_LIGHT, (-0.6, 1.0, 0.6)), (FILL_LIGHT, (0.8, 0.3, 0.6))):
            light = self.vtk.vtkLight()
            light.SetLightTypeToCameraLight()
            light.SetPosition(*place)
            light.SetFocalPoint(0, 0, 0)
            light.SetIntensity(intensity)
            self._renderer.AddLight(light)
            self._lights.append(light)

    def opened(self) -> tuple[Any, Any]:
        """A window of its own, and what draws in it."""
        renderer, window = self.vtk.vtkRenderer(), self.vtk.vtkRenderWindow()
        renderer.AutomaticLightCreationOff()
        window.SetOffScreenRendering(True)
        window.SetMultiSamples(0)
        window.AddRenderer(renderer)
        return window, renderer

    def lit_from(self, direction: Sequence[float], key: float, fill: float) -> None:
        """Let the key light come from far away in a direction of the scene; how strong both lights are."""
        light = self._lights[0]
        light.SetLightTypeToSceneLight()
        light.SetPositional(False)
        light.SetPosition(*direction)
        light.SetFocalPoint(0, 0, 0)
        light.SetIntensity(key)
        self._lights[1].SetIntensity(fill)

    def load(self, obj: Path, size: tuple[float, float, float], turn: Sequence[float] = ()) -> Solid:
        """A model file, turned, and stretched to a width, depth and height in metres.

        turn: the nine numbers of a rotation matrix, row by row; none for a model that already stands.
        """
        importer = self.vtk.vtkOBJImporter()
        importer.SetFileName(str(obj))
        importer.SetFileNameMTL(str(obj.with_suffix(".mtl")))
        importer.SetTexturePath(str(obj.parent))
        aside = self.vtk.vtkRenderWindow()
        aside.SetOffScreenRendering(True)
        importer.SetRenderWindow(aside)
        importer.Update()
        loaded = importer.GetRenderer()
        turned = self.vtk.vtkMatrix4x4()
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
        placed = self.vtk.vtkTransform()
        placed.Scale(width / (right - left), height / (high - low), depth / (front - back))
        placed.Translate(-(left + right) / 2, -low, -(back + front) / 2)
        placed.Concatenate(turned)
        for actor in actors:
            actor.SetUserMatrix(placed.GetMatrix())
        upright = np.array(
            [[placed.GetMatrix().GetElement(row, column) for column in range(4)] for row in range(4)]
        )
        cells = sum(actor.GetMapper().GetInput().GetNumberOfCells() for actor in actors)
        return Solid(actors, width, height, depth, upright, cells)

    def stand(self, solid: Solid, at: tuple[float, float, float], turn: float = 0.0) -> tuple[Any, ...]:
        """The actors of a solid, standing somewhere, turned by some degrees about the upright axis."""
        matrix = self.matrix(placement(at, turn) @ solid.upright)
        for actor in solid.actors:
            actor.SetUserMatrix(matrix)
        return solid.actors

    def release(self, solid: Solid) -> None:
        """Give back what a solid holds of the graphics memory."""
        for actor in solid.actors:
            actor.ReleaseGraphicsResources(self._window)

    def matrix(self, values: np.ndarray) -> Any:
        matrix = self.vtk.vtkMatrix4x4()
        matrix.DeepCopy(values.flatten().tolist())
        return matrix

    def floor(
        self, texture: np.ndarray, side: float, repeat: float, tint: Sequence[float] = (1.0, 1.0, 1.0)
    ) -> Any:
        """A square floor around the middle; the texture covers `repeat` metres and is repeated."""
        half = side / 2
        return self.sheet(texture, (-half, 0, half), (half, 0, half), (-half, 0, -half), side / repeat, tint)

    def wall(
        self,
        texture: np.ndarray,
        side: float,
        behind: float,
        repeat: float,
        tint: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Any:
        """A wall across the picture, `behind` metres behind the middle."""
        half = side / 2
        return self.sheet(
            texture, (-half, 0, -behind), (half, 0, -behind), (-half, side, -behind), side / repeat, tint
        )

    def decal(self, texture: np.ndarray, middle: float, side: float) -> Any:
        """A square picture (height, width, 4) on the floor, a millimetre above it."""
        half, up = side / 2, 0.001
        return self.sheet(
            texture, (middle - half, up, half), (middle + half, up, half), (middle - half, up, -half), 1
        )

    def sheet(
        self,
        texture: np.ndarray,
        origin: tuple[float, float, float],
        right: tuple[float, float, float],
        up: tuple[float, float, float],
        repeats: float | tuple[float, float],
        tint: Sequence[float] = (1.0, 1.0, 1.0),
    ) -> Any:
        """A flat rectangle given by three corners, covered with a texture (height, width, 3 or 4), 0 to 1.

        repeats: how often the texture lies side by side, to the right and upwards; tint: what its colours are
        multiplied by.
        """
        plane = self.vtk.vtkPlaneSource()
        plane.SetOrigin(*origin)
        plane.SetPoint1(*right)
        plane.SetPoint2(*up)
        plane.Update()
        mesh = plane.GetOutput()
        corners = (np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * repeats).astype(np.float32)
        mesh.GetPointData().SetTCoords(self.vtk.numpy_to_vtk(corners, deep=True))
        mapper = self.vtk.vtkPolyDataMapper()
        mapper.SetInputData(mesh)
        actor = self.vtk.vtkActor()
        actor.SetMapper(mapper)
        actor.SetTexture(self._cover(texture))
        actor.GetProperty().SetColor(*tint)
        # Lit by ambient light alone: a floor under a camera light would be bright in the middle.
        actor.GetProperty().SetAmbient(1)
        actor.GetProperty().SetDiffuse(0)
        if texture.shape[2] == 4:
            actor.ForceTranslucentOn()
        return actor

    def _cover(self, texture: np.ndarray) -> Any:
        """A texture as VTK has it; one that nobody may write to is kept for the next time."""
        kept = self._covers.get(id(texture))
        if kept is not None:
            return kept[1]
        image = self.vtk.vtkImageData()
        image.SetDimensions(texture.shape[1], texture.shape[0], 1)
        pixels = np.rint(texture[::-1].clip(0, 1) * 255).astype(np.uint8)
        image.GetPointData().SetScalars(
            self.vtk.numpy_to_vtk(pixels.reshape(-1, texture.shape[2]), deep=True)
        )
        cover = self.vtk.vtkTexture()
        cover.SetInputDataObject(image)
        cover.RepeatOn()
        cover.InterpolateOn()
        cover.MipmapOn()
        if not texture.flags.writeable:
            self._covers[id(texture)] = texture, cover
        return cover

    def shoot(
        self, actors: Iterable[Any], camera: Camera, size: tuple[int, int], *, sharper: int = 2
    ) -> Image.Image:
        """An RGBA picture of some actors on transparency; `sharper` as `see` has it."""
        rgba = self.see(actors, camera, size, sharper=sharper).rgba
        return Image.fromarray(np.rint(rgba * 255).astype(np.uint8), "RGBA")

    def see(self, actors: Iterable[Any], camera: Camera, size: tuple[int, int], *, sharper: int = 2) -> View:
        """What a camera sees of some actors, on transparency.

        Drawn once on black and, unless all is solid, once on white: alpha is what the two agree on, whatever
        the renderer does with glass and edges. `sharper` times as many pixels are drawn each way and
        averaged.
        """
        drawn = list(actors)
        for actor in drawn:
            self._renderer.AddActor(actor)
        projection = self.look(self._renderer, camera, size[0] / size[1])
        self._window.SetSize(size[0] * sharper, size[1] * sharper)
        black, depth = self._draw(0.0)
        if any(actor.HasTranslucentPolygonalGeometry() for actor in drawn):
            clear = 1 - (self._draw(1.0)[0] - black).mean(-1, keepdims=True)
        else:
            clear = (depth[..., None] < 1).astype(np.float32)
        for actor in drawn:
            self._renderer.RemoveActor(actor)
        black, alpha = _averaged(black, sharper), _averaged(clear, sharper).clip(0, 1)
        colour = np.where(alpha > 1 / 255, black / np.maximum(alpha, 1 / 255), 0).clip(0, 1)
        return View(np.concatenate([colour, alpha], -1), depth[::sharper, ::sharper], projection)

    def look(self, renderer: Any, camera: Camera, aspect: float) -> np.ndarray:
        """Set the camera up -> (4, 4), from metres to [-1, 1]^3."""
        view = renderer.GetActiveCamera()
        view.SetViewAngle(VIEW_ANGLE)
        view.SetPosition(*camera.position)
        view.SetFocalPoint(*camera.target)
        view.SetViewUp(*camera.up)
        view.SetParallelProjection(camera.flat is not None)
        view.SetParallelScale(camera.flat or 1.0)
        if camera.clipping is None:
            renderer.ResetCameraClippingRange()
        else:
            view.SetClippingRange(*camera.clipping)
        matrix = view.GetCompositeProjectionTransformMatrix(aspect, -1, 1)
        return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])

    def _draw(self, grey: float) -> tuple[np.ndarray, np.ndarray]:
        """What the window shows on a grey background -> colours (H, W, 3) in [0, 1], depths (H, W)."""
        self._renderer.SetBackground(grey, grey, grey)
        self._window.Render()
        width, height = self._window.GetSize()
        colours = self.vtk.vtkUnsignedCharArray()
        self._window.GetPixelData(0, 0, width - 1, height - 1, 0, colours, 0)
        values = np.asarray(self.vtk.vtk_to_numpy(colours)).reshape(height, width, 3)
        return values[::-1].astype(np.float32) / 255, self.depths(self._window)

    def depths(self, window: Any) -> np.ndarray:
        width, height = window.GetSize()
        depths = self.vtk.vtkFloatArray()
        window.GetZbufferData(0, 0, width - 1, height - 1, depths)
        return np.asarray(self.vtk.vtk_to_numpy(depths)).reshape(height, width)[::-1].copy()


def placement(at: tuple[float, float, float], turn: float) -> np.ndarray:
    """(4, 4): turned by some degrees about the upright axis, then moved."""
    cos, sin = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    x, y, z = at
    return np.array([[cos, 0, sin, x], [0, 1, 0, y], [-sin, 0, cos, z], [0, 0, 0, 1]])


def _averaged(values: np.ndarray, factor: int) -> np.ndarray:
    """(H, W, C) -> (H / factor, W / factor, C), each the mean of a square."""
    parts = [values[y::factor, x::factor] for y in range(factor) for x in range(factor)]
    return functools.reduce(np.add, parts) / len(parts)


def _matt(surface: Any) -> None:
    surface.SetAmbientColor(surface.GetDiffuseColor())
    surface.SetAmbient(AMBIENT)
    surface.SetDiffuse(DIFFUSE)
    surface.SetSpecular(SPECULAR)
    surface.SetSpecularPower(20)


# VTK's modules are large: only these are loaded. The first draws; the others would not without it.
_VTK = {
    "vtkmodules.vtkRenderingOpenGL2": (),
    "vtkmodules.vtkCommonCore": ("vtkFloatArray", "vtkObject", "vtkUnsignedCharArray"),
    "vtkmodules.vtkCommonMath": ("vtkMatrix4x4",),
    "vtkmodules.vtkCommonTransforms": ("vtkTransform",),
    "vtkmodules.vtkFiltersSources": ("vtkPlaneSource",),
    "vtkmodules.vtkFiltersCore": ("vtkAppendPolyData", "vtkQuadricClustering"),
    "vtkmodules.vtkIOImport": ("vtkOBJImporter",),
    "vtkmodules.vtkRenderingCore": (
        "vtkActor",
        "vtkLight",
        "vtkPolyDataMapper",
        "vtkRenderer",
        "vtkRenderWindow",
        "vtkTexture",
    ),
    "vtkmodules.vtkCommonDataModel": ("vtkImageData", "vtkPolyData"),
    "vtkmodules.util.numpy_support": ("numpy_to_vtk", "vtk_to_numpy"),
}


def _vtk() -> Any:
    """The few things of VTK that are used, as attributes of one object."""
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        os.environ.setdefault("VTK_DEFAULT_OPENGL_WINDOW", "vtkEGLRenderWindow")
    try:
        modules = {name: importlib.import_module(name) for name in _VTK}
    except ImportError as error:
        raise LayercliError("Rendering 3D models needs vtk.", "pip install 'layercli[rooms]'") from error
    return SimpleNamespace(
        **{part: getattr(modules[name], part) for name, parts in _VTK.items() for part in parts}
    )
