"""What a process does with its caches, for the handles that await: clflush, clwb and sfence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.core.caches.requests import Fence, FlushLines

if TYPE_CHECKING:
    from memhub.async_shell import Checkpoint


class CacheCalls:
    """`flush`, `writeback` and `fence` of a handle; see `AsyncDeviceFile`."""

    number: int
    _checkpoint: Checkpoint

    async def flush(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep none of them (clflush)."""
        await self._checkpoint()
        await self._answer_request(FlushLines(self.number, base, length))

    async def writeback(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep them (clwb)."""
        await self._checkpoint()
        await self._answer_request(FlushLines(self.number, base, length, keep=True))

    async def fence(self) -> None:
        """Let the bus see the combining buffers of this process (sfence)."""
        await self._checkpoint()
        await self._answer_request(Fence(self.number))

    async def _answer_request(self, request: Any) -> Any:  # noqa: ANN401 - any request
        raise NotImplementedError
