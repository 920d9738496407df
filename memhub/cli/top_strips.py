"""The address space and the health of each machine, in a line or a few, for `memhub top`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from memhub.core.caches.hazards import LEVELS
from memhub.escape import escape_controls
from memhub.folding import cells as cells_of
from memhub.folding import fold
from memhub.maps.signs import NO_TYPE, SIGNS
from memhub.maps.strip import LOW_CELLS, strip_of
from memhub.maps.text import style_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.maps import AddressMap

    Span = tuple[str, str]
    Line = list[Span]
    Rows = Sequence[Mapping[str, Any]]

#: Columns of the name, at least and at most, and of the second zone with much and with less room.
_LEAST_NAME: Final = 6
_MOST_NAME: Final = 25
_ZONES: Final = (32, 16)

_BUSY: Final = "^"

#: Address bits of the first two zones.
_LOW_BITS: Final = 32


def strip_lines(
    machines: Rows, maps: Sequence[AddressMap], faults: Rows, columns: int
) -> Iterator[Line]:
    """One line for each machine, a second one where somebody holds a part, and one on its health.

    Args:
        machines: rows of a report.
        maps: the maps of machines, in any order; none where a service has none.
        faults: fault rules and sicknesses as `memhub fault list` has them.
        columns: how wide a line may be.
    """
    by_name = {it.machine: it for it in maps}
    names = [escape_controls(row["machine"]) for row in machines]
    wide = max(map(cells_of, names), default=0)
    high = max(((it.end - 1).bit_length() - _LOW_BITS for it in maps), default=0)
    most = columns - LOW_CELLS - max(high, 0) - 3  # blanks before the zones
    middle = _choose_zone(min(max(wide, _LEAST_NAME), _MOST_NAME), most)
    name_room = max(_LEAST_NAME, min(wide, _MOST_NAME, most - (middle or 0)))
    drawn = maps if middle is not None else []
    if drawn and middle is not None:
        axis = _axis(name_room, middle, max(it.end for it in drawn))
        yield [(axis[:columns], "dim")]

    for row, name in zip(machines, names, strict=True):
        shown = _cut(name, name_room)
        it = by_name.get(row["machine"])
        if it is not None and middle is not None:
            yield from _machine_lines(it, shown, middle)
            shown = " " * name_room

        marks = list(health_marks(row, faults))
        if marks:
            yield from _mark_lines(shown, marks, columns)

    everywhere = [_fault_mark(it) for it in faults if "injected" in it and not it.get("machine")]
    if everywhere:
        yield from _mark_lines(_cut("any", name_room), everywhere, columns)

    if drawn:
        yield _legend(drawn, name_room)
    elif maps:
        due = columns + _LEAST_NAME + _ZONES[-1] - most
        for line in fold(f"the address space is shown from {due} columns on", columns, 0):
            yield [(line, "dim")]


def _choose_zone(name: int, room: int) -> int | None:
    """Cells of the second zone; None where there is no room for a strip."""
    fits = [it for it in _ZONES if name + it <= room]
    if fits:
        return fits[0]

    return _ZONES[-1] if _LEAST_NAME + _ZONES[-1] <= room else None


def _cut(name: str, room: int) -> str:
    if cells_of(name) <= room:
        return name + " " * (room - cells_of(name))

    while cells_of(name) >= room:
        name = name[:-1]

    return name + "~" + " " * (room - cells_of(name) - 1)


def _axis(name: int, middle: int, end: int) -> str:
    marks = f"{'':<{name}} {'0':<{LOW_CELLS}} {'1M':<{middle}}"
    if end > 1 << _LOW_BITS:
        top = (end - 1).bit_length()
        high = {32: "4G", 36: "64G", 40: "1T", 44: "16T", 48: "256T", 52: "4P"}
        text = ""
        for bits, label in high.items():
            if bits <= top:
                text = f"{text:<{bits - _LOW_BITS}}{label}"

        marks = f"{marks} {text}"

    return marks.rstrip()


def _machine_lines(it: AddressMap, name: str, middle: int) -> Iterator[Line]:
    zones = strip_of(it, middle)
    line: Line = [(name, "bold")]
    for zone in zones:
        line.append((" ", ""))
        line += [(cell.letter, style_of(cell.type)) for cell in zone]

    yield line
    if any(cell.busy for zone in zones for cell in zone):
        signs = ("".join(_BUSY if cell.busy else " " for cell in zone) for zone in zones)
        words = " ".join((" " * cells_of(name), *signs)).rstrip()
        yield [(words, "bold")]


def health_marks(row: Mapping[str, Any], faults: Rows) -> Iterator[Span]:
    """What is wrong with a machine, each in a word or a few; nothing for a well one.

    Args:
        row: of a report.
        faults: fault rules and sicknesses; those of this machine alone count.
    """
    if row.get("failed"):
        yield "FAILED", "bold white on red"

    if row.get("dead"):
        yield "DEAD", "bold white on red"

    sick = row.get("sick") or {}
    if sick.get("suspended") is not None:
        yield "SUSPENDED", "bold reverse"

    if sick.get("cpus"):
        some = sick["cpus"]
        yield f"CPU{'s' * (len(some) > 1)} {_list_text(some)} out of step", "red"

    if sick.get("sicknesses"):
        yield f"sick: {_list_text(sick['sicknesses'])}", "red"

    if row.get("hazards"):
        yield _hazard_mark(row["hazards"])

    for it in faults:
        if it.get("machine") == row["machine"] and "injected" in it:
            yield _fault_mark(it)


def _hazard_mark(hazards: Rows) -> Span:
    """How many hazards there are of each level, then the name of the newest."""
    counts = Counter(it["level"] for it in hazards)
    words = [f"{counts[it]} hazard {it}{'s' * (counts[it] > 1)}" for it in LEVELS if counts[it]]
    style = "red" if counts[LEVELS[0]] else "yellow"

    return f"{', '.join(words)}, newest {hazards[-1]['name']}", style


def _fault_mark(it: Mapping[str, Any]) -> Span:
    return f"fault {it['name']} {it['action']} {it['injected']}/{it['seen']}", "yellow"


def _list_text(some: Sequence[Any]) -> str:
    shown = ",".join(str(it) for it in some[:8])

    return shown + (f" and {len(some) - 8} more" if len(some) > 8 else "")


def _mark_lines(name: str, marks: Sequence[Span], columns: int) -> Iterator[Line]:
    """The marks behind a name, on as many lines as they need."""
    line: Line = [(name, "bold")]
    used = cells_of(name)
    for text, style in marks:
        text, *more = fold(escape_controls(text), max(1, columns - cells_of(name) - 1), 0)
        if used + 1 + cells_of(text) > columns and len(line) > 1:
            yield line
            line, used = [(" " * cells_of(name), "")], cells_of(name)

        line += [(" " if len(line) == 1 else "  ", ""), (text, style)]
        used += cells_of(text) + 2
        for rest in more:
            yield line
            line, used = [(" " * cells_of(name), ""), (" ", ""), (rest, style)], columns

    yield line


def _legend(maps: Sequence[AddressMap], name: int) -> Line:
    used = {piece_type for it in maps for piece in it.pieces for piece_type in piece.types}
    line: Line = [(" " * name, "")]
    for key, sign in SIGNS.items():
        if key in used:
            line += [(" ", ""), (sign.letter, style_of(key)), (f" {key}", "dim")]

    if any(piece.type is None for it in maps for piece in it.pieces):
        line.append((f" {NO_TYPE.letter} none", "dim"))

    line.append((f" {_BUSY} BUSY", "dim"))

    return line
