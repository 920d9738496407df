"""Assertions on the log of a rig, which read like sentences and say what came instead."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, NoReturn, final

from memhub.audit.fields import FIELDS
from memhub.audit.schema import ALWAYS, EVENTS
from memhub.core.spec_rules import suggest
from memhub.escape import escape_controls
from memhub.shipping.sentence import record_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    Record = Mapping[str, Any]

#: Records that a failing assertion shows.
_SHOWN = 12

#: Seconds between two looks at the log of another process.
_PAUSE = 0.002


@final
class Found:
    """A record that was expected and has come.

    Attributes:
        record: the record.
    """

    def __init__(self, view: LogView, record: Record) -> None:
        self._view = view
        self.record = record

    def __getitem__(self, field: str) -> Any:  # noqa: ANN401 - whatever the record holds
        return self.record[field]

    def __repr__(self) -> str:
        return f"<Found {_show_record(self.record)}>"

    def then(
        self, event: str, *, times: int | None = None, within: float = 0.0, **fields: object
    ) -> Found:
        """Expect a record behind this one; arguments are those of `LogView.expect`."""
        __tracebackhide__ = True
        later = self._view.after(self.record["seq"])

        return later.expect(event, times=times, within=within, **fields)

    def never(self, event: str, **fields: object) -> Found:
        """Expect no such record behind this one; arguments are those of `LogView.expect_none`."""
        __tracebackhide__ = True
        self._view.after(self.record["seq"]).expect_none(event, **fields)

        return self


@final
class LogView:
    """The records of a rig's log, from some place on.

    Args:
        read: returns all records so far, oldest first, each with its `seq`.
        behind: the sequence number behind which the view begins.
    """

    def __init__(self, read: Callable[[], Sequence[Record]], behind: int = 0) -> None:
        self._read = read
        self._behind = behind

    @property
    def records(self) -> list[Record]:
        """The records, oldest first."""
        return [it for it in self._read() if it["seq"] > self._behind]

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def __repr__(self) -> str:
        return f"<LogView of {len(self)} records>"

    def after(self, seq: int) -> LogView:
        """The records behind the one of this sequence number."""
        return LogView(self._read, max(seq, self._behind))

    def from_now(self) -> LogView:
        """The records that are still to come."""
        records = self._read()

        return self.after(records[-1]["seq"] if records else 0)

    def find(self, event: str, **fields: object) -> list[Record]:
        """The records of an event whose fields have these values, perhaps none.

        Args:
            event: its name, as in docs/audit.md: `request.set`.
            fields: values, each as `expect` takes them.

        Raises:
            ValueError: there is no such event or field.
        """
        _check_names(event, fields)

        return [it for it in self.records if _agrees(it, event, fields)]

    def expect(
        self, event: str, *, times: int | None = None, within: float = 0.0, **fields: object
    ) -> Found:
        """Assert that there is such a record.

        Args:
            event: its name, as in docs/audit.md: `request.set`.
            times: how many there are; None is one or more.
            within: seconds to wait for it, where another process writes the log.
            fields: what its fields hold: a value, None for a field that is empty or absent, or a
                function that takes the value and returns whether it is right. A list that has one
                item is also equal to that item.

        Returns:
            the first such record; its `then` expects one behind it.

        Raises:
            AssertionError: there is none, or another number; it says what there is instead.
            ValueError: there is no such event or field, or `times` is not at least 1.
        """
        __tracebackhide__ = True
        if times is not None and times < 1:
            raise ValueError(f"times {times} is not at least 1: expect_none expects no record")

        end = monotonic() + within
        while True:
            found = self.find(event, **fields)
            if found and (times is None or len(found) >= times):
                break

            if monotonic() >= end:
                break

            sleep(_PAUSE)

        if not found or (times is not None and len(found) != times):
            self._fail(event, fields, found, "a record" if times is None else f"{times} records")

        return Found(self, found[0])

    def expect_none(self, event: str, **fields: object) -> None:
        """Assert that there is no such record so far.

        Args:
            event: as for `expect`.
            fields: as for `expect`.

        Raises:
            AssertionError: there is one; it is shown.
            ValueError: there is no such event or field.
        """
        __tracebackhide__ = True
        found = self.find(event, **fields)
        if found:
            self._fail(event, fields, found, "no record")

    def _fail(
        self, event: str, fields: Mapping[str, object], found: Sequence[Record], wanted: str
    ) -> NoReturn:
        __tracebackhide__ = True
        number = len(found) or "none"
        lines = [f"expected {wanted} {_name_wanted(event, fields)}; there are {number}"]
        if found:
            lines += _list_records("these", found)
        else:
            lines += self._explain_nearest(event, fields)

        raise AssertionError("\n".join(lines))

    def _explain_nearest(self, event: str, fields: Mapping[str, object]) -> Iterator[str]:
        records = self.records
        same = [it for it in records if it["event"] == event]
        nearest = max(same, key=lambda it: -len(_differences(it, fields)), default=None)
        if nearest is not None:
            yield f"nearest: {_show_record(nearest)}"
            for name, value in _differences(nearest, fields):
                yield f"  {name} is {_show_value(name, value)}"

            yield from _list_records(f"all of {event}", same)
        else:
            yield from _list_records("the log", records)


def _check_names(event: str, fields: Mapping[str, object]) -> None:
    if event not in EVENTS:
        hint = suggest(event, EVENTS) or f"; events: {', '.join(EVENTS)}"
        raise ValueError(f"there is no event {event!r} in the log{hint}")

    known = {*ALWAYS, *EVENTS[event].required, *EVENTS[event].optional}
    for name in fields:
        if name not in known:
            hint = suggest(name, known) or f"; fields: {', '.join(sorted(known))}"
            raise ValueError(f"a record of {event} has no field {name!r}{hint}")


def _agrees(record: Record, event: str, fields: Mapping[str, object]) -> bool:
    return record["event"] == event and not _differences(record, fields)


def _differences(record: Record, fields: Mapping[str, object]) -> list[tuple[str, Any]]:
    found = [(name, record.get(name), wanted) for name, wanted in fields.items()]

    return [(name, value) for name, value, wanted in found if not _is_right(value, wanted)]


def _is_right(value: Any, wanted: object) -> bool:  # noqa: ANN401 - whatever the record holds
    if callable(wanted):
        return value is not None and bool(wanted(value))

    if isinstance(value, list | tuple):
        items = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        return list(value) == items

    return bool(value == wanted)


def _name_wanted(event: str, fields: Mapping[str, object]) -> str:
    words = [f"{name} {_show_value(name, value)}" for name, value in fields.items()]

    return f"of {event}" + (f" with {', '.join(words)}" if words else "")


def _show_value(name: str, value: object) -> str:
    if callable(value):
        return f"of {getattr(value, '__name__', repr(value))}"

    field = FIELDS.get(name)
    if isinstance(value, int) and field is not None and field.type == "u64":
        return hex(value)

    return escape_controls(repr(value))


def _list_records(title: str, records: Sequence[Record]) -> Iterator[str]:
    yield f"{title} ({len(records)}):" if records else f"{title}: no record"
    if len(records) > _SHOWN:
        yield f"  … {len(records) - _SHOWN} before"

    for it in records[-_SHOWN:]:
        yield f"  {_show_record(it)}"


def _show_record(record: Record) -> str:
    return escape_controls(f"#{record['seq']} {record_sentence(record)}")
