"""The sentences of `docs/protocol.md` that state rules, one by one."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

#: The sections with rules that tables of frames and bodies do not have.
SECTIONS: Final = (
    "Frames",
    "From HELLO to the end",
    "Growth",
    "Requests and answers",
    "Handles",
    "Large transfers",
    "Ioctls",
    "Times",
    "Claims",
    "Events",
    "Maps",
    "Rights",
    "Errors",
    "Obstacles",
    "TCP, TLS and tokens",
)

_HEADING: Final = re.compile(r"^#+ (.+)$")
_ITEM: Final = re.compile(r"^(- |\d+\. )")
#: A sentence ends before a capital letter, a name in code, or bold text.
_END: Final = re.compile(r"(?<=[.])\s+(?=[A-Z*`])")


def rules_of(page: str) -> Iterator[tuple[str, str]]:
    """Each sentence of these sections, with its section; not the tables and the blocks of code.

    Args:
        page: the text of the page.
    """
    section, inside = "", False
    for line in page.splitlines():
        if heading := _HEADING.match(line):
            section = heading[1]
        elif line.startswith("```"):
            inside = not inside
        elif section in SECTIONS and line and not inside and not line.startswith("|"):
            for sentence in _END.split(_ITEM.sub("", line)):
                yield section, sentence
