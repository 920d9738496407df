"""The open files of one hub: which machine each is on, and what is owed while the log fails."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from memhub.core.requests import Close
from memhub.errors import BadHandle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memhub.core.files import OpenFile
    from memhub.core.machine import Machine
    from memhub.core.service_events import ServiceEvent


class OwedClose(NamedTuple):
    """A close that the log has not taken yet.

    Attributes:
        machine: the machine.
        request: the close.
    """

    machine: Machine
    request: Close


class OpenFiles:
    """Open files by number.

    A file is closed for its user at once. What it held ends with a Close request, which is owed
    until the log has taken it.

    Attributes:
        machines: the machine of each file that is open for its user.
        ended: whether the hub is closed, and nothing will be opened again.
    """

    def __init__(self) -> None:
        self.machines: dict[int, Machine] = {}
        self.ended = False
        self._last = 0
        self._on_close: dict[int, list[Callable[[], object]]] = {}
        self._owed: list[OwedClose | ServiceEvent] = []

    def check_in_use(self) -> None:
        """Refuse what needs machines once they are taken away.

        Raises:
            BadHandle: EBADF; the hub is closed.
        """
        if self.ended:
            raise BadHandle("the hub is closed, and its machines with it")

    def next_number(self) -> int:
        """A number that no file has had."""
        self._last += 1

        return self._last

    def take_over(self, machines: Iterable[Machine]) -> None:
        """Have the files open that are open on some machines."""
        for machine in machines:
            for file in machine.files:
                self.machines[file.caller.handle] = machine

        self._last = max(self.machines, default=0)

    def last_process(self) -> int:
        """The highest number of a process that has a file open; 0 where none has."""
        open_now = (machine.files[number] for number, machine in self.machines.items())

        return max((file.caller.process.id for file in open_now), default=0)

    def machine_of(self, handle: int) -> Machine:
        """The machine of an open file.

        Raises:
            BadHandle: EBADF; the file is closed.
        """
        machine = self.machines.get(handle)
        if machine is None:
            raise BadHandle.of_closed(handle)

        return machine

    def file(self, handle: int) -> OpenFile:
        """An open file.

        Raises:
            BadHandle: EBADF; it is closed.
        """
        return self.machine_of(handle).files[handle]

    @contextmanager
    def call_on_close(self, handle: int, tell: Callable[[], object]) -> Iterator[None]:
        """A block in which `tell` is called if the file is closed for its user."""
        calls = self._on_close.setdefault(handle, [])
        calls.append(tell)
        try:
            yield
        finally:
            calls.remove(tell)
            if not calls:
                self._on_close.pop(handle, None)

    def is_open(self, handle: int) -> bool:
        """Whether a file is open for its user."""
        return handle in self.machines

    def owe_close(self, handle: int, cause: str) -> bool:
        """Close a file for its user.

        Returns:
            whether it was open.
        """
        machine = self.machines.pop(handle, None)
        if machine is None:
            return False

        self._owed.append(OwedClose(machine, Close(handle, cause)))
        for tell in self._on_close.get(handle, ()):
            tell()

        return True

    def owe_all(self, machines: Iterable[Machine], cause: str) -> None:
        """Close every file of some machines for its user."""
        for machine in machines:
            for handle in [file.caller.handle for file in machine.files]:
                self.owe_close(handle, cause)

    def owe_note(self, fact: ServiceEvent) -> None:
        """Keep a fact whose record has its place behind the closes that are owed."""
        self._owed.append(fact)

    def owed(self) -> Iterator[OwedClose | ServiceEvent]:
        """Closes, and facts to note, oldest first.

        Each is owed until the next is asked for.
        """
        while self._owed:
            yield self._owed[0]
            del self._owed[0]
