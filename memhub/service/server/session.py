"""What one client has open, and its rights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from memhub.abi import ILP32, LP64
from memhub.audit.rows.columns import process_columns
from memhub.core.service_events import ClientRefused
from memhub.errors import BadHandle
from memhub.service.server.rights import READ_RANGES, Grants

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.files import OpenFile
    from memhub.errors import DeviceError
    from memhub.handle import Handle
    from memhub.hub import Hub
    from memhub.process import Process
    from memhub.service.server.later import Later
    from memhub.service.server.rights import Peer
    from memhub.service.settings import ServiceConfig

_NULL: Final = {LP64.name: bytes(8), ILP32.name: bytes(4)}


class Entry:
    """One open handle of a client.

    Attributes:
        handle: the hub's handle.
        number: the hub's number for it.
        machine: the machine.
        model: the data model of its ioctls.
        may: bits of the rights on its machine.
        null: how a NULL pointer begins an ioctl's argument.
    """

    __slots__ = ("handle", "machine", "may", "model", "null", "number")

    def __init__(self, handle: Handle, may: int) -> None:
        self.handle = handle
        self.number = handle.number
        self.machine = handle.machine
        self.model = handle.file.model
        self.may = may
        self.null = _NULL[self.model.name]


@final
class Session:
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
        self.engine = hub.engine
        self.limits = settings.limits
        self.model = model
        self.service_facts = facts
        self.last_handle = 0

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
            error = self.grants.refusal(entry.machine.name, rights & ~entry.may)
            self.reject(op, error, entry.handle.file)
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

        self.engine.machine(name)

    def deny(self, op: str, machine: str, missing: int) -> NoReturn:
        """Record and raise the refusal of a client that lacks a right; see `Grants.refusal`."""
        error = self.grants.refusal(machine, missing)
        self.reject(op, error)
        raise error

    def reject(self, op: str, error: DeviceError, file: OpenFile | None = None) -> None:
        """Record a refusal of the service's own."""
        who = process_columns(self.process.principal) if file is None else file.caller.facts
        engine = self.engine
        engine.note(ClientRefused(who, str(self.peer), engine.now(), op, error))
