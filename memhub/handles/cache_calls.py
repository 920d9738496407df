"""What a process does beside files and ranges, for the handles that await.

With its caches: clflush, clwb and sfence. With another kernel than FreeBSD: its system calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.arguments import take_text
from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.kernel_requests import CallKernel

if TYPE_CHECKING:
    from memhub.handles.async_shell import Checkpoint


class CacheCalls:
    """`flush`, `writeback`, `fence` and `call_kernel` of a handle, see `AsyncDeviceFile`."""

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

    async def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as the kernel answers
        """Make a system call of the machine's kernel that needs no file, as NetBSD's `set`."""
        await self._checkpoint()

        return await self._answer_request(
            CallKernel(self.number, take_text("op", op), args, system=True)
        )

    async def _answer_request(self, request: Any) -> Any:  # noqa: ANN401 - any request
        raise NotImplementedError
