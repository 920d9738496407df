"""A picture of a device as a PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from memhub.arguments import take_integer
from memhub.plugin.pictures import PALETTE, Pixels, TextCells

if TYPE_CHECKING:
    import numpy.typing as npt


def draw_png(picture: Pixels | TextCells, *, scale: int = 1) -> bytes:
    """A PNG of what a device shows.

    Args:
        picture: from `Hub.show`.
        scale: how many points of the PNG, in each direction, a point has; from 1 to 16.

    Raises:
        ModuleNotFoundError: Pillow is not installed; it comes with the extra `memhub[screen]`.
        TypeError: an argument has the wrong type.
        ValueError: `scale` is out of its bounds.
    """
    if not isinstance(picture, Pixels | TextCells):
        raise TypeError(f"picture {picture!r:.80} is neither Pixels nor TextCells")

    if not 1 <= take_integer("scale", scale) <= 16:
        raise ValueError(f"scale {scale} is not between 1 and 16")

    image = _import_pillow().Image
    if isinstance(picture, Pixels):
        drawn = image.frombytes("RGB", (picture.width, picture.height), picture.rgb)
    else:
        drawn = image.fromarray(_draw_cells(picture))

    if scale > 1:
        size = (drawn.width * scale, drawn.height * scale)
        drawn = drawn.resize(size, image.Resampling.NEAREST)

    file = io.BytesIO()
    drawn.save(file, "PNG")

    return file.getvalue()


def _import_pillow() -> Any:  # noqa: ANN401 - Pillow is optional
    try:
        import PIL.Image
        import PIL.ImageFont
    except ImportError as error:
        raise ModuleNotFoundError(
            "a PNG needs Pillow, which the extra memhub[screen] brings"
        ) from error

    return PIL


def _draw_cells(picture: TextCells) -> npt.NDArray[np.uint8]:
    from memhub.devices.screens.glyphs import Glyphs

    glyphs = Glyphs(_import_pillow().ImageFont.load_default_imagefont())
    palette = np.array(PALETTE, np.uint8)
    colours = np.frombuffer(picture.colours, np.uint8).reshape(picture.rows, picture.columns)
    bits = np.concatenate(
        [np.concatenate([glyphs.draw(mark) for mark in line], axis=1) for line in picture.lines()]
    )
    rows, columns = bits.shape[0] // picture.rows, bits.shape[1] // picture.columns
    spread = colours.repeat(rows, axis=0).repeat(columns, axis=1)
    drawn: npt.NDArray[np.uint8] = palette[np.where(bits, spread & 15, spread >> 4)]

    return drawn
