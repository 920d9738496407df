"""What one client has open, and what it may do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn, final

from memhub.abi import ILP32, LP64
from memhub.audit.rows.columns import process_columns
from memhub.core.files import KERNEL_FILES
from memhub.core.service_events import ClientRefused
from memhub.errors import NoSpace
from memhub.service.server.rights import READ_RANGES, Grants, missing_in_file, rights_in_file

if TYPE_CHECKING:
    from memhub.core.files import OpenFile
    from memhub.errors import DeviceError
    from memhub.handles.handle import Handle
    from memhub.handles.process import Process
    from memhub.service import wire
    from memhub.service.server.request_tasks import RequestTasks
    from memhub.service.server.rights import Peer
    from memhub.service.server.terms import ServiceTerms

#: The default machine, to a client that has no right there and learns no name.
DEFAULT_MACHINE: Final = "the default machine"

_NULL: Final = {LP64.name: bytes(8), ILP32.name: bytes(4)}


class Entry:
    """One open handle of a client.

    Attributes:
        handle: the hub's handle.
        number: the hub's number for it.
        machine: the machine.
        model: the data model of its ioctls.
        rights: bits of what the client may do on its machine.
        null_pointer: the bytes of a NULL pointer at the start of an ioctl's argument.
        maps: how often the client has mapped memory through it.
        kernel_file: whether another kernel than FreeBSD answers it. It shows ranges, so that those
            of memory count as those of ranges there.
    """

    __slots__ = (
        "handle",
        "kernel_file",
        "machine",
        "maps",
        "model",
        "null_pointer",
        "number",
        "rights",
    )

    def __init__(self, handle: Handle, rights: int) -> None:
        self.handle = handle
        self.number = handle.number
        self.machine = handle.machine
        self.model = handle.file.model
        self.kernel_file = handle.file.caller.device in KERNEL_FILES
        self.rights = rights_in_file(rights) if self.kernel_file else rights
        self.null_pointer = _NULL[self.model.name]
        self.maps = 0


@final
class Session:
    """One client's process, handles, rights and subscriptions.

    Args:
        terms: the hub, and the limits and rules of the service.
        peer: who the client is.
        process: its process in the hub.
        model: the data model of its handles, as HELLO gives it.
        tasks: the requests of the connection whose answers take time.
    """

    def __init__(
        self,
        terms: ServiceTerms,
        peer: Peer,
        process: Process,
        model: int,
        tasks: RequestTasks,
    ) -> None:
        self.hub = terms.hub
        self.peer = peer
        self.process = process
        self.tasks = tasks
        self.max_body = tasks.max_body
        self.entries: dict[int, Entry] = {}
        self.grants = Grants(terms.settings.rights, peer)
        self.engine = terms.hub.engine
        self.limits = terms.settings.limits
        self.model = model
        self.describe_service = terms.describe_service
        self.last_handle = 0

        #: What the client has put of a snapshot's file.
        self.put = bytearray()
        self.maps = 0

    # Checks

    def require_rights(self, entry: Entry, rights: int, op: str) -> None:
        """Refuse a client that lacks a right.

        Raises:
            NotPermitted: EPERM.
        """
        if rights & ~entry.rights:
            missing = rights & ~entry.rights
            missing = missing_in_file(missing) if entry.kernel_file else missing
            error = self.grants.refusal(entry.machine.name, missing)
            self.record_refusal(op, error, entry.handle.file)
            raise error

    def rights_on(self, machine: str) -> int:
        """The bits of what the client may do on a machine.

        For a machine that does not exist, the rules for all machines count. So a client cannot
        tell it from a machine on which it has no rights.
        """
        return self.grants.on(machine if machine in self.hub.machines else "")

    def check_machine(self, given: str, op: str) -> None:
        """Refuse a request about a machine that the client may not look at.

        Args:
            given: what the request calls it; empty is the default machine.
            op: the request, for the log.

        Raises:
            NotPermitted: EPERM; it lacks `read-ranges` there, whether or not the machine exists.
            NoSuchDevice: ENOENT; it does not exist, and the client may look at every machine.
        """
        name = given or self.hub.default
        rights = self.rights_on(name)
        if not rights & READ_RANGES:
            known = name if rights else given or DEFAULT_MACHINE
            self.raise_missing_right(op, known, READ_RANGES if rights else 0)

        self.engine.machine(name)

    def check_rights(self, op: str, rights: int, name: str, given: str) -> None:
        """Refuse a client that lacks a right on a machine.

        Args:
            op: the request, for the log.
            rights: bits of what it needs.
            name: the machine; empty is every machine.
            given: what the request calls it: a client that has no right there learns no name.

        Raises:
            NotPermitted: EPERM.
        """
        held = self.rights_on(name)
        if rights & ~held:
            self.raise_missing_right(op, (name if held else "") or given, rights & ~held)

    def check_limit(self, op: str, limit: str, used: int, what: str, more: int = 1) -> None:
        """Refuse a request that would take more than a limit allows.

        Args:
            op: the request, for the log.
            limit: the limit's name in `Limits`.
            used: how much the client has.
            what: of what, for the refusal.
            more: how much it asks for.

        Raises:
            NoSpace: ENOSPC.
        """
        most = getattr(self.limits, limit)
        if used + more > most:
            asked = "" if more == 1 else f" ({used} and {more} more were asked for)"
            self.refuse_space(op, f"{most} {what}, which is the limit{asked}")

    def refuse_space(self, op: str, reason: str) -> NoReturn:
        """Record and raise ENOSPC."""
        error = NoSpace(reason)
        self.record_refusal(op, error)
        raise error

    def check_wait(self, op: str) -> None:
        """Refuse a request that may wait where too many wait; see `check_limit`."""
        waiting = len(self.tasks.waiting)
        self.check_limit(op, "waits", waiting, "requests of this connection wait")

    def check_claims(self, entry: Entry, it: wire.Claim) -> None:
        """Refuse one more claim where too many are held; see `check_limit`.

        A claim of the very bytes of another is no more than that one with another lease.
        """
        process = self.process.principal
        held = sum(machine.claims.count_of(process.id) for machine in self.hub.machines.values())
        if held < self.limits.claims:
            return

        if entry.machine.claims.find_range(process, it.base, it.base + it.length) is None:
            self.check_limit("claim", "claims", held, "claims are held, or lost and not told")

    def raise_missing_right(self, op: str, machine: str, missing: int) -> NoReturn:
        """Record and raise the refusal of a client that lacks a right; see `Grants.refusal`."""
        error = self.grants.refusal(machine, missing)
        self.record_refusal(op, error)
        raise error

    def record_refusal(self, op: str, error: DeviceError, file: OpenFile | None = None) -> None:
        """Record that the service, not the machine, refused something."""
        who = process_columns(self.process.principal) if file is None else file.caller.facts
        engine = self.engine
        engine.note(ClientRefused(who, str(self.peer), engine.now(), op, error))
