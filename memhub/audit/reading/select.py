"""Which records of a log a question is about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.abi import MDF_ACTIVE, Errno
from memhub.audit.reading.asked import asked_spans
from memhub.audit.schema import EVENTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: What ends a prefix of event names.
_ANY: Final = "*"

#: The members that hold slots: first bytes, lengths and flags.
_SLOTS: Final = tuple(
    tuple(f"{side}_{name}" for name in ("base", "length", "flags")) for side in ("before", "after")
)


#: Architectures whose driver never sets MDF_ACTIVE: there the length tells whether a slot is used.
NEVER_ACTIVE: Final = ("k6", "openbsd-k6")


class Window(NamedTuple):
    """A stretch of addresses.

    Attributes:
        base: the first byte.
        end: the byte after the last one.
    """

    base: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a record must say to be selected.

    Each attribute that is given must hold. Of several values of one attribute, one must.

    Attributes:
        events: event names; `claim.*` is every event that begins with `claim.`.
        operations: values of `op`.
        errors: values of `errno`.
        refused: whether only records with an errno are selected.
        machines: values of `machine`.
        processes: a text is a `process`, a number a `process_id`.
        owners: labels, of the range asked for or of a slot that the record lists.
        windows: stretches that the range asked for must touch, or a slot in use that the record
            lists. A range without length touches its first byte. Addresses are those of the
            record: physical on `/dev/mem`, kernel virtual on `/dev/kmem`.
        since_ns: the earliest `wall_ns`.
        until_ns: the latest `wall_ns`.
        first_seq: the lowest `seq`.
        last_seq: the highest `seq`.

    Raises:
        ValueError: an event or an errno is unknown, or a window is empty.
    """

    events: tuple[str, ...] = ()
    operations: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    refused: bool = False
    machines: tuple[str, ...] = ()
    processes: tuple[str | int, ...] = ()
    owners: tuple[str, ...] = ()
    windows: tuple[Window, ...] = ()
    since_ns: int | None = None
    until_ns: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None

    def __post_init__(self) -> None:
        families = {f"{name.partition('.')[0]}.{_ANY}" for name in EVENTS if "." in name}
        for name in self.events:
            if not _is_event(name):
                raise ValueError(_unknown("event", name, {*EVENTS, *families}))

        for name in self.errors:
            if name not in Errno.__members__:
                raise ValueError(_unknown("errno", name, Errno.__members__))

        for base, end in self.windows:
            if not 0 <= base < end:
                raise ValueError(f"no address is in {base:#x} to {end:#x}, exclusive")

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is selected.

        Args:
            record: as `read_records` gives it, with the members of their types.
        """
        get = record.get

        return (
            (not self.events or self._has_event(record["event"]))
            and (not self.operations or get("op") in self.operations)
            and (not self.errors or get("errno") in self.errors)
            and (not self.refused or get("errno") is not None)
            and (not self.machines or get("machine") in self.machines)
            and (not self.processes or self._has_process(record))
            and (not self.owners or self._has_owner(record))
            and (not self.windows or self._has_address(record))
            and _between(self.since_ns, record["wall_ns"], self.until_ns)
            and _between(self.first_seq, record["seq"], self.last_seq)
        )

    def _has_event(self, event: str) -> bool:
        return any(
            event.startswith(name[:-1]) if name.endswith(_ANY) else event == name
            for name in self.events
        )

    def _has_process(self, record: Mapping[str, Any]) -> bool:
        return record.get("process") in self.processes or record.get("process_id") in self.processes

    def _has_owner(self, record: Mapping[str, Any]) -> bool:
        listed = (
            owner for side in ("before", "after") for owner in record.get(f"{side}_owner", ())
        )

        return record.get("owner") in self.owners or any(it in self.owners for it in listed)

    def _has_address(self, record: Mapping[str, Any]) -> bool:
        if any(self._touches(base, max(length, 1)) for base, length in asked_spans(record)):
            return True

        unmarked = record.get("arch") in NEVER_ACTIVE

        return any(
            # an empty slot has an address and a length too
            (flags & MDF_ACTIVE or (unmarked and length)) and self._touches(base, length)
            for names in _SLOTS
            # lists of a foreign log need not be equally long
            for base, length, flags in zip(*(record.get(it, ()) for it in names), strict=False)
        )

    def _touches(self, base: int, length: int) -> bool:
        return any(base < it.end and it.base < base + length for it in self.windows)


#: Selects every record.
EVERYTHING: Final = Selection()


def _between(least: int | None, value: int, most: int | None) -> bool:
    return (least is None or least <= value) and (most is None or value <= most)


def _is_event(name: str) -> bool:
    if name.endswith(_ANY):
        return any(event.startswith(name[:-1]) for event in EVENTS)

    return name in EVENTS


def _unknown(what: str, name: str, known: Iterable[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"the nearest are {', '.join(near)}" if near else f"known are {', '.join(sorted(known))}"

    return f"{name!r} is not {'an errno' if what == 'errno' else 'an event'} of the log: {hint}"
