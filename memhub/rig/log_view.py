"""Assertions on the log of a rig, which read like sentences and say what came instead."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, final

from memhub.abi import Errno
from memhub.arguments import take_seconds, take_text, wrong_wait
from memhub.audit.fields import FIELDS
from memhub.audit.schema import ALWAYS, EVENTS
from memhub.core.spec_rules import suggest
from memhub.escape import escape_controls
from memhub.rig.expecting import judge, say_fields, say_found, say_wanted, show_value, take_times
from memhub.rig.pauses import RealPauses
from memhub.shipping.sentence import record_sentence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from memhub.rig.pauses import Pauses

    Record = Mapping[str, Any]

#: Records that a failing assertion shows.
_SHOWN = 12
#: What fields that are no integers hold, in words.
_KINDS = {"str": "text", "bool": "a boolean", "u64": "an unsigned 64-bit integer"}


class UnknownField(KeyError):
    """Raised for a field that no record of the event has."""

    def __str__(self) -> str:
        return escape_controls(str(self.args[0]))


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
        """What a field holds; None where it is empty, and UnknownField (KeyError) if none is."""
        if field not in self.record:
            try:
                _check_names(self.record["event"], [field])
            except ValueError as error:
                raise UnknownField(str(error)) from None

        return self.record.get(field)

    def __repr__(self) -> str:
        return f"<Found {_show_record(self.record)}>"

    def then(
        self, event: str, *, times: int | None = None, within: float = 0.0, **fields: object
    ) -> Found:
        """Expect a record behind this one; arguments are those of `LogView.expect`."""
        __tracebackhide__ = True
        later = self._view.behind_record(self.record)

        return later.expect(event, times=times, within=within, **fields)

    def never(self, event: str, **fields: object) -> Found:
        """Expect no such record behind this one; arguments are those of `LogView.expect_none`."""
        __tracebackhide__ = True
        self._view.behind_record(self.record).expect_none(event, **fields)

        return self


@final
class LogView:
    """The records of a rig's log, from some place on.

    Args:
        read: returns all records so far, oldest first, each with its `seq`.
        behind: the sequence number behind which the view begins.
        pauses: what `expect` waits with.
        place: where the view begins, for messages; empty for the whole log.
    """

    def __init__(
        self,
        read: Callable[[], Sequence[Record]],
        behind: int = 0,
        pauses: Pauses | None = None,
        place: str = "",
    ) -> None:
        self._read = read
        self._behind = behind
        self._pauses = RealPauses() if pauses is None else pauses
        self._place = place

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
        behind = max(seq, self._behind)

        return LogView(self._read, behind, self._pauses, f"behind #{behind}" if behind else "")

    def behind_record(self, record: Record) -> LogView:
        """The records behind one."""
        place = f"behind {_show_record(record)}"

        return LogView(self._read, max(record["seq"], self._behind), self._pauses, place)

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
            ValueError: there is no such event, field or errno.
            TypeError: no record has such a value in that field.
        """
        _check_names(take_text("event", event), fields)
        _check_values(event, fields)

        return [it for it in self.records if _agrees(it, event, fields)]

    def expect(
        self, event: str, *, times: int | None = None, within: float = 0.0, **fields: object
    ) -> Found:
        """Assert that there is such a record.

        Args:
            event: its name, as in docs/audit.md: `request.set`.
            times: how many there are; None is one or more.
            within: seconds to wait for it: real ones for a service, which writes its log by itself;
                of the clock for the embedded hub of a test that does not await. In one that
                awaits, nothing else would run meanwhile: it does not wait there.
            fields: what its fields hold: a value, None for a field that is empty or absent, or a
                function that takes the value and returns whether it is right; one that fails with
                None says no of a field that is empty. A list that has one item is also equal to
                that item.

        Returns:
            the first such record; its `then` expects one behind it.

        Raises:
            AssertionError: there is none, or another number; it says what there is instead.
            ValueError, TypeError: as `find`; `times` is not at least 1, or `within` is no time to
                come.
        """
        __tracebackhide__ = True
        times = take_times(times, "record")
        if wrong := wrong_wait(take_seconds("within", within)):
            raise ValueError(f"within: {wrong}")

        found: list[Record] = []
        for _ in self._pauses.within(within):
            found = self.find(event, **fields)
            if found and (times is None or len(found) >= times):
                break

        if not found or (times is not None and len(found) != times):
            note = self._pauses.note if within else ""
            self._fail(event, fields, found, say_wanted(times, "record"), note)

        return Found(self, found[0])

    def expect_none(self, event: str, **fields: object) -> None:
        """Assert that there is no such record so far.

        Args:
            event: as for `expect`.
            fields: as for `expect`.

        Raises:
            AssertionError: there is one; it is shown.
            ValueError, TypeError: as `find`.
        """
        __tracebackhide__ = True
        found = self.find(event, **fields)
        if found:
            self._fail(event, fields, found, "no record")

    def _fail(
        self,
        event: str,
        fields: Mapping[str, object],
        found: Sequence[Record],
        wanted: str,
        note: str = "",
    ) -> NoReturn:
        __tracebackhide__ = True
        place = f" {self._place}" if self._place else ""
        with_fields = say_fields(fields, _is_address)
        lines = [f"expected {wanted} of {event}{with_fields}; {say_found(found)}{place}"]
        if found:
            lines += _list_records("these", found)
        else:
            lines += self._explain_nearest(event, fields)

        raise AssertionError("\n".join([*lines, note] if note else lines))

    def _explain_nearest(self, event: str, fields: Mapping[str, object]) -> Iterator[str]:
        records = self.records
        same = [it for it in records if it["event"] == event]
        if same:
            nearest = min(reversed(same), key=lambda it: _distance(it, fields))
            yield f"nearest: {_show_record(nearest)}"
            for name, value in _differences(nearest, fields):
                yield f"  {name} is {show_value(value, in_hex=_is_address(name))}"

            yield from _list_records(f"all of {event}", same)
        else:
            yield from _list_records("what came there" if self._place else "the log", records)


