"""Which function answers which request.

A function takes the session and a request, and the open handle where the request names one. It
returns the answer, or None where a task sends the answer later (`request_tasks`). It never awaits,
so that all requests of one receive are answered together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.errors import Cancelled
from memhub.service import wire
from memhub.service.server import (
    devices,
    fault_rules,
    handles,
    kernels,
    memory,
    ranges,
    snapshots,
    watching,
)
from memhub.service.server.rights import (
    BREAK_CLAIMS,
    READ_MEMORY,
    READ_RANGES,
    SET_RANGES,
    WRITE_MEMORY,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.service.server.session import Entry, Session

    Answer = wire.Message | None


def _answer_ping(_session: Session, it: wire.Ping) -> Answer:
    return wire.Done(it.request, it.cookie)


def _cancel_request(session: Session, it: wire.Cancel) -> Answer:
    """CANCEL has no answer of its own: the cancelled request is answered."""
    return session.tasks.cancel_request(it.request)


def _refuse_new(_session: Session, _it: wire.Message) -> Answer:
    """Any new request while the service stops."""
    raise Cancelled("the service is stopping and takes no new requests")


def _ignore_message(_session: Session, _it: wire.Message) -> Answer:
    """GOODBYE, ABORT: the protocol object has handled them."""
    return None


class HandleRequest(NamedTuple):
    """How a request on an open handle is answered.

    Attributes:
        answer: the function, which gets the open handle.
        rights: bits of what the client must be allowed on the handle's machine.
        op: the request, in the record of a refusal.
    """

    answer: Callable[[Session, Entry, Any], Answer]
    rights: int
    op: str


#: The requests whose field `handle` names an open handle. An ioctl needs another right for each
#: command, and a mapping one more to be written; both functions check that themselves.
HANDLE_REQUESTS: Final[Mapping[type[wire.Message], HandleRequest]] = {
    wire.Ioctl: HandleRequest(ranges.answer_ioctl, 0, "ioctl"),
    wire.Set: HandleRequest(ranges.set_range, SET_RANGES, "ioctl"),
    wire.Pread: HandleRequest(memory.pread_file, READ_MEMORY, "read"),
    wire.Pwrite: HandleRequest(memory.pwrite_file, WRITE_MEMORY, "write"),
    wire.Read: HandleRequest(memory.read_file, READ_MEMORY, "read"),
    wire.Write: HandleRequest(memory.write_file, WRITE_MEMORY, "write"),
    wire.Seek: HandleRequest(memory.seek_file, 0, "seek"),
    wire.Map: HandleRequest(memory.map_file, READ_MEMORY, "map"),
    wire.Close: HandleRequest(handles.close_handle, 0, "close"),
    wire.Claim: HandleRequest(ranges.claim_range, SET_RANGES, "claim"),
    wire.Release: HandleRequest(ranges.release_range, SET_RANGES, "release"),
    wire.Renew: HandleRequest(ranges.renew_claim, SET_RANGES, "renew"),
    wire.Wait: HandleRequest(ranges.await_free, READ_RANGES, "wait"),
    wire.Break: HandleRequest(ranges.break_claims, BREAK_CLAIMS, "break"),
    wire.Flush: HandleRequest(memory.flush_lines, READ_MEMORY, "flush"),
    wire.Call: HandleRequest(kernels.call_kernel, READ_RANGES, "call"),
    wire.Explain: HandleRequest(ranges.explain_address, READ_RANGES, "explain"),
}

#: All other frames that a client may send after its HELLO.
OTHER_REQUESTS: Final[Mapping[type[wire.Message], Callable[[Session, Any], Answer]]] = {
    wire.Open: handles.open_handle,
    wire.Data: memory.take_data,
    wire.Subscribe: watching.subscribe_events,
    wire.Unsubscribe: watching.end_subscription,
    wire.Report: watching.report_hub,
    wire.Ping: _answer_ping,
    wire.Faults: fault_rules.answer_faults,
    wire.Snapshot: snapshots.answer_snapshot,
    wire.Show: devices.answer_show,
    wire.Cancel: _cancel_request,
    wire.Goodbye: _ignore_message,
    wire.Abort: _ignore_message,
}

_ALLOWED_WHILE_DRAINING: Final = (wire.Data, wire.Cancel, wire.Goodbye, wire.Abort)

#: What answers while the service stops, in place of both tables: requests that have begun go on,
#: new ones are refused.
DRAINING_REQUESTS: Final = {
    kind: OTHER_REQUESTS[kind] if kind in _ALLOWED_WHILE_DRAINING else _refuse_new
    for kind in (*HANDLE_REQUESTS, *OTHER_REQUESTS)
}
