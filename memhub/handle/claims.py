"""Claims of address ranges."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from anyio.lowlevel import checkpoint

from memhub.core.claims.waiting import Ticket
from memhub.handle.base import BaseHandle

if TYPE_CHECKING:
    from memhub.core.claims.claim import Claim


class ClaimFace(BaseHandle):
    """What a process holds on a machine."""

    async def claim(
        self,
        base: int,
        length: int,
        *,
        lease: float | None = None,
        wait: float | None = None,
    ) -> Claim:
        """Claim a stretch of addresses for this process, without changing an attribute.

        Args:
            base: first byte.
            length: bytes.
            lease: seconds after which it ends unless renewed; None lets it last.
            wait: seconds to wait for it; None answers EBUSY at once.

        Returns:
            the claim; its `fence` is the fencing number.

        Raises:
            RangeBusy: EBUSY; a byte of it is somebody else's.
            TimedOut: ETIMEDOUT; still BUSY after `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
            InvalidArgument: EINVAL; no such range, or no such lease.
        """
        await checkpoint()
        done = self._dispatch.claims.claim(self._file, base, length, lease, wait)
        outcome = await self._wait(done) if isinstance(done, Ticket) else done

        return cast("Claim", outcome.reply)

    async def release(self, base: int, length: int) -> None:
        """Give back this process's claims inside a range; the ranges stay programmed.

        Raises:
            NoSuchRange: ENOENT; it holds none there.
        """
        await checkpoint()
        self._dispatch.claims.release(self._file, base, length)

    async def renew(self, fence: int, lease: float | None) -> Claim:
        """Let a claim run for `lease` more seconds from now; None lets it last.

        Raises:
            RangeBusy: EBUSY; the claim is lost; the reason says when and why.
        """
        await checkpoint()

        return cast("Claim", self._dispatch.claims.renew(self._file, fence, lease).reply)

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing.

        Raises:
            TimedOut: ETIMEDOUT; not within `wait` seconds.
            WouldDeadlock: EDEADLK; the wait would close a circle.
        """
        await checkpoint()
        done = self._dispatch.claims.wait_free(self._file, base, length, wait)
        if isinstance(done, Ticket):
            await self._wait(done)