def _distance(record: Record, fields: Mapping[str, object]) -> tuple[int, int]:
    """How many fields are wrong, and how many of them are empty or are to be."""
    wrong = _differences(record, fields)

    return len(wrong), sum((value is None) != (fields[name] is None) for name, value in wrong)


def _check_names(event: str, fields: Iterable[str]) -> None:
    if event not in EVENTS:
        hint = suggest(event, EVENTS) or f"; events: {', '.join(EVENTS)}"
        raise ValueError(f"there is no event {event!r} in the log{hint}")

    known = {*ALWAYS, *EVENTS[event].required, *EVENTS[event].optional}
    for name in fields:
        if name not in known:
            hint = suggest(name, known) or f"; fields: {', '.join(sorted(known))}"
            raise ValueError(f"a record of {event} has no field {name!r}{hint}")


def _check_values(event: str, fields: Mapping[str, object]) -> None:
    """Refuse what no record holds: it would be expected in vain, and missed by none."""
    for name, value in fields.items():
        field = FIELDS[name]
        listed = field.type.startswith("[") and not isinstance(value, list | tuple)
        if value is None or callable(value):
            continue

        if not field.admits([value] if listed else value):
            due = _KINDS.get(field.type.strip("[]"), "an integer")
            raise TypeError(f"{name} {value!r:.80} of {event} is not {due}: {field.meaning}")

        if name == "errno" and value not in Errno.__members__:
            known = suggest(str(value), Errno.__members__) or f": {', '.join(Errno.__members__)}"
            raise ValueError(f"there is no errno {value!r:.80}{known}")


def _agrees(record: Record, event: str, fields: Mapping[str, object]) -> bool:
    return record["event"] == event and not _differences(record, fields)


def _differences(record: Record, fields: Mapping[str, object]) -> list[tuple[str, Any]]:
    found = [(name, record.get(name), wanted) for name, wanted in fields.items()]

    return [(name, value) for name, value, wanted in found if not _is_right(value, wanted)]


def _is_right(value: Any, wanted: object) -> bool:  # noqa: ANN401 - whatever the record holds
    if callable(wanted):
        return judge(wanted, value)

    if isinstance(value, list | tuple):
        items = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
        return list(value) == items

    return bool(value == wanted)


def _is_address(name: str) -> bool:
    field = FIELDS.get(name)

    return field is not None and field.type == "u64"


def _list_records(title: str, records: Sequence[Record]) -> Iterator[str]:
    yield f"{title} ({len(records)}):" if records else f"{title}: no record"
    if len(records) > _SHOWN:
        yield f"  … {len(records) - _SHOWN} before"

    for it in records[-_SHOWN:]:
        yield f"  {_show_record(it)}"


def _show_record(record: Record) -> str:
    return escape_controls(f"#{record['seq']} {record_sentence(record)}")
