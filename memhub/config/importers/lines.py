"""The lines of a text; what mail programs, terminals and pasting did to it is undone.

What precedes a message (time stamps of every make, `(XEN)`, host names, quote marks, grep's
numbers) is not removed here, as there are too many kinds: the readers look for a message anywhere
in a line.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Characters of a line that are looked at; the longest line of any format has a few hundred.
LONGEST: Final = 2000

_COLOUR: Final = re.compile(r"(?:\x1b|\^\[|#033)\[[0-9;?]{0,32}[a-z]", re.I)
_SOFT_BREAK: Final = re.compile(r"=[ \t]{0,8}\r?\n")
_QUOTED: Final = re.compile(r"=([0-9a-f]{2})", re.I)
_BREAK: Final = re.compile(r"\r\n|\n|\r")
#: Where a slot of /proc/mtrr begins: several may have been pasted on one line.
_SLOT: Final = re.compile(r"(?=\breg ?[0-9]{1,3}: ?base=)", re.I)


def clean_lines(text: str) -> list[str]:
    """Split a text into lines.

    Args:
        text: a log or listing, perhaps copied from a mail or a terminal.

    Returns:
        its lines without blanks at the ends, with one blank where there were several; empty ones
        left out. A line longer than any format has is cut.
    """
    if "=3D" in text or "=3d" in text:
        text = _decode_quoted(text)

    return [line for raw in _BREAK.split(text) for line in _split_slots(raw) if line]


def _split_slots(raw: str) -> Iterator[str]:
    for piece in _SLOT.split(raw):
        yield " ".join(_COLOUR.sub("", piece[: 4 * LONGEST]).split())[:LONGEST]


def _decode_quoted(text: str) -> str:
    """Undo quoted-printable (RFC 2045 section 6.7): join soft breaks, decode `=3D`."""
    joined = _SOFT_BREAK.sub("", text)
    data = _QUOTED.sub(lambda match: chr(int(match[1], 16)), joined)
    try:
        return data.encode("latin-1").decode()
    except UnicodeError:
        return data
