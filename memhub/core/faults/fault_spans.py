"""What a fault rule looks at in a request: its operation, and the addresses that it names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.abi import U64_MAX
from memhub.core import requests
from memhub.core.caches.requests import FlushLines
from memhub.core.deciding.explain_many import ExplainMany, span_of_many
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.faults.fault_rules import OPERATIONS

if TYPE_CHECKING:
    from memhub.core.machine import Machine


#: The requests that are of a span.
_SPANS: Final = (requests.ClaimRange, requests.AwaitFree, requests.ReleaseRange, FlushLines)

#: The calls through another kernel's file, which have the words of any file. Other calls are met by
#: rules that name no operation: NetBSD's `set` is no MEMRANGE_SET.
_FILE_WORDS: Final = frozenset({"read", "write", "seek", "ioctl"})


def operation_of(request: Any) -> str:  # noqa: ANN401 - any request that rules meet
    """The word of a request's operation."""
    if isinstance(request, FlushLines) and request.keep:
        return "writeback"

    if not isinstance(request, CallKernel):
        return OPERATIONS[type(request)]

    return request.op if request.op in _FILE_WORDS else "call"


def find_span(machine: Machine, request: Any) -> tuple[int, int] | None:  # noqa: ANN401
    """First byte and length of what a request names; None where it names nothing that fits."""
    if isinstance(request, CallKernel):
        size = len(request.args.get("data", "")) or request.args.get("length", 0)
        return _whole_span(0, size) if request.op in ("read", "write") else None

    if isinstance(request, requests.Read):
        return _whole_span(_start_of(machine, request), request.length)

    if isinstance(request, requests.Write):
        try:
            return _whole_span(_start_of(machine, request), memoryview(request.data).nbytes)
        except TypeError:
            return None  # what is no buffer is refused by the request itself

    if isinstance(request, requests.SetRange):
        return request.desc.mr_base, request.desc.mr_len

    if isinstance(request, requests.Explain):
        return _whole_span(request.address, 1)

    if isinstance(request, ExplainMany):
        return span_of_many(request)

    if isinstance(request, requests.RenewClaim):
        claim = machine.claims.claims.get(request.fence)
        return None if claim is None else (claim.base, claim.end - claim.base)

    if isinstance(request, _SPANS):
        return _whole_span(request.base, request.length)

    return None


def _start_of(machine: Machine, request: requests.Read | requests.Write) -> object:
    file = machine.files.files[request.handle]

    return file.offset if request.offset is None else request.offset


def _whole_span(base: object, length: object) -> tuple[int, int] | None:
    """A span of two integers that a log can hold."""
    if not (isinstance(base, int) and isinstance(length, int)):
        return None

    return (base, length) if 0 <= base <= U64_MAX and 0 <= length <= U64_MAX else None
