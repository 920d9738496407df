"""A linear frame buffer: lines of points, one after the other, in a format of one's choice.

Formats are named as in Linux, `drivers/gpu/drm`: the letters are the parts of a little-endian
number from its highest bits on, and the digits are their bits. `xrgb8888` is blue, green, red and
an unused byte in memory.

Source: Linux 6.18 `include/uapi/drm/drm_fourcc.h`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from memhub.plugin.devices import DeviceKind, OptionError, Pixels

if TYPE_CHECKING:
    from collections.abc import Mapping

_PAGE: Final = 4096
#: Points of a line, and lines, at most.
_MOST: Final = 16384
#: Bytes at most: the picture of a larger one would take too long.
_LENGTH_MOST: Final = 1 << 28


class Format(NamedTuple):
    """How a point lies in memory.

    Attributes:
        size: bytes of a point.
        parts: for red, green and blue: the lowest bit of the part in the point's number, and how
            many bits it has.
    """

    size: int
    parts: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


FORMATS: Final = {
    "xrgb8888": Format(4, ((16, 8), (8, 8), (0, 8))),
    "xbgr8888": Format(4, ((0, 8), (8, 8), (16, 8))),
    "xrgb2101010": Format(4, ((20, 10), (10, 10), (0, 10))),
    "rgb888": Format(3, ((16, 8), (8, 8), (0, 8))),
    "bgr888": Format(3, ((0, 8), (8, 8), (16, 8))),
    "rgb565": Format(2, ((11, 5), (5, 6), (0, 5))),
    "xrgb1555": Format(2, ((10, 5), (5, 5), (0, 5))),
    "r8": Format(1, ((0, 8), (0, 8), (0, 8))),
}


class FrameBuffer:
    """The memory of a linear frame buffer.

    Args:
        options: `width` and `height` in points, `format`, and `stride`, the bytes from one line to
            the next; 0 takes those of a line.
    """

    content = b""

    def __init__(self, options: Mapping[str, Any]) -> None:
        for key in ("width", "height"):
            if not 1 <= options[key] <= _MOST:
                raise OptionError(key, f"{options[key]} is not between 1 and {_MOST}")

        if options["format"] not in FORMATS:
            known = ", ".join(FORMATS)
            raise OptionError("format", f"{options['format']!r} is not a format ({known})")

        self._width, self._height = options["width"], options["height"]
        self._format = FORMATS[options["format"]]
        line = self._width * self._format.size
        self._stride = options["stride"] or line
        if self._stride < line:
            raise OptionError(
                "stride", f"{self._stride} is less than the {line} bytes of a line's points"
            )

        self.length = -(-self._stride * self._height // _PAGE) * _PAGE
        if self.length > _LENGTH_MOST:
            key = "stride" if options["stride"] else "height"
            lines = f"{self._height} lines of {self._stride} bytes"
            raise OptionError(key, f"{lines}, {self.length:#x}, are more than {_LENGTH_MOST:#x}")

    def show(self, data: bytes) -> Pixels:
        """The points in red, green and blue."""
        size, width, height = self._format.size, self._width, self._height
        lines = np.frombuffer(data, np.uint8, self._stride * height).reshape(height, self._stride)
        points = lines[:, : width * size].reshape(height, width, size)
        numbers = np.zeros((height, width), np.uint32)
        for place in range(size):
            numbers |= points[:, :, place].astype(np.uint32) << (8 * place)

        parts = [_scale(numbers >> low, bits) for low, bits in self._format.parts]

        return Pixels(width, height, np.stack(parts, axis=-1).tobytes())


def _scale(part: np.ndarray[Any, Any], bits: int) -> np.ndarray[Any, Any]:
    """A part of some bits as a byte, so that its greatest value is 255."""
    most = (1 << bits) - 1

    return (((part & most) * 255 + most // 2) // most).astype(np.uint8)


FRAME_BUFFER: Final = DeviceKind(
    name="frame-buffer",
    summary="a linear frame buffer: points of a chosen size and format",
    options={"width": 640, "height": 480, "format": "xrgb8888", "stride": 0},
    make=FrameBuffer,
)
