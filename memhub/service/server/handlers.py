"""Which function answers which request.

A function takes the session and a request and returns the answer, or None where the answer comes
later (`later`). It never awaits: all requests of one receive are answered in one turn.
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


def _ping(_session: Session, it: wire.Ping) -> Answer:
    return wire.Done(it.request, it.cookie)


def _cancel(session: Session, it: wire.Cancel) -> Answer:
    """CANCEL: the request's own answer is the answer."""
    return session.later.cancel(it.request)


def _refuse(_session: Session, _it: wire.Message) -> Answer:
    """Any new request once the service stops."""
    raise Cancelled("the service stops and takes no new requests")


def _ignore(_session: Session, _it: wire.Message) -> Answer:
    """GOODBYE, ABORT: the protocol has taken note."""
    return None


HANDLERS: Final[dict[type[wire.Message], Callable[[Session, Any], Answer]]] = {
    wire.Ioctl: ranges.answer_ioctl,
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
    wire.Subscribe: watching.subscribe,
    wire.Unsubscribe: watching.unsubscribe,
    wire.Report: watching.report,
    wire.Explain: ranges.explain_address,
    wire.Map: memory.map_file,
    wire.Ping: _ping,
    wire.Cancel: _cancel,
    wire.Goodbye: _ignore,
    wire.Abort: _ignore,
}

_GOING_ON: Final = (wire.Data, wire.Cancel, wire.Goodbye, wire.Abort)

#: What answers while the service stops: what is under way goes on, nothing new begins.
LEAVING: Final = {
    kind: handler if kind in _GOING_ON else _refuse for kind, handler in HANDLERS.items()
}
