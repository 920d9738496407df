"""What one client asks, and the answers that are given at once.

A handler takes a request and returns its answer, or None where the answer comes later
(`later`). It never awaits: all requests of one receive are answered in one turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, final

import orjson

from memhub.errors import Cancelled, InvalidArgument
from memhub.service import wire
from memhub.service.server.memory import MemoryRequests
from memhub.service.server.ranges import RangeRequests
from memhub.service.server.rights import READ_RANGES

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.service.server.base import Answer


@final
class Session(MemoryRequests, RangeRequests):
    """One client's process, handles, rights and subscriptions; see `SessionBase`."""

    def subscribe(self, it: wire.Subscribe) -> Answer:
        """SUBSCRIBE."""
        if it.machine:
            self.check_machine(it.machine, "subscribe")

        whole = not it.length
        subscription = self.hub.subscribe(
            machine=it.machine or None,
            machines=self._seen(),
            base=None if whole else it.base,
            length=None if whole else it.length,
            size=min(it.queue, 1 << 16) or 1024,
        )

        return wire.Done(it.request, self.later.forward(subscription))

    def unsubscribe(self, it: wire.Unsubscribe) -> Answer:
        """UNSUBSCRIBE."""
        self.later.stop_forwarding(it.subscription)

        return wire.Done(it.request)

    def _seen(self) -> set[str]:
        """The machines that the client may look at; it hears of no other."""
        return {name for name in self.hub.machines if self.rights_on(name) & READ_RANGES}

    def report(self, it: wire.Report) -> Answer:
        """REPORT."""
        if it.machine:
            self.check_machine(it.machine, "report")

        wanted = {word for word in it.what.split(",") if word}
        unknown = wanted - {"machines", "claims", "waits", "rates"}
        if unknown:
            raise InvalidArgument(f"REPORT knows nothing of {', '.join(sorted(unknown))}")

        seen = self._seen()
        whole = self.hub.report()
        whole["machines"] = [
            _part(row, wanted)
            for row in whole["machines"]
            if it.machine in ("", row["machine"]) and row["machine"] in seen
        ]
        if not wanted or "rates" in wanted:
            whole["service"] = self._facts()

        return self.later.text(it, orjson.dumps(whole))

    def ping(self, it: wire.Ping) -> Answer:
        """PING."""
        return wire.Done(it.request, it.cookie)

    def cancel(self, it: wire.Cancel) -> Answer:
        """CANCEL: the request's own answer is the answer."""
        return self.later.cancel(it.request)

    def refuse(self, _: wire.Message) -> Answer:
        """Any new request once the service stops."""
        raise Cancelled("the service stops and takes no new requests")

    def nothing(self, _: wire.Message) -> Answer:
        """GOODBYE, ABORT: the protocol has taken note."""
        return None


def _part(row: dict[str, Any], wanted: set[str]) -> dict[str, Any]:
    if not wanted or "machines" in wanted:
        return row

    keys = {"machine", "arch"}
    keys |= {"claims", "commits"} if "claims" in wanted else set()
    keys |= {"waits", "waits_for"} if "waits" in wanted else set()

    return {key: value for key, value in row.items() if key in keys}


HANDLERS: Final[dict[type[wire.Message], Callable[[Session, Any], Answer]]] = {
    wire.Ioctl: Session.ioctl,
    wire.Pread: Session.pread,
    wire.Pwrite: Session.pwrite,
    wire.Read: Session.read,
    wire.Write: Session.write,
    wire.Data: Session.data,
    wire.Seek: Session.seek,
    wire.Open: Session.open,
    wire.Close: Session.close,
    wire.Claim: Session.claim,
    wire.Release: Session.release,
    wire.Renew: Session.renew,
    wire.Wait: Session.wait,
    wire.Break: Session.break_claims,
    wire.Subscribe: Session.subscribe,
    wire.Unsubscribe: Session.unsubscribe,
    wire.Report: Session.report,
    wire.Explain: Session.explain,
    wire.Map: Session.map,
    wire.Ping: Session.ping,
    wire.Cancel: Session.cancel,
    wire.Goodbye: Session.nothing,
    wire.Abort: Session.nothing,
}

_GOING_ON: Final = (wire.Data, wire.Cancel, wire.Goodbye, wire.Abort)

#: What answers while the service stops: what is under way goes on, nothing new begins.
LEAVING: Final = {
    kind: handler if kind in _GOING_ON else Session.refuse for kind, handler in HANDLERS.items()
}
