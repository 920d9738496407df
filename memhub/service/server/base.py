"""What one client has open, its rights, and the requests that open and close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn

from memhub.abi import ILP32, LP64
from memhub.errors import BadHandle, InvalidArgument, NoSpace
from memhub.service import wire
from memhub.service.server import auditing
from memhub.service.server.rights import READ_RANGES, WRITE_MEMORY, Grants

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.machine import OpenFile
    from memhub.errors import DeviceError
    from memhub.handle import Handle
    from memhub.hub import Hub
    from memhub.process import Process
    from memhub.service.server.later import Later
    from memhub.service.server.rights import Peer
    from memhub.service.settings import ServiceConfig

    Answer = wire.Message | None

_MODES: Final = {wire.OPEN_READ: "r", wire.OPEN_WRITE: "w", 3: "r+"}
_MODELS: Final = (None, LP64, ILP32)
_NULL: Final = {LP64.name: bytes(8), ILP32.name: bytes(4)}


class Entry:
    """One open handle of a client.

    Attributes:
        handle: the hub's handle.
        file: what it refers to.
        may: bits of the rights on its machine.
        null: how a NULL pointer begins an ioctl's argument.
    """

    __slots__ = ("file", "handle", "may", "null")

    def __init__(self, handle: Handle, may: int) -> None:
        self.handle = handle
        self.file = handle.file
        self.may = may
        self.null = _NULL[handle.file.model.name]


class SessionBase:
    """One client's process, handles, rights and subscriptions.

    Args:
        hub: what serves it.
        settings: limits and rules.
        peer: who it is.
        process: its process in the hub.
        model: the data model of its handles, as HELLO gives it.
        later: where requests go whose answers take time.
        facts: what the service says of itself in a report.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServiceConfig,
        peer: Peer,
        process: Process,
        model: int,
        later: Later,
        facts: Callable[[], dict[str, Any]],
    ) -> None:
        self.hub = hub
        self.peer = peer
        self.process = process
        self.later = later
        self.max_body = later.max_body
        self.entries: dict[int, Entry] = {}
        self.grants = Grants(settings.rights, peer)
        self._dispatch = hub.dispatch
        self._limits = settings.limits
        self._model = model
        self._facts = facts
        self._last = 0

    # Handles

    def entry(self, number: int) -> Entry:
        """An open handle.

        Raises:
            BadHandle: EBADF; not open on this connection.
        """
        try:
            return self.entries[number]
        except KeyError:
            raise BadHandle(f"handle {number} is not open on this connection") from None

    def need(self, entry: Entry, rights: int, op: str) -> None:
        """Refuse a client that lacks a right.

        Raises:
            NotPermitted: EPERM.
        """
        if rights & ~entry.may:
            error = self.grants.refusal(entry.file.machine.name, rights & ~entry.may)
            self.reject(op, error, entry.file)
            raise error

    def rights_on(self, machine: str) -> int:
        """The bits of what the client may do on a machine.

        A machine that is not there is one like any other, on which only the rules for all
        machines speak. So a client cannot tell it from one that it has no right to.
        """
        return self.grants.on(machine if machine in self.hub.machines else "")

    def check_machine(self, name: str, op: str) -> None:
        """Refuse to tell of a machine that the client may not look at.

        Raises:
            NotPermitted: EPERM; it lacks `read-ranges` there, whether or not the machine exists.
            NoSuchDevice: ENOENT; there is none, and it may look at every machine that there is.
        """
        may = self.rights_on(name)
        if not may & READ_RANGES:
            self.deny(op, name, READ_RANGES if may else 0)

        self._dispatch.context.machine(name)

    def deny(self, op: str, machine: str, missing: int) -> NoReturn:
        """Record and raise the refusal of a client that lacks a right; see `Grants.refusal`."""
        error = self.grants.refusal(machine, missing)
        self.reject(op, error)
        raise error

    def reject(self, op: str, error: DeviceError, file: OpenFile | None = None) -> None:
        """Record a refusal of the service's own."""
        journal = self._dispatch.context.journal
        if journal.active:
            now = self._dispatch.context.clock.now()
            who = self.process.principal
            journal.note(auditing.rejected(self.peer, now, op, error, who, file))

    def open(self, it: wire.Open) -> Answer:
        """OPEN."""
        mode = _MODES.get(it.flags & 3)
        if mode is None:
            raise InvalidArgument("OPEN asks for neither reading nor writing")

        if len(self.entries) >= self._limits.handles:
            full = NoSpace(f"{len(self.entries)} handles are open, which is the limit")
            self.reject("open", full)
            raise full

        named = it.path.rpartition(":")[0]
        machine = named or self._dispatch.context.default
        may = self.rights_on(machine)
        missing = WRITE_MEMORY & ~may if it.flags & wire.OPEN_WRITE else 0
        if not may:
            self.deny("open", named or "the default machine", 0)
        elif missing:
            self.deny("open", machine, missing)

        handle = self.process.open_nowait(
            it.path,
            mode,
            undo=bool(it.flags & wire.OPEN_UNDO),
            model=_MODELS[it.model or self._model],
        )
        self._last += 1
        self.entries[self._last] = entry = Entry(handle, may)
        file = entry.file
        model = 1 if file.model is LP64 else 2

        return wire.Opened(
            it.request, self._last, model, 0, file.machine.arch.name, file.machine.name
        )

    def close(self, it: wire.Close) -> Answer:
        """CLOSE."""
        entry = self.entry(it.handle)
        del self.entries[it.handle]
        entry.handle.close()

        return wire.Done(it.request)
