"""Who is told of which records, found without a look at everybody."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from memhub.core.holding.overlap import OverlapIndex

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    #: Takes a row that has been logged; must not raise, block or change it.
    Listener = Callable[[dict[str, Any]], None]


class Interest(NamedTuple):
    """Which records somebody has to be told of. More may come: a filter of his own decides.

    Attributes:
        events: those of these events.
        machines: those of these machines; None for all, and for records of no machine.
        span: those that touch these bytes, first and one past the last, or have no range; None for
            all.
    """

    events: frozenset[str]
    machines: frozenset[str] | None
    span: tuple[int, int] | None


class Listeners:
    """Who is told of each record.

    Attributes:
        listeners: what is called, oldest first, by a number of its own.
        seq: the number of the last record that was told.
    """

    def __init__(self) -> None:
        self.listeners: dict[int, Listener] = {}
        self.seq = 0
        self._numbers = count()
        self._of_all: dict[int, Listener] = {}
        self._groups: dict[tuple[frozenset[str], frozenset[str] | None], _Group] = {}
        self._by_machine: dict[str | None, dict[int, _Group]] = {}

    def add(
        self, listener: Listener, on_change: Callable[[], None], interest: Interest | None = None
    ) -> Callable[[], None]:
        """Tell `listener` too, until the function returned is called.

        Args:
            listener: what is called with each record.
            on_change: called after the first one was added, and after the last was taken away.
            interest: which records it has to be told of; None for all.
        """
        number = next(self._numbers)
        self.listeners[number] = listener
        if interest is None:
            self._of_all[number] = listener
        else:
            self._put_in_group(number, listener, interest)

        if len(self.listeners) == 1:
            on_change()

        def stop() -> None:
            if self.listeners.pop(number, None) is None:
                return

            if interest is None:
                del self._of_all[number]
            else:
                self._take_from_group(number, interest)

            if not self.listeners:
                on_change()

        return stop

    def tell(self, rows: list[dict[str, Any]], last: int) -> None:
        """Hand on rows, with their `seq`.

        Args:
            rows: the rows.
            last: that of the last one; 0 without a log, where they are counted while there are
                listeners.
        """
        self.seq = last or self.seq + len(rows)
        for number, row in enumerate(rows, self.seq - len(rows) + 1):
            wanting = [*self._of_all.values(), *self._find_interested(row)]
            if wanting:
                told = {"seq": number, **row}
                for listener in wanting:
                    listener(told)

    def _find_interested(self, row: dict[str, Any]) -> Iterator[Listener]:
        machine = row.get("machine")
        for name in (None,) if machine is None else (None, machine):
            for group in self._by_machine.get(name, {}).values():
                if row["event"] in group.events:
                    yield from group.find_interested(row)

    def _put_in_group(self, number: int, listener: Listener, interest: Interest) -> None:
        events, machines, span = interest
        group = self._groups.get((events, machines))
        if group is None:
            group = self._groups[events, machines] = _Group(events)
            for machine in _names_of(machines):
                self._by_machine.setdefault(machine, {})[id(group)] = group

        group.add(number, listener, span)

    def _take_from_group(self, number: int, interest: Interest) -> None:
        events, machines, span = interest
        group = self._groups[events, machines]
        group.remove(number, span)
        if group.is_empty:
            del self._groups[events, machines]
            for machine in _names_of(machines):
                groups = self._by_machine[machine]
                del groups[id(group)]
                if not groups:
                    del self._by_machine[machine]


def _names_of(machines: frozenset[str] | None) -> Iterable[str | None]:
    """Under which names a group is found: None is every record's."""
    return (None,) if machines is None else machines


class _Group:
    """Those who want the same events of the same machines."""

    def __init__(self, events: frozenset[str]) -> None:
        self.events = events
        self._anywhere: dict[int, Listener] = {}
        self._within: dict[int, Listener] = {}
        self._spans = OverlapIndex()

    @property
    def is_empty(self) -> bool:
        return not self._anywhere and not self._within

    def add(self, number: int, listener: Listener, span: tuple[int, int] | None) -> None:
        if span is None:
            self._anywhere[number] = listener
        else:
            self._within[number] = listener
            self._spans.add(*span, number)

    def remove(self, number: int, span: tuple[int, int] | None) -> None:
        if span is None:
            del self._anywhere[number]
        else:
            del self._within[number]
            self._spans.discard(*span, number)

    def find_interested(self, row: dict[str, Any]) -> Iterator[Listener]:
        yield from self._anywhere.values()
        if not self._within:
            return

        base = row.get("base")
        if base is None or not row["length"]:
            yield from self._within.values()
        else:
            for _, _, number in self._spans.overlapping(base, base + row["length"]):
                yield self._within[number]
