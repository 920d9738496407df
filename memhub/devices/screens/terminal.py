"""A picture of a device as lines for a terminal.

Characters are shown as characters. Of points, two share a cell, one above the other, as a half
block has two colours; where there are no colours a cell shows how light it is.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memhub.plugin.pictures import PALETTE, Pixels

if TYPE_CHECKING:
    import numpy.typing as npt

    from memhub.plugin.pictures import TextCells

    Points = npt.NDArray[np.uint8]

    #: A piece of a line: its text, and its colours as red, green and blue; None for no colours.
    Span = tuple[str, tuple[int, int, int] | None, tuple[int, int, int] | None]

#: How light a cell is, where there are no colours: the darkest first.
_RAMP: Final = " .:-=+*#%@"
_LUMA: Final = (0.299, 0.587, 0.114)


def draw_lines(
    picture: Pixels | TextCells, columns: int, rows: int, *, colour: bool
) -> list[list[Span]]:
    """The lines of a picture, none longer than a terminal is wide.

    Args:
        picture: from `Hub.show`.
        columns: the terminal's, at least 1. Text that is wider is cut; points are brought together.
        rows: the terminal's, at least 1; lines of text are not cut by it.
        colour: whether the terminal shows colours.

    Returns:
        for each line, its pieces.
    """
    if isinstance(picture, Pixels):
        return _draw_points(picture, columns, rows, colour=colour)

    lines: list[list[Span]] = []
    for number, line in enumerate(picture.lines()):
        if colour:
            first = number * picture.columns
            lines.append(_join_cells(line[:columns], picture.colours[first:]))
        else:
            lines.append([(line[:columns].rstrip(), None, None)])

    return lines


def _join_cells(line: str, colours: bytes) -> list[Span]:
    """The cells of a line, neighbours of one colour together."""
    spans: list[Span] = []
    start = 0
    for at in range(1, len(line) + 1):
        if at == len(line) or colours[at] != colours[start]:
            here = colours[start]
            spans.append((line[start:at], PALETTE[here & 15], PALETTE[here >> 4]))
            start = at

    return spans


def _draw_points(picture: Pixels, columns: int, rows: int, *, colour: bool) -> list[list[Span]]:
    points = np.frombuffer(picture.rgb, np.uint8).reshape(picture.height, picture.width, 3)
    # A cell is twice as high as wide, so that it has two points, one above the other.
    shrink = max(picture.width / columns, picture.height / (2 * rows), 1.0)
    width, height = (max(1, round(it / shrink)) for it in (picture.width, picture.height))
    points = _shrink(points, width, height + height % 2 if colour else -(-height // 2))
    if not colour:
        light = points @ np.array(_LUMA)
        steps = np.minimum(light * len(_RAMP) / 256, len(_RAMP) - 1).astype(int)
        return [[("".join(_RAMP[it] for it in line).rstrip(), None, None)] for line in steps]

    return [_join_points(points[y], points[y + 1]) for y in range(0, len(points), 2)]


def _join_points(above: Points, below: Points) -> list[Span]:
    """A line of half blocks, neighbours of the same colours together."""
    pairs = zip(map(_colour_of, above), map(_colour_of, below), strict=True)

    return [("▀" * len([*found]), *pair) for pair, found in groupby(pairs)]


def _colour_of(point: Any) -> tuple[int, int, int]:  # noqa: ANN401 - a row of an array
    red, green, blue = map(int, point)

    return red, green, blue


def _shrink(points: Points, width: int, height: int) -> Points:
    """A smaller picture, each point the mean of those that it stands for."""
    for axis, size in ((0, height), (1, width)):
        length = points.shape[axis]
        edges = np.linspace(0, length, size + 1).round().astype(int)[:-1]
        edges = np.minimum(edges, length - 1)
        counts = np.maximum(np.diff(np.append(edges, length)), 1)
        sums = np.add.reduceat(points.astype(np.uint32), edges, axis=axis)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        points = (sums // counts.reshape(shape)).astype(np.uint8)

    return points
