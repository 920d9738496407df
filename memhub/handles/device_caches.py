"""What a process can do with caches through an open device file: clflush, clwb and sfence.

On a machine whose memory is coherent, which is the default, all of it does nothing.
"""

from __future__ import annotations

from typing import Protocol


class AsyncCacheFile(Protocol):
    """The part of `memhub.handles.device_file.AsyncDeviceFile` that concerns caches."""

    async def flush(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep none (clflush); docs/memory.md.

        Args:
            base: first byte, physical on `/dev/mem`, kernel virtual on `/dev/kmem`.
            length: bytes.

        Raises:
            BadAddress: EFAULT; part of it is not reachable.
            InvalidArgument: EINVAL; no span of 64-bit addresses.
            NotSupported: EOPNOTSUPP; a service of an earlier version.
        """

    async def writeback(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep them (clwb); else as `flush`."""

    async def fence(self) -> None:
        """Let the bus see the combining buffers of this process (sfence); else as `flush`."""


class CacheFile(Protocol):
    """The same for callers that block."""

    def flush(self, base: int, length: int) -> None:
        """See `AsyncCacheFile.flush`."""

    def writeback(self, base: int, length: int) -> None:
        """See `AsyncCacheFile.writeback`."""

    def fence(self) -> None:
        """See `AsyncCacheFile.fence`."""
