"""Long lines of text on several, so that they fit so many columns."""

from __future__ import annotations


def fold(text: str, columns: int, hang: int | None = None) -> list[str]:
    """Break a line at blanks, or anywhere in a word that is longer than a line.

    Args:
        text: one line.
        columns: how many a line may have.
        hang: indent of the second line and those after it; None for two more than the first has.

    Returns:
        the lines.
    """
    return [" " * indent + text[start:end] for indent, start, end in breaks(text, columns, hang)]


def breaks(text: str, columns: int, hang: int | None = None) -> list[tuple[int, int, int]]:
    """The lines of `fold`: the indent, and where the rest begins and ends in the text."""
    found: list[tuple[int, int, int]] = []
    first = len(text) - len(text.lstrip(" "))
    hang = min(first + 2 if hang is None else hang, columns // 2)
    indent = start = 0
    while not _fits_room(text, start, columns - indent):
        most = start + _count_fitting(text[start : start + columns - indent], columns - indent)
        end = most if text[most] == " " else text.rfind(" ", max(start, first), most)
        if end <= max(start, first) or _is_long(text, end + 1, columns - hang):
            end = most

        found.append((indent, start, start + len(text[start:end].rstrip(" "))))
        while text[end : end + 1] == " ":
            end += 1

        start, indent = end, hang

    return [*found, (indent, start, len(text))]


def cells(text: str) -> int:
    """Columns that a terminal needs for a text; some characters take two."""
    return len(text) if text.isascii() else sum(map(_count_cells, text))


def _count_cells(char: str) -> int:
    from unicodedata import east_asian_width

    return 2 if east_asian_width(char) in "WF" else 1


def _fits_room(text: str, start: int, room: int) -> bool:
    # nothing here may take longer with the whole length: a log may have a reason of megabytes
    return len(text) - start <= room and cells(text[start:]) <= room


def _is_long(text: str, start: int, room: int) -> bool:
    """Whether a word does not fit a line of its own either."""
    return len(text) - start > room and text.find(" ", start, start + room + 1) < 0


def _count_fitting(text: str, room: int) -> int:
    """How many characters fit, at least one."""
    for count, char in enumerate(text):
        room -= _count_cells(char)
        if room < 0:
            return max(count, 1)

    return len(text)
