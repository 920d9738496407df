"""An address map as lines of text: a line for each piece, with a bar as long as it is large."""

from __future__ import annotations

import sys
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from memhub.arguments import take_integer
from memhub.escape import escape_controls
from memhub.folding import fold
from memhub.maps.address_map import reduce_pieces
from memhub.maps.signs import NO_TYPE, SIGNS
from memhub.maps.words import place_words, sign_of, type_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.maps.address_map import AddressMap, MapSlot, Piece

    #: Text, or text and one of rich's styles.
    Span = str | tuple[str, str]
    Line = list[Span]

#: Pieces that are shown one by one unless another number is given.
PIECES: Final = 48

_PAGE_BITS: Final = 12
#: Between one unit and the next.
_STEP: Final = 1024
#: Columns of what stands beside address, bar and types; and of slots, at least.
_BESIDE: Final = 22
_SLOTS: Final = 14
_FEWEST: Final = 20
_UNITS: Final = (("P", 50), ("T", 40), ("G", 30), ("M", 20), ("K", 10), ("", 0))


def map_lines(it: AddressMap, most: int, columns: int = sys.maxsize) -> Iterator[tuple[Line, int]]:
    """A map as lines.

    Args:
        it: the map.
        most: pieces that have a line of their own; the smallest are summed up.
        columns: how wide a line should be: bars become shorter, and slots get a line of their own.

    Yields:
        spans that rich may style, and the indent of what does not fit one line.
    """
    yield [(it.machine, "bold"), f"  {headline(it)}"], 2
    pieces, summed = reduce_pieces(it.pieces, most)
    wide = max(7, max(len(f"{piece.base:#x}") for piece in pieces))
    types = max(4, max(len(type_words(piece)) for piece in pieces))
    full = max(map(_cells, pieces))
    room = max(1, min(full, columns - wide - types - _BESIDE - _SLOTS))
    head = f"  {'ADDRESS':>{wide}}   SIZE {'':<{room}} {'TYPE':<{types}} WHAT"
    hang = len(head) + 6
    apart = columns - hang < _SLOTS  # no room for slots beside the rest
    yield [(head if apart else f"{head:<{hang}}SLOTS", "dim")], hang
    for piece in pieces:
        count = -(-_cells(piece) * room // full)
        line: Line = [
            f"  {f'{piece.base:#x}':>{wide}} {size_text(piece.length):>6} ",
            *_bar(piece, count),
            f"{'':<{room - count}} {type_words(piece):<{types}} ",
        ]
        words = slot_words(it.slots_of(piece))
        slots: Line = [words, *_busy_spans(piece, " " if words else "")]
        if not apart:
            yield [*line, f"{place_words(piece):<9} ", *slots], hang
            continue

        yield [*line, place_words(piece)], wide + 3
        if words or piece.busy:
            yield [" " * (wide + 3), *slots], wide + 3

    for note in (*_summed_words(len(it.pieces), summed), *it.notes):
        yield [(f"  {note}", "yellow")], 2


def map_text(it: AddressMap, most: int = PIECES, columns: int | None = None) -> str:
    """A map as plain text.

    Args:
        it: the map.
        most: pieces that have a line of their own; the smallest others are summed up.
        columns: how wide a line may be, at least 20; None for no limit.

    Raises:
        ValueError: `columns` is below 20.
    """
    if columns is not None and take_integer("columns", columns) < _FEWEST:
        raise ValueError(f"columns {columns} is below {_FEWEST}")

    most_columns = sys.maxsize if columns is None else columns
    lines: list[str] = []
    for line, hang in map_lines(it, most, most_columns):
        lines += fold(plain_text(line), most_columns, hang)

    return "\n".join(lines) + "\n"


def headline(it: AddressMap) -> str:
    """What is said of a whole map: architecture, kernel if not FreeBSD, address bits, slots."""
    used = sum(slot.last - slot.first + 1 for slot in it.slots)
    slots = f"{used} of {it.slot_count} slots in use" if it.slot_count else "no slots"

    names = ", ".join(filter(None, (it.arch, it.kernel)))

    return f"{names}, {(it.end - 1).bit_length()} address bits, {slots}"


def _summed_words(count: int, summed: int) -> Iterator[str]:
    if summed:
        yield (
            f"{count - summed} of {count} pieces are shown one by one; the smallest others are "
            f"summed up, in lower case with all their types"
        )


def slot_words(slots: Sequence[MapSlot]) -> str:
    """Slots by type and owner: `WB 2 Xorg, UC 5-7 BIOS`; an owner of all is told once."""
    owners = {it.owner for it in slots}
    groups = groupby(slots, lambda it: (it.fixed, it.type, it.owner))
    words = []
    for (fixed, type_, owner), some in groups:
        numbers = list(_number_runs(some))
        label = f" {owner}" if owner and len(owners) > 1 else ""
        words.append(f"{type_} {'fixed ' if fixed else ''}{' '.join(numbers)}{label}")

    alone = owners.pop() if len(owners) == 1 else ""

    return ", ".join(words) + (f" {alone}" if alone else "")


def _number_runs(slots: Iterable[MapSlot]) -> Iterator[str]:
    run: tuple[int, int] | None = None
    for it in slots:
        if run is not None and it.first == run[1] + 1:
            run = run[0], it.last
            continue

        if run is not None:
            yield run_text(*run)

        run = it.first, it.last

    if run is not None:
        yield run_text(*run)


def run_text(first: int, last: int) -> str:
    """A number, or the first and the last of a run."""
    return str(first) if first == last else f"{first}-{last}"


def _busy_spans(piece: Piece, before: str) -> Iterator[Span]:
    if piece.busy:
        yield before
        yield "BUSY", "reverse bold"
        yield f" {', '.join(piece.busy)}"


def size_text(count: int) -> str:
    """Bytes in the largest unit that they fill, of three figures if not whole: `640K`, `2.99G`."""
    place = next(at for at, (_, shift) in enumerate(_UNITS) if count >> shift or not shift)
    letter, shift = _UNITS[place]
    number = count / (1 << shift)
    if round(number) == _STEP and place:
        return f"1{_UNITS[place - 1][0]}"

    whole = number.is_integer() or number >= 999.5

    return f"{number:.0f}{letter}" if whole else f"{number:.3g}{letter}"


def exact_size(count: int) -> str | None:
    """Bytes as `size_text` has them; None where that takes rounding."""
    text = size_text(count)
    shift = dict(_UNITS)[text.lstrip("0123456789.")]

    return text if count and float(text.rstrip("PTGMK")) * (1 << shift) == count else None


def _cells(piece: Piece) -> int:
    """Cells of a bar: one for a page, and one more for each time it is four times as large."""
    return max(len(piece.types) or 1, (piece.length.bit_length() - _PAGE_BITS + 1) // 2)


def _bar(piece: Piece, count: int) -> Iterator[Span]:
    """The letters of a piece, as often as its bar has cells."""
    if not piece.also:
        yield sign_of(piece).letter * count, style_of(piece.type)
        return

    for place in range(count):
        name = piece.types[place % len(piece.types)]
        yield SIGNS[name].letter.lower(), style_of(name)


def style_of(name: str | None) -> str:
    """Rich's style of a type: black on its colour."""
    return "" if name is None else f"black on {SIGNS[name].colour}"


def legend_line(maps: Iterable[AddressMap]) -> Line:
    """What the letters mean that some maps have."""
    pieces = [piece for it in maps for piece in it.pieces]
    used = {name for piece in pieces for name in piece.types}
    line: Line = []
    for name, sign in SIGNS.items():
        if name in used:
            line += [(sign.letter, style_of(name)), f" {sign.word}  "]

    if any(piece.type is None for piece in pieces):
        line.append(f"{NO_TYPE.letter} {NO_TYPE.word}  ")

    if any(piece.implementation_defined for piece in pieces):
        line.append("* the manual leaves it to the CPU")

    return line


def plain_text(line: Iterable[Any]) -> str:
    """A line without styles."""
    text = "".join(it if isinstance(it, str) else it[0] for it in line)

    return escape_controls(text.rstrip())
