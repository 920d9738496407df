"""Whether the members of a record are of their types, learned once for each shape of record.

The writer makes few shapes: names in an order, with values of some types. A shape that the schema
admits is admitted again without a look at each member. Items of lists are looked at every time.
Whether an integer is in the range of its type is left to DuckDB, which refuses one that is not.
"""

from __future__ import annotations

from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import FIELDS
from memhub.audit.line import parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Lists = Callable[[dict[str, Any]], Iterable[list[Any]]]

#: The most shapes that are remembered; a log that has more is read more slowly.
MAX_SHAPES: Final = 4096

_INTEGERS: Final = frozenset({int})
_TEXTS: Final = frozenset({str})


class ShapeCheck:
    """Checks records one after another."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], tuple[Lists | None, Lists | None]] = {}

    def admit(self, record: dict[str, Any], line: bytes) -> None:
        """Check one record.

        Args:
            record: what was parsed of the line.
            line: the line, without its newline.

        Raises:
            ValueError: a member is not of its type, as `parse_record` says it.
        """
        shape = (*record, *map(type, record.values()))
        lists = self._known.get(shape)
        if lists is None:
            parse_record(line, typed=True)
            if len(self._known) < MAX_SHAPES:
                self._known[shape] = _lists_of(record)
            return

        integers, texts = lists
        for get, kinds in ((integers, _INTEGERS), (texts, _TEXTS)):
            if get is not None and not kinds.issuperset(
                map(type, chain.from_iterable(get(record)))
            ):
                parse_record(line, typed=True)


def _lists_of(record: dict[str, Any]) -> tuple[Lists | None, Lists | None]:
    """What takes the lists of integers, and those of text, out of a record of this shape."""
    names = [name for name, value in record.items() if type(value) is list and name in FIELDS]

    return (
        _getter([name for name in names if FIELDS[name].type != "[str]"]),
        _getter([name for name in names if FIELDS[name].type == "[str]"]),
    )


def _getter(names: list[str]) -> Lists | None:
    if not names:
        return None

    get = itemgetter(*names)

    return get if len(names) > 1 else lambda record: (get(record),)
