"""The layers of a memory map, and its scale of addresses."""

from __future__ import annotations

from itertools import pairwise
from math import log2
from typing import TYPE_CHECKING, Any, Final

import altair as alt

from memhub.analysis.pictures.layers import LEFT, busy_sign, kind_scales, picked, spoken, strong
from memhub.analysis.pictures.palette import INK, QUIET

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from memhub.analysis.pictures.layers import Sheet

    Row = dict[str, Any]

#: The pixels between two edges, at least.
_PIXELS: Final = 15

_THERE: Final = "datum.since_tick <= tick && tick < datum.until_tick"

#: Where the column of effective types ends and that of slots begins, in columns of slots.
TYPES_END: Final = 1.0
SLOTS_BEGIN: Final = 1.12

#: What the ring around a mark is drawn by.
_RING: Final = ("mark", "low", "high", "left_edge", "right_edge", "since_tick", "until_tick")

#: Pixels that a label has.
_ROOM: Final = "scale('x', datum.right_edge) - scale('x', datum.left_edge) - 16"


class AddressScale:
    """Addresses on an axis whose steps are the edges of ranges, so that no small range vanishes.

    Args:
        extents: the ranges that are drawn, each with its first byte and that after its last.

    Attributes:
        height: pixels of the whole.
    """

    def __init__(self, extents: Iterable[tuple[int, int]]) -> None:
        found = sorted(set(extents))
        edges = sorted({edge for extent in found for edge in extent})
        self._places = {edges[0]: 0}
        at = 0
        for low, high in pairwise(edges):
            covered = any(a <= low and high <= b for a, b in found)
            more = min(2.0, max(0.0, log2((high - low) / 4096)) / 16) if covered else 0
            at += round(_PIXELS * (1 + more))
            self._places[high] = at

        self.height = max(at, 3 * _PIXELS)

    def place(self, address: int) -> int:
        """Where an edge is, in pixels from below."""
        return self._places[address]

    def axis(self) -> alt.Axis:
        """The edges as addresses."""
        places = list(self._places.values())
        labels = ", ".join(f"'{address:#x}'" for address in self._places)
        text = f"[{labels}][indexof([{', '.join(map(str, places))}], datum.value)]"

        return alt.Axis(
            title=None,
            values=places,
            tickCount=len(places),
            labelExpr=text,
            grid=True,
            labelPadding=6,
            minExtent=LEFT,
            labelFont="DejaVu Sans Mono, Consolas, monospace",
            labelOverlap=False,
            tickColor=QUIET,
        )


def map_layers(
    sheet: Sheet,
    scale: AddressScale,
    columns: int,
    bars: Sequence[Row],
    busy: Sequence[Row],
    types: Sequence[Row],
) -> list[alt.Chart]:
    """The layers of a map: types and ranges, lines that tell them, labels, BUSY, the picked one.

    Args:
        sheet: takes the data.
        scale: places addresses.
        columns: how many there are of slots, side by side.
        bars: the ranges.
        busy: the parts of ranges' times in which their slots were claimed.
        types: the effective types; there may be none.
    """
    y = alt.Y("low:Q", axis=scale.axis(), scale=alt.Scale(domain=[0, scale.height], nice=False))
    first = 0.0 if types else SLOTS_BEGIN
    across = alt.Scale(domain=[first, SLOTS_BEGIN + columns], nice=False, zero=False)
    heads = _heads(first, columns)
    left = alt.X("left_edge:Q", scale=across, axis=heads)
    right = alt.X("right_edge:Q", scale=across, axis=heads)
    common = {"tooltip": spoken(), "opacity": strong()}
    fill, dash = kind_scales([*types, *bars])
    layers: list[alt.Chart] = []
    for name, rows in (("types", types), ("ranges", bars)):
        if not rows:
            continue

        chart = sheet.chart(name, rows).transform_filter(_THERE)
        box = chart.mark_bar(stroke="white", strokeWidth=1)
        line = chart.mark_rule(strokeWidth=4, color=INK, xOffset=2)
        text = chart.transform_calculate(middle="(datum.low + datum.high) / 2").mark_text(
            align="left", dx=9, fontSize=11, color=INK, text=alt.ExprRef("datum.label"),
            limit=alt.ExprRef(_ROOM),
        )  # fmt: skip
        layers += [
            box.encode(
                x=left, x2=alt.X2("right_edge"), y=y, y2=alt.Y2("high"), fill=fill, **common
            ),
            line.encode(x=left, y=y, y2=alt.Y2("high"), strokeDash=dash, **common),
            text.encode(x=left, y=alt.Y("middle:Q"), **common),
        ]

    if busy:
        sign, held = busy_sign(busy)
        line = sheet.chart("busy", held).transform_filter(_THERE)
        line = line.mark_rule(strokeWidth=5, xOffset=-2)
        layers.append(line.encode(x=right, y=y, y2=alt.Y2("high"), stroke=sign, **common))

    marks = [{name: row[name] for name in _RING} for row in (*types, *bars)]
    ring = picked(sheet.chart("marks", marks)).transform_filter(_THERE)
    ring = ring.mark_bar(fill="transparent", stroke=INK, strokeWidth=3)

    return [*layers, ring.encode(x=left, x2=alt.X2("right_edge"), y=y, y2=alt.Y2("high"))]


def _heads(first: float, columns: int) -> alt.Axis:
    """What the columns are, above them."""
    heads = {TYPES_END / 2: "effective type"} if not first else {}
    heads[SLOTS_BEGIN + columns / 2] = "slots"
    places = ", ".join(map(str, heads))
    words = ", ".join(f"'{it}'" for it in heads.values())

    return alt.Axis(
        title=None,
        orient="top",
        values=list(heads),
        labelExpr=f"[{words}][indexof([{places}], datum.value)]",
        ticks=False,
        domain=False,
        grid=False,
        labelColor=QUIET,
        labelAngle=0,
    )
