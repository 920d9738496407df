"""What becomes true of caches, buffers and the bus."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from memhub.abi import Buffer as Bytes
    from memhub.core.caches.change import Arrival, CacheChange
    from memhub.core.files import Caller, Principal
    from memhub.core.instant import Instant
    from memhub.errors import DeviceError

FlushOp = Literal["flush", "writeback", "fence"]
BusOp = Literal["read", "write", "flush"]


class CachesChanged(NamedTuple):
    """Caches, buffers, or what the bus sees have changed; the log has no row for it."""

    change: CacheChange


class LinesReached(NamedTuple):
    """Lines and buffers reached the bus, in this order."""

    machine: str
    arch: str
    at: Instant
    process: Principal | None
    arrivals: tuple[Arrival, ...]


class LinesFlushed(NamedTuple):
    """A process flushed or wrote back lines, or drained its buffers, or could not."""

    caller: Caller
    at: Instant
    op: FlushOp
    base: int
    length: int
    error: DeviceError | None


class BusAccessed(NamedTuple):
    """A device read or wrote memory over the bus, or all caches were flushed.

    `written` is what it wrote where memory is coherent: the bytes, and those before.
    """

    machine: str
    arch: str
    at: Instant
    op: BusOp
    base: int
    length: int
    error: DeviceError | None
    written: tuple[Bytes, bytes] | None = None


CacheFact = CachesChanged | LinesReached | LinesFlushed | BusAccessed
