"""What lines of a log look like, learned once for each shape, so that most need not be parsed.

The writer makes few shapes of lines: an event with names in one order. The first line of a shape
is parsed and checked against the schema. Which shape a line may have is told by its event and the
number of its colons, which is that of its members unless its strings have some. From the names of
a shape comes a pattern of bytes: the same names, each with a value of its type as the schema has
it. A line that has the pattern is one flat JSON object with no member twice and with every member
of its type. Whether a number fits its column is left to DuckDB, which refuses one that does not.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import FIELDS, Field
from memhub.audit.schema import EVENTS, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Compares a whole line with a shape.
Match = Callable[[bytes], "re.Match[bytes] | None"]

#: What a shape is looked for by: how the event begins, and how many colons the line has.
Key = tuple[bytes, int]

#: The most shapes of one event; lines of further ones are parsed.
MAX_SHAPES: Final = 64

#: The most keys that lead to a shape at once; strings with colons make further ones.
MAX_KEYS: Final = 4096

#: Records that are always parsed: they say more than where they belong.
PARSED: Final = frozenset({"device.attach", "device.restore", "held.machine", "held.part"})

#: Bytes of the event that are compared; behind a shorter one stands the same in each line.
EVENT_BYTES: Final = 12

#: What a line has before its `seq`, and between that and its event with 64 digits of a hash.
_HEAD: Final = b'{"v":%d,"seq":' % SCHEMA_VERSION
_BEHIND_SEQ: Final = len(b',"prev":"","event":"') + 64

_PLAIN: Final = rb'[^\x00-\x1f"\\\x7f]*+'
_ESCAPE: Final = rb'\\(?:["\\bfnrt]|u00[01][0-9a-f])'
# alternatives of which the first byte tells: a possessive repeat of a group costs more
_VALUES: Final[Mapping[str, bytes]] = {
    "int": rb"(?:[1-9][0-9]{0,18}+|0|-[1-9][0-9]{0,18}+)",
    "ns": rb"(?:[1-9][0-9]{0,18}+|0)",
    "u64": rb"(?:[1-9][0-9]{0,19}+|0)",
    "bool": rb"(?:true|false)",
    "str": rb'"%b(?:"|(?:%b%b)++")' % (_PLAIN, _ESCAPE, _PLAIN),
}

#: What stands before the members that a shape has, and behind them.
_BEFORE: Final = ("v", "seq", "prev", "event", "wall_ns")
_LAST: Final = "hash"


class LineShapes:
    """The shapes that were learned.

    Attributes:
        known: the shape that a line with a key had last.
    """

    def __init__(self) -> None:
        self.known: dict[Key, Match] = {}
        self._of_event: dict[bytes, dict[tuple[str, ...], Match]] = {}

    def find_shape(self, line: bytes, key: Key) -> re.Match[bytes] | None:
        """Compare a line with every shape of its event.

        Args:
            line: the line, with its newline.
            key: how its event begins, and how many colons the line has.

        Returns:
            what matches, with five groups: `seq`, `prev`, `wall_ns`, `machine` as JSON, None if
            there is none, and `hash`; None for a line that has to be parsed.
        """
        for matches in self._of_event.get(key[0], {}).values():
            found = matches(line)
            if found is not None:
                if key in self.known or len(self.known) < MAX_KEYS:
                    self.known[key] = matches

                return found

        return None

    def learn_shape(self, record: Mapping[str, Any]) -> None:
        """Learn the shape of a record that was checked against the schema."""
        event = record["event"]
        if event in PARSED or event not in EVENTS or event.startswith("log."):
            return

        names = (*record,)
        known = self._of_event.setdefault((event.encode() + b'","wall_ns":')[:EVENT_BYTES], {})
        usual = (*names[:5], names[-1]) == (*_BEFORE, _LAST)
        shape = (event, *names)
        if usual and shape not in known and len(known) < MAX_SHAPES and _are_known(names):
            known[shape] = _pattern(event, names[4:-1]).fullmatch


def place_of_event(seq: int) -> int:
    """Where the event begins in a line with this `seq`."""
    return len(_HEAD) + len(str(seq)) + _BEHIND_SEQ


def _are_known(names: Sequence[str]) -> bool:
    return all(name in FIELDS for name in names)


def _pattern(event: str, names: Sequence[str]) -> re.Pattern[bytes]:
    members = b"".join(_member(name) for name in names)
    machine = b"" if "machine" in names else b"(x)?"
    # what `prev` and `hash` are is compared with what they have to be
    head = re.escape(_HEAD) + rb'([1-9][0-9]{0,18}+),"prev":"((?s:.{64}))","event":"'
    last = rb'%b,"hash":"((?s:.{64}))"\}\n' % machine

    return re.compile(b"".join((head, re.escape(event.encode()), b'"', members, last)))


def _member(name: str) -> bytes:
    value = _value(FIELDS[name])
    if name in ("machine", "wall_ns"):
        value = b"(%b)" % value

    return b',"%b":%b' % (name.encode(), value)


def _value(field: Field) -> bytes:
    if field.type.startswith("["):
        item = _VALUES[field.type[1:-1]]

        return rb"\[(?:\]|%b(?:\]|(?:,%b)++\]))" % (item, item)

    kind = _VALUES[field.type]

    return b"(?:null|%b)" % kind if field.nullable else kind
