"""What every request comes to: `decide(machine, request, now)`.

`decide` is pure: it changes nothing, and the same machine, request and moment give the same
decision. `Machine.apply` makes the facts of a decision true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.core import requests
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.cache_requests import decide_fence, decide_flush
from memhub.core.deciding.claim_requests import (
    decide_break,
    decide_claim,
    decide_free,
    decide_release,
    decide_renew,
)
from memhub.core.deciding.explain_many import ExplainMany, decide_explain_many
from memhub.core.deciding.extract_address import ExtractAddress, decide_extract
from memhub.core.deciding.get_ranges import decide_get, decide_refuse_ioctl
from memhub.core.deciding.kernel_requests import CallKernel, decide_call
from memhub.core.deciding.open_close import decide_close
from memhub.core.deciding.serving import decide_abandon, decide_tick
from memhub.core.deciding.set_ranges import decide_set
from memhub.core.deciding.transfers import decide_explain, decide_read, decide_seek, decide_write

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.core.decision import Decision
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine

#: Who decides: one function for each request to an open file or a machine.
DECIDERS: Final[Mapping[type, Callable[[Machine, Any, Instant], Decision]]] = {
    requests.Close: decide_close,
    requests.Seek: decide_seek,
    requests.Read: decide_read,
    requests.Pread: decide_read,
    requests.Write: decide_write,
    requests.Pwrite: decide_write,
    requests.GetRanges: decide_get,
    requests.RefuseIoctl: decide_refuse_ioctl,
    requests.SetRange: decide_set,
    requests.ClaimRange: decide_claim,
    requests.AwaitFree: decide_free,
    requests.ReleaseRange: decide_release,
    requests.RenewClaim: decide_renew,
    requests.BreakClaim: decide_break,
    requests.Abandon: decide_abandon,
    requests.Explain: decide_explain,
    ExplainMany: decide_explain_many,
    ExtractAddress: decide_extract,
    requests.Tick: decide_tick,
    FlushLines: decide_flush,
    Fence: decide_fence,
    CallKernel: decide_call,
}

#: The requests whose answer does not depend on the present moment; only their facts have it.
TIMELESS: Final = frozenset(
    {requests.GetRanges, requests.Read, requests.Pread, requests.Write, requests.Pwrite}
)


def decide(machine: Machine, request: requests.Request[Any], now: Instant) -> Decision:
    """Say what a request comes to; nothing is changed.

    Args:
        machine: the machine that the request is for.
        request: what is asked.
        now: the present moment.

    Returns:
        the reply or the error, and the facts.

    Raises:
        NeedsDevice: a device model answers part of a transfer.
    """
    return DECIDERS[type(request)](machine, request, now)
