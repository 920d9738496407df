"""What lines of a log look like, learned once for each shape, so that most need not be parsed.

The writer makes few shapes of lines: an event with names in one order. The first line of a shape
is parsed and checked against the schema. From its names comes a pattern of bytes: the same names,
each with a value of its type as the schema has it. A line that has the pattern is one flat JSON
object with no member twice, with every member of its type and no number beyond 64 bits. Whether
its bytes are UTF-8 is for others to see.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from memhub.audit.fields import FIELDS, Field
from memhub.audit.line import parse_record
from memhub.audit.schema import EVENTS, SCHEMA_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

#: An event and names of members in their order, or the names alone.
Names = tuple[str, ...]

#: Compares a whole line with a shape.
Match = Callable[[bytes], "re.Match[bytes] | None"]

#: The most shapes, and the most that begin alike; lines of further ones are parsed.
MAX_SHAPES: Final = 256
MAX_ALIKE: Final = 32

#: Records that are always parsed: they say more than where they belong.
PARSED: Final = frozenset({"device.attach", "device.restore", "held.machine", "held.part"})

#: Bytes of the event that are compared; behind a shorter one stands the same in each line.
EVENT_BYTES: Final = 12

#: What a line has before its `seq`, and between that and its event with 64 digits of a hash.
_HEAD: Final = b'{"v":%d,"seq":' % SCHEMA_VERSION
_BEHIND_SEQ: Final = len(b',"prev":"","event":"') + 64

_PLAIN: Final = rb'[^\x00-\x1f"\\\x7f]*+'
_ESCAPE: Final = rb'\\(?:["\\bfnrt]|u00[01][0-9a-f])'


def _up_to(most: int) -> bytes:
    """A pattern of the numbers with as many digits as one, up to it."""
    digits = str(most)
    parts = [
        f"{digits[:place]}[{0 if place else 1}-{int(digit) - 1}][0-9]{{{len(digits) - place - 1}}}"
        for place, digit in enumerate(digits)
        if int(digit) > (0 if place else 1)
    ]

    return "|".join((*parts, digits)).encode()


# alternatives of which the first byte tells: a possessive repeat of a group costs more
_VALUES: Final[Mapping[str, bytes]] = {
    "int": rb"(?:[1-9][0-9]{0,18}+|0|-[1-9][0-9]{0,17}+)",
    "ns": rb"(?:[1-9][0-9]{0,18}+|0)",
    "u64": rb"(?:[1-9][0-9]{0,18}+|0|%b)" % _up_to((1 << 64) - 1),
    "bool": rb"(?:true|false)",
    "str": rb'"%b(?:"|(?:%b%b)++")' % (_PLAIN, _ESCAPE, _PLAIN),
}

#: What stands before the members that a shape has, and behind them.
_BEFORE: Final = ("v", "seq", "prev", "event", "wall_ns")
_LAST: Final = "hash"


class LineShapes:
    """The shapes that were learned.

    Shapes of one event that begin alike are one pattern, so that a line is compared once.
    """

    def __init__(self) -> None:
        self._last: dict[bytes, Match] = {}
        self._patterns: dict[bytes, dict[Names, Match]] = {}
        self._shapes: dict[Names, set[Names]] = {}
        self._count = 0

    def match_lines(self, lines: Sequence[bytes]) -> list[tuple[bytes | None, ...]]:
        """Compare lines with the shapes; what has none yet is parsed, and its shape learned.

        Args:
            lines: lines whose numbers follow each other, with their newlines; at least one.

        Returns:
            for each line up to the first that has no shape: `seq`, `prev`, `wall_ns`, `machine` as
            JSON, None if there is none, and `hash`.
        """
        begin = lines[0].find(b",", len(_HEAD)) + _BEHIND_SEQ
        end = begin + EVENT_BYTES
        last = self._last
        rows: list[tuple[bytes | None, ...]] = []
        add = rows.append
        for line in lines:
            matches = last.get(line[begin:end])
            found = None if matches is None else matches(line)
            if found is None:
                found = self._find_shape(line, line[begin:end])
                if found is None:
                    break

            add(found.groups())

        return rows

    def _find_shape(self, line: bytes, key: bytes) -> re.Match[bytes] | None:
        """Compare a line with every shape of its event, and learn its own where it is another."""
        for matches in self._patterns.get(key, {}).values():
            found = matches(line)
            if found is not None:
                self._last[key] = matches
                return found

        learned = self._learn_shape(line, key)

        return None if learned is None else learned(line)

    def _learn_shape(self, line: bytes, key: bytes) -> Match | None:
        """Learn the shape of a line; the pattern that it is in, or None if it may have none."""
        if self._count >= MAX_SHAPES:
            return None

        try:
            record = parse_record(line[:-1], typed=True)
        except ValueError:
            return None

        event, names = record["event"], (*record,)
        if event in PARSED or event not in EVENTS or event.startswith("log."):
            return None

        if (*names[:5], names[-1]) != (*_BEFORE, _LAST) or not all(it in FIELDS for it in names):
            return None

        # what is asked for of a line stands in the part that shapes have in common
        begin = names.index("machine") + 1 if "machine" in names else 5
        common, rest = (event, *names[4:begin]), names[begin:-1]
        shapes = self._shapes.setdefault(common, set())
        if rest in shapes or len(shapes) >= MAX_ALIKE:
            return None

        shapes.add(rest)
        self._count += 1
        made = _pattern(common, frozenset(shapes)).fullmatch
        self._patterns.setdefault(key, {})[common] = self._last[key] = made

        return made


@lru_cache(maxsize=MAX_SHAPES)  # to compile one takes milliseconds, and logs have the same ones
def _pattern(common: Names, shapes: frozenset[Names]) -> re.Pattern[bytes]:
    """A pattern of the lines of some shapes.

    Args:
        common: their event, and the names from `wall_ns` to `machine`, if they have that.
        shapes: the names behind those, up to `hash`.
    """
    # what `prev` and `hash` are is compared with what they have to be
    head = re.escape(_HEAD) + rb'([1-9][0-9]{0,18}+),"prev":"((?s:.{64}))","event":"'
    first = b"".join(map(_member, common[1:]))
    machine = b"" if "machine" in common else rb"((?!))?"
    last = rb'%b,"hash":"((?s:.{64}))"\}\n' % machine

    return re.compile(
        b"".join((head, re.escape(common[0].encode()), b'"', first, _tree(shapes), last))
    )


def _tree(shapes: Iterable[Names]) -> bytes:
    """A pattern of members, of which each shape has some; those that come first are shared."""
    behind: dict[str, set[Names]] = {}
    ends = False
    for names in shapes:
        if names:
            behind.setdefault(names[0], set()).add(names[1:])
        else:
            ends = True

    ways = [_member(name) + _tree(some) for name, some in sorted(behind.items())]
    if ends:
        ways.append(b"")

    return ways[0] if len(ways) == 1 else b"(?:%b)" % b"|".join(ways)


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
