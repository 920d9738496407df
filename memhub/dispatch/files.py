"""Opening and closing device files."""

from __future__ import annotations

import itertools
from threading import get_ident
from typing import TYPE_CHECKING, Final

from memhub.audit import records
from memhub.core.machine import OpenFile
from memhub.dispatch.context import RETRY
from memhub.errors import BadHandle, DeviceError, InvalidArgument, LogFailed, NoSuchDevice

if TYPE_CHECKING:
    from memhub.abi import DataModel
    from memhub.core.machine import Device
    from memhub.core.requests import Principal
    from memhub.dispatch.context import Context

_DEVICES: Final[dict[str, Device]] = {"/dev/mem": "mem", "/dev/kmem": "kmem"}

#: Open modes: readable, writable, and open(2)'s access mode for the log.
_MODES: Final = {"r": (True, False, 0), "w": (False, True, 1), "r+": (True, True, 2)}


class FileDesk:
    """Where device files are opened and closed.

    Args:
        context: the machines and the journal.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._numbers = itertools.count(1)
        self._overdue: list[tuple[OpenFile, str]] = []
        self._thread = get_ident()
        context.close_owed = self.catch_up

    def open(
        self,
        process: Principal,
        path: str,
        mode: str = "r",
        *,
        undo: bool = False,
        model: DataModel | None = None,
    ) -> OpenFile:
        """Open a device file (`sys/dev/mem/memdev.c`, `memopen`).

        Args:
            process: who opens.
            path: `/dev/mem` or `/dev/kmem` of the default machine, `NAME:/dev/mem` of another.
            mode: `r`, `w` or `r+`.
            undo: undo on close what the process changes.
            model: the data model of its ioctls; the architecture's own if None.

        Raises:
            NoSuchDevice: ENOENT.
            NotPermitted: EPERM; for writing at a raised securelevel.
            InvalidArgument: EINVAL; an unknown mode.
            LogFailed: EIO; nothing was opened.
        """
        context = self._context
        began = context.clock.now().mono_ns
        try:
            file = self._make(process, path, mode, undo=undo, model=model)
        except DeviceError as error:
            if context.journal.active:
                flags = _MODES.get(mode, (0, 0, -1))[2]
                now = context.clock.now()
                facts = self._wanted(process, path)
                context.journal.note(records.opened(facts, now, began, flags, error))

            raise

        if context.journal.active:
            now = context.clock.now()
            context.journal.seal(records.opened(file.facts, now, began, _MODES[mode][2], None))

        file.machine.opened(file)

        return file

    def _wanted(self, process: Principal, path: str) -> dict[str, object]:
        """What a refused open says of the machine and device that it meant."""
        name, _, device = path.rpartition(":")
        machine = self._context.machines.get(name or self._context.default)

        return {
            **records.who(process),
            "machine": machine.name if machine is not None else name,
            "arch": machine.arch.name if machine is not None else "",
            "device": device,
        }

    def _make(
        self,
        process: Principal,
        path: str,
        mode: str,
        *,
        undo: bool,
        model: DataModel | None,
    ) -> OpenFile:
        name, _, device = path.rpartition(":")
        if device not in _DEVICES:
            raise NoSuchDevice(f"{path!r} is neither [NAME:]/dev/mem nor [NAME:]/dev/kmem")

        if mode not in _MODES:
            raise InvalidArgument(f"mode {mode!r} is none of r, w and r+")

        machine = self._context.machine(name)
        readable, writable, _ = _MODES[mode]
        machine.check_open(writable=writable)

        return OpenFile(
            id=next(self._numbers),
            machine=machine,
            process=process,
            device=_DEVICES[device],
            readable=readable,
            writable=writable,
            undo=undo,
            model=model or machine.arch.model,
        )

    def close(self, file: OpenFile, cause: str = "close") -> None:
        """Close a file: undo, end of the claims with the last one, and the record of it.

        Closing twice does nothing.

        Args:
            file: what to close.
            cause: `close`, `disconnect`, `cancelled`, `garbage` or `stop`, for the log.

        Raises:
            LogFailed: EIO; it is closed for its user, and what it held ends as soon as the log
                works, at the next request to the machine or after a moment.
        """
        if file.closed:
            return

        self._owe(file, cause)
        try:
            self.catch_up()
        except LogFailed:
            context = self._context
            context.set_deadline(file.machine, context.clock.now().after(RETRY))
            raise

    def close_all(self, cause: str) -> None:
        """Close every file of every machine, and do the closes that are owed.

        Raises:
            LogFailed: EIO; all are closed for their users, but some are owed.
        """
        for machine in self._context.machines.values():
            for file in [f for files in machine.files.values() for f in files.values()]:
                if not file.closed:
                    file.closed = True
                    machine.owed += 1
                    self._overdue.append((file, cause))

        self.catch_up()

    def abandon(self, file: OpenFile) -> None:
        """Close a file that the garbage collector found, as soon as that is safe.

        A collection may come in the midst of a request and in any thread. So the file is closed
        for its user now, and what it held ends before the next request to its machine, or when
        the event loop next has its turn.
        """
        self._owe(file, "garbage")
        if get_ident() == self._thread:
            self._context.set_deadline(file.machine, 0.0)

    def _owe(self, file: OpenFile, cause: str) -> None:
        file.closed = True
        file.machine.owed += 1
        self._overdue.append((file, cause))

    def catch_up(self) -> None:
        """Do the closes that are owed.

        Raises:
            LogFailed: EIO; the rest is still owed.
        """
        while self._overdue:
            file, cause = self._overdue[0]
            self._seal(file, cause)
            del self._overdue[0]
            file.machine.owed -= 1
            self._end(file)

    def _seal(self, file: OpenFile, cause: str) -> None:
        context, machine = self._context, file.machine
        now = context.clock.now()
        outcome = machine.closing(file)
        if outcome.error is not None:
            raise outcome.error

        if context.journal.active:
            entries = context.effects(machine, outcome)
            context.seal(machine, *entries, records.closed(file, now, now.mono_ns, cause))

    def _end(self, file: OpenFile) -> None:
        context, machine = self._context, file.machine
        for ticket in machine.closed(file):
            context.end_wait(machine, ticket)

        context.pump(machine)


def check(file: OpenFile) -> None:
    """Refuse a file that is closed.

    Raises:
        BadHandle: EBADF.
    """
    if file.closed:
        raise BadHandle(f"{file.path} is closed")
