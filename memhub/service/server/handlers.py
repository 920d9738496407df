"""Which function answers which request.

A function takes the session and a request. It returns the answer, or None where a task sends the
answer later (`request_tasks`). It never awaits, so that all requests of one receive are answered
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.errors import Cancelled
from memhub.service import wire
from memhub.service.server import handles, memory, ranges, watching

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.service.server.session import Session

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


HANDLERS: Final[dict[type[wire.Message], Callable[[Session, Any], Answer]]] = {
    wire.Ioctl: ranges.answer_ioctl,
    wire.Set: ranges.set_range,
    wire.Pread: memory.pread_file,
    wire.Pwrite: memory.pwrite_file,
    wire.Read: memory.read_file,
    wire.Write: memory.write_file,
    wire.Data: memory.take_data,
    wire.Seek: memory.seek_file,
    wire.Open: handles.open_handle,
    wire.Close: handles.close_handle,
    wire.Claim: ranges.claim_range,
    wire.Release: ranges.release_range,
    wire.Renew: ranges.renew_claim,
    wire.Wait: ranges.await_free,
    wire.Break: ranges.break_claims,
    wire.Subscribe: watching.subscribe_events,
    wire.Unsubscribe: watching.end_subscription,
    wire.Report: watching.report_hub,
    wire.Explain: ranges.explain_address,
    wire.Map: memory.map_file,
    wire.Ping: _answer_ping,
    wire.Cancel: _cancel_request,
    wire.Goodbye: _ignore_message,
    wire.Abort: _ignore_message,
}

_ALLOWED_WHILE_DRAINING: Final = (wire.Data, wire.Cancel, wire.Goodbye, wire.Abort)

#: What answers while the service stops: requests that have begun go on, new ones are refused.
DRAINING_HANDLERS: Final = {
    kind: handler if kind in _ALLOWED_WHILE_DRAINING else _refuse_new
    for kind, handler in HANDLERS.items()
}
