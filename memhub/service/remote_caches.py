"""`flush`, `writeback` and `fence` of an open file of a service, as requests."""

from __future__ import annotations

from memhub.arguments import take_span, wrong_span
from memhub.service import wire
from memhub.service.client_errors import invalid_argument, not_on_the_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memhub.service.remote_file import RemoteFile


def flush_request(
    file: RemoteFile, features: int, base: int, length: int, *, keep: bool
) -> wire.Flush:
    """FLUSH of lines.

    Raises:
        NotSupported: EOPNOTSUPP; the service is of a version without it.
        InvalidArgument: EINVAL; the span does not fit 64 bits.
    """
    base, length = take_span(base, length)
    number = file.open_number()
    _need_caches(features)
    if reason := wrong_span(base, length):
        raise invalid_argument(reason)

    return wire.Flush(0, number, wire.FLUSH_KEEP if keep else wire.FLUSH_DROP, base, length)


def fence_request(file: RemoteFile, features: int) -> wire.Flush:
    """FLUSH of buffers; errors are those of `flush_request`."""
    number = file.open_number()
    _need_caches(features)

    return wire.Flush(0, number, wire.FLUSH_FENCE, 0, 0)


def _need_caches(features: int) -> None:
    if not features & wire.FEATURE_CACHES:
        raise not_on_the_wire("the service is of a version without FLUSH")
