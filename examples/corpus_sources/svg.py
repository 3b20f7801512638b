"""SVG to pixels, with whichever of resvg-py and cairosvg is installed."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

from PIL import Image

from layercli.core.errors import LayercliError

# Pixels per unit by the CSS specification, at 96 pixels an inch.
_PIXELS = {"": 1.0, "px": 1.0, "pt": 96 / 72, "pc": 16.0, "mm": 96 / 25.4, "cm": 96 / 2.54, "in": 96.0}
_ROOT = re.compile(r"<svg(?=[\s>/]).*?>", re.DOTALL)
_LENGTH = re.compile(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def _attribute(tag: str, name: str) -> str | None:
    found = re.search(rf"\s{name}\s*=\s*([\"'])(.*?)\1", tag, re.DOTALL)
    return found[2] if found else None


def _pixels(length: str | None) -> float | None:
    found = _LENGTH.fullmatch(length or "")
    unit = found[2].lower() if found else ""
    return float(found[1]) * _PIXELS[unit] if found and unit in _PIXELS else None


def normalised(svg: str) -> str:
    """The same drawing with a root that has a viewBox, a size in pixels and its namespaces.

    Renderers refuse roots without a viewBox whose size is in pt or mm. A drawing whose size is not given, or
    is in per cent, gets its viewBox' size, or 100 × 100 when that is missing too.
    """
    found = _ROOT.search(svg)
    if not found:
        raise LayercliError("This drawing has no <svg> element.", "Leave it out, or repair the file.")
    tag = found[0]
    view_box = _attribute(tag, "viewBox")
    numbers = [float(part) for part in re.split(r"[\s,]+", (view_box or "").strip()) if part]
    if len(numbers) != 4 or min(numbers[2:]) <= 0:
        numbers = []
    width = _pixels(_attribute(tag, "width")) or (numbers[2] if numbers else 100.0)
    height = _pixels(_attribute(tag, "height")) or (numbers[3] if numbers else 100.0)
    # Without a viewBox the drawing's own units are pixels: it shows from 0, 0 to its size.
    box = numbers or [0.0, 0.0, width, height]
    bare = re.sub(r"\s(viewBox|width|height)\s*=\s*([\"']).*?\2", "", tag, flags=re.DOTALL)
    added = [
        f'viewBox="{" ".join(f"{number:.9g}" for number in box)}"',
        f'width="{width:.9g}"',
        f'height="{height:.9g}"',
    ]
    if not re.search(r"\sxmlns\s*=", bare):
        added.append('xmlns="http://www.w3.org/2000/svg"')
    if "xlink:" in svg and "xmlns:xlink" not in svg:
        added.append('xmlns:xlink="http://www.w3.org/1999/xlink"')
    return svg[: found.start()] + bare.replace("<svg", "<svg " + " ".join(added), 1) + svg[found.end() :]


def _renderer() -> Callable[[str, int], bytes]:
    """A function from a drawing and a width in pixels to PNG bytes."""
    try:
        import resvg_py

        return lambda svg, width: bytes(
            resvg_py.svg_to_bytes(svg_string=svg, width=width, skip_system_fonts=True)
        )
    except ImportError:
        pass
    try:
        import cairosvg

        return lambda svg, width: cairosvg.svg2png(bytestring=svg.encode(), output_width=width)
    except (ImportError, OSError) as error:  # OSError: the Python part is there, the cairo library is not
        raise LayercliError(
            "Drawing SVG files needs resvg-py, or cairosvg with the cairo library.", "pip install resvg-py"
        ) from error


def can_render() -> bool:
    """Whether one of the two renderers is installed."""
    try:
        _renderer()
    except LayercliError:
        return False
    return True


def render(svg: str, width: int) -> Image.Image:
    """A drawing as an RGBA image, `width` pixels wide; LayercliError where it cannot be drawn."""
    draw = _renderer()
    try:
        png = draw(normalised(svg), width)
    except (ValueError, TypeError, KeyError, SyntaxError) as error:
        raise LayercliError(f"This drawing cannot be rendered: {error}.", "Leave it out.") from error
    with Image.open(io.BytesIO(png)) as picture:
        return picture.convert("RGBA")
