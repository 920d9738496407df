"""What lines of a log look like, learned once for each shape, so that most need not be parsed.

The writer makes few shapes of lines: an event with names in one order. The first line of a shape
is parsed and checked against the schema. From its names comes a pattern of bytes: the same names,
each with a value of its type as the schema has it. A line that has the pattern is one flat JSON
object with no member twice and with every member of its type. Whether a number fits its column is
left to DuckDB, which refuses one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import FIELDS, Field
from memhub.audit.schema import EVENTS

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Compares a part of a line with a shape.
Match = Callable[[bytes, int, int], "re.Match[bytes] | None"]

#: The most shapes of one event; further ones are parsed.
MAX_SHAPES: Final = 64

#: Records that are always parsed: they say more than where they belong.
PARSED: Final = frozenset({"device.attach", "held.machine"})

_PLAIN: Final = rb'[^\x00-\x1f"\\\x7f]*+'
_ESCAPE: Final = rb'\\(?:["\\bfnrt]|u00[01][0-9a-f])'
_VALUES: Final[Mapping[str, bytes]] = {
    "int": rb"-?+(?:0|[1-9][0-9]{0,18}+)",
    "ns": rb"(?:0|[1-9][0-9]{0,18}+)",
    "u64": rb"(?:0|[1-9][0-9]{0,19}+)",
    "bool": rb"(?:true|false)",
    "str": rb'"%b(?:%b%b)*+"' % (_PLAIN, _ESCAPE, _PLAIN),
}

#: What stands before the members that a shape has, and behind them.
_BEFORE: Final = ("v", "seq", "prev", "event", "wall_ns")
_LAST: Final = "hash"


class LineShapes:
    """The shapes that were learned."""

    def __init__(self) -> None:
        self._known: dict[bytes, list[Match]] = {}

    def match(self, line: bytes, start: int, end: int) -> re.Match[bytes] | None:
        """Compare a line with the shapes of its event.

        Args:
            line: the line.
            start: where the name of its event begins.
            end: where its last member, the hash, begins.

        Returns:
            what matches, with two groups: `wall_ns`, and `machine` as JSON, None if there is
            none; None for a line that has to be parsed.
        """
        stop = line.find(b'"', start, end)
        known = self._known.get(line[start:stop])
        if known is None:
            return None

        for place, matches in enumerate(known):
            found = matches(line, stop + 1, end)
            if found is not None:
                if place:
                    # lines of one shape often follow each other
                    known[0], known[place] = matches, known[0]

                return found if line.isascii() or _is_utf8(line) else None

        return None

    def learn(self, record: Mapping[str, Any]) -> None:
        """Learn the shape of a record that was checked against the schema."""
        event = record["event"]
        if event in PARSED or event not in EVENTS or event.startswith("log."):
            return

        names = [*record]
        known = self._known.setdefault(event.encode(), [])
        usual = (*names[:5], names[-1]) == (*_BEFORE, _LAST)
        if usual and len(known) < MAX_SHAPES and all(name in FIELDS for name in names):
            known.append(_pattern(names[4:-1]).fullmatch)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False

    return True


def _pattern(names: list[str]) -> re.Pattern[bytes]:
    members = b"".join(_member(name) for name in names)

    return re.compile(members if "machine" in names else members + b"(x)?")


def _member(name: str) -> bytes:
    value = _value(FIELDS[name])
    if name in ("machine", "wall_ns"):
        value = b"(%b)" % value

    return b',"%b":%b' % (name.encode(), value)


def _value(field: Field) -> bytes:
    if field.type.startswith("["):
        item = _VALUES[field.type[1:-1]]

        return rb"\[(?:%b(?:,%b)*+)?+\]" % (item, item)

    kind = _VALUES[field.type]

    return b"(?:null|%b)" % kind if field.nullable else kind
