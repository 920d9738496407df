"""Address maps as one SVG: the types, what lies there, and the slots side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.escape import escape_controls
from memhub.maps.address_map import reduce_pieces
from memhub.maps.lanes import box_slots, lanes_of
from memhub.maps.scale import PieceScale
from memhub.maps.signs import NO_TYPE, SIGNS
from memhub.maps.svg import INK, QUIET, document, group, line, rect, text_at, width_of
from memhub.maps.text import PIECES, exact_size, headline, size_text
from memhub.maps.words import place_words, sign_of, type_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub.maps.address_map import AddressMap, MapSlot, Piece
    from memhub.maps.lanes import SlotBox

_EDGE: Final = 20.0
_GAP: Final = 8.0
_SIZE: Final = 12.0

#: Pixels of the columns: types, what lies there, one lane of slots.
_TYPES: Final = 250.0
_PLACES: Final = 120.0
_LANE: Final = 180.0

#: Pixels for an address as an amount, as `4G`.
_LANDMARK: Final = 40.0

#: Pixels of a row of the legend.
_ROW: Final = 20.0

_MIB: Final = 1 << 20

#: Pixels above the pieces of a map: its title, a line about it, the heads of columns.
_HEAD: Final = 78.0
_LEAST_WIDTH: Final = 700.0

#: Fill, line and dashes of what lies there.
_PLACE_LOOKS: Final = {
    "ram": ("#ffffff", INK, ""),
    "rom": ("#d9dce0", INK, ""),
    "device": ("#fff3c4", INK, ""),
    "hole": ("none", QUIET, "3 3"),
}
_OTHER_PLACE: Final = ("#eef0f2", QUIET, "")


def draw_figure(maps: Sequence[AddressMap], most: int = PIECES) -> str:
    """Maps below one another, with one legend.

    Args:
        maps: at least one.
        most: pieces of each that are drawn one by one.

    Returns:
        the SVG as text.
    """
    drawn = [_MapDrawing(it, most) for it in maps]
    width = max(_LEAST_WIDTH, *(it.width for it in drawn))
    parts = ["<defs>", *_patterns(), "</defs>"]
    y = _EDGE
    for it in drawn:
        parts.append(group(it.parts(width), y))
        y += it.height + 2 * _EDGE

    rows = [*_legend_rows(maps, width - 2 * _EDGE)]
    parts.append(group(_legend(rows, width), y))
    names = ", ".join(escape_controls(it.machine) for it in maps)

    return document(parts, width, y + _ROW * len(rows) + 30, f"Physical address space of {names}")


def _patterns() -> Iterator[str]:
    for name, sign in SIGNS.items():
        yield (
            f'<pattern id="type-{name}" width="8" height="8" patternUnits="userSpaceOnUse">'
            f'<rect width="8" height="8" fill="{sign.colour}"/>'
            f'<path d="{sign.pattern or "M0 0"}" stroke="{INK}" stroke-opacity="0.45" fill="none"/>'
            "</pattern>"
        )


def _fill(name: str | None) -> str:
    return NO_TYPE.colour if name is None else f"url(#type-{name})"


class _MapDrawing:
    """One map; all places are from its own upper left corner."""

    def __init__(self, it: AddressMap, most: int) -> None:
        self._map = it
        self._pieces, self._summed = reduce_pieces(it.pieces, most)
        self._scale = PieceScale(self._pieces)
        self._lanes = lanes_of(box_slots(it.slots, self._pieces, self._scale, _SIZE + 4))
        wide = max(width_of(f"{it.end:#x}", _SIZE), _LANDMARK)
        self._types_x = _EDGE + _LANDMARK + wide + 2 * _GAP
        self._places_x = self._types_x + _TYPES + _GAP
        told = any(piece.kind != "untold" for piece in self._pieces)
        self._slots_x = self._places_x + (_PLACES + _GAP if told else 0)
        self._told = told
        self._notes = [*self._summed_notes(), *it.notes]
        self.width = self._slots_x + len(self._lanes) * (_LANE + _GAP) - _GAP + _EDGE
        self.height = _HEAD + self._scale.height + _GAP + 18 * len(self._notes)

    def parts(self, width: float) -> Iterator[str]:
        """All of it, in a figure of a width."""
        room = width - 2 * _EDGE
        yield from text_at(_EDGE, 10, self._map.machine, room=room, size=17, bold=True)
        yield from text_at(_EDGE, 33, headline(self._map), room=room, colour=QUIET)
        yield from self._heads()
        for piece in self._pieces:
            yield from self._address(piece.base)
            yield from self._type_box(piece)
            if self._told:
                yield from self._place_box(piece)

        yield from self._address(self._map.end)
        for place, lane in enumerate(self._lanes):
            for box in lane:
                yield from self._slot_box(box, self._slots_x + place * (_LANE + _GAP))

        for row, note in enumerate(self._notes):
            y = _HEAD + self._scale.height + _GAP + 9 + 18 * row
            yield from text_at(_EDGE, y, note, room=room, size=11, colour=QUIET)

    def _summed_notes(self) -> Iterator[str]:
        if self._summed:
            count = len(self._map.pieces)
            yield f"{count - self._summed} of {count} pieces drawn one by one; others summed up."

    def _heads(self) -> Iterator[str]:
        columns = [(self._types_x, "effective type", _TYPES)]
        columns += [(self._places_x, "what lies there", _PLACES)] if self._told else []
        columns += [(self._slots_x, "slots", _LANE)] if self._lanes else []
        for x, head, room in columns:
            yield from text_at(x, _HEAD - 18, head, room=room, size=11, colour=QUIET)

    def _y(self, address: int) -> float:
        return _HEAD + self._scale.height - self._scale.place(address)

    def _address(self, address: int) -> Iterator[str]:
        x, y = self._types_x - _GAP, self._y(address)
        yield line(x, y, self._types_x, y, stroke=QUIET)
        yield from text_at(x - 2, y, f"{address:#x}", room=x, right=True)
        mark = exact_size(address)
        if mark is not None and not address % _MIB:
            yield from text_at(_EDGE, y, mark, room=_LANDMARK, size=11, colour=QUIET)

    def _box(self, base: int, end: int) -> tuple[float, float]:
        """The upper edge and the height of a stretch."""
        return self._y(end), self._y(base) - self._y(end)

    def _type_box(self, piece: Piece) -> Iterator[str]:
        (y, high), names = self._box(piece.base, piece.end), piece.types or (None,)
        part = _TYPES / len(names)
        for place, name in enumerate(names):
            yield rect(self._types_x + place * part, y, part, high, fill=_fill(name))

        yield rect(self._types_x, y, _TYPES, high, stroke=INK)
        behind = sign_of(piece).colour if len(names) == 1 else "white"
        word = "" if piece.also else f" {sign_of(piece).word}"
        size = size_text(piece.length)
        middle, room = y + high / 2, _TYPES - 70
        label = f"{type_words(piece)}{word}" if piece.type else NO_TYPE.word
        yield from text_at(self._types_x + 10, middle, label, room=room, behind=behind)
        edge = self._types_x + _TYPES - 14
        yield from text_at(edge, middle, size, room=44, right=True, behind=behind)
        if piece.busy:
            yield rect(self._types_x + _TYPES - 6, y + 1, 6, high - 2, fill=INK)

    def _place_box(self, piece: Piece) -> Iterator[str]:
        if piece.kind == "untold":
            return

        y, high = self._box(piece.base, piece.end)
        fill, stroke, dashes = _PLACE_LOOKS.get(piece.kind, _OTHER_PLACE)
        yield rect(self._places_x, y, _PLACES, high, fill=fill, stroke=stroke, dashes=dashes)
        words = place_words(piece)
        yield from text_at(
            self._places_x + _GAP, y + high / 2, words, room=_PLACES - 2 * _GAP,
            bold=piece.kind == "device", colour=QUIET if piece.kind == "hole" else INK,
        )  # fmt: skip

    def _slot_box(self, box: SlotBox, x: float) -> Iterator[str]:
        y, high = self._box(box.base, box.end)
        thick = 3.5 if any(it.busy for it in box.slots) else 1
        yield rect(
            x + thick / 2, y + 1, _LANE - thick, max(high - 2, 1), fill="white", stroke=INK,
            thick=thick,
        )  # fmt: skip
        kinds = list(dict.fromkeys(it.type for it in box.slots))
        part = max(high - 8, 1) / len(kinds)
        for place, kind in enumerate(kinds):
            fill = _fill(kind if kind in SIGNS else None)
            yield rect(x + 4, y + 4 + place * part, 12, part, fill=fill)

        lines, room = _box_lines(box, high), _LANE - 28
        for row, choice in enumerate(lines):
            text = next((it for it in choice if width_of(it, 11) <= room), choice[-1])
            middle = y + high / 2 + (row - (len(lines) - 1) / 2) * (_SIZE + 3)
            yield from text_at(x + 22, middle, text, room=room, size=11, bold="BUSY" in text)


def _box_lines(box: SlotBox, high: float) -> list[list[str]]:
    """The lines in a box, each as texts of which the first that fits is taken."""
    if len(box.slots) == 1:
        return _slot_lines(box.slots[0], high)

    busy = list(dict.fromkeys(name for it in box.slots for name in it.busy))
    words = ", ".join(f"{it.number} {it.type}" for it in box.slots)
    count = f"{len(box.slots)} slots"
    if not busy:
        return [[words, f"{count}: {words}"]]

    return [[f"{words} BUSY {', '.join(busy)}", f"{words} BUSY", f"{count} BUSY"]]


def _slot_lines(slot: MapSlot, high: float) -> list[list[str]]:
    """The lines of a slot in a box of its own."""
    short = f"{slot.number} {slot.type}"
    label = f"{short}{' fixed' if slot.fixed else ''} {slot.owner}".rstrip()
    if not slot.busy:
        return [[label]]

    busy = f"BUSY {', '.join(slot.busy)}"
    if high >= 2 * _SIZE + 12:
        return [[label], [busy]]

    return [[f"{label} {busy}", f"{short} {busy}", f"{short} BUSY"]]


def _legend_rows(maps: Sequence[AddressMap], room: float) -> Iterator[list[tuple[float, str]]]:
    """The types that some maps have, each with its place in its row."""
    pieces = [piece for it in maps for piece in it.pieces]
    used = {name for piece in pieces for name in piece.types}
    used |= {slot.type for it in maps for slot in it.slots}
    row: list[tuple[float, str]] = []
    x = 0.0
    for name in (name for name in SIGNS if name in used):
        wide = 28 + width_of(_legend_words(name), 11)
        if row and x + wide > room:
            yield row
            row, x = [], 0.0

        row.append((_EDGE + x, name))
        x += wide + 16

    yield row


def _legend_words(name: str) -> str:
    return name if name == SIGNS[name].word else f"{name} {SIGNS[name].word}"


def _legend(rows: Sequence[list[tuple[float, str]]], width: float) -> Iterator[str]:
    for number, row in enumerate(rows):
        y = number * _ROW
        for x, name in row:
            yield rect(x, y, 22, 14, fill=_fill(name), stroke=INK)
            yield from text_at(x + 28, y + 7, _legend_words(name), room=width, size=11)

    y = _ROW * len(rows) + 8
    yield from text_at(_EDGE, y, _ABOUT, room=width - 2 * _EDGE, size=10, colour=QUIET)


_ABOUT: Final = (
    "Addresses grow upwards; heights grow with the logarithm of sizes. "
    "A thick line: BUSY, somebody holds it."
)
