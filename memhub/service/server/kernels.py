"""CALL: the system calls of another kernel than FreeBSD that need no file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.core.deciding.kernel_requests import CallKernel
from memhub.errors import InvalidArgument
from memhub.service import wire
from memhub.service.server.rights import SET_RANGES

if TYPE_CHECKING:
    from memhub.core.machine import Machine
    from memhub.service.server.session import Entry, Session

    Answer = wire.Message | None


def call_kernel(session: Session, entry: Entry, it: wire.Call) -> Answer:
    """CALL."""
    session.require_rights(entry, SET_RANGES if _may_change(entry.machine, it.op) else 0, "call")
    asked = CallKernel(entry.number, it.op, _read_arguments(it), system=True)

    return session.tasks.send_text(it, wire.pack_plain(session.engine.submit(asked)))


def _may_change(machine: Machine, op: str) -> bool:
    """Whether a call may change ranges; one that the kernel does not have changes nothing."""
    if machine.served is None:
        return False

    kernel = machine.served.kernel

    return op in kernel.process_ops and op not in kernel.looking_ops


def _read_arguments(it: wire.Call) -> dict[str, Any]:
    try:
        found = wire.read_plain(it.args)
    except ValueError as error:
        raise InvalidArgument(f"the args of CALL are no JSON of such values: {error}") from None

    if not isinstance(found, dict):
        raise InvalidArgument(f"the args of CALL are {found!r:.80}, not a JSON object")

    return found
