"""An open device over the service, with the face of `memhub.handle.Handle`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Self, final

from memhub.service import calls, wire
from memhub.service.client.caller import Waiter
from memhub.service.mapped import MappedMemory
from memhub.service.opened import OpenedHandle

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, RangeDesc
    from memhub.service.client.caller import Caller


@final
class RemoteHandle(OpenedHandle):
    """An open device of a service, see `OpenedHandle`; made by `RemoteHub.open`."""

    def __init__(self, caller: Caller, opened: wire.Opened, path: str) -> None:
        super().__init__(opened, path)
        self._caller = caller

    # Closing

    def close(self) -> None:
        """Close; the service is told without waiting for its answer. Twice does nothing."""
        if not self._closed:
            self._closed = True
            if self._caller.gone is None:
                self._caller.post(wire.Close(0, self._number), Waiter())

    async def aclose(self) -> None:
        """Close, and wait until the service has done so."""
        if not self._closed:
            self._closed = True
            await self._caller.ask(wire.Close(0, self._number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    # Memory

    async def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on."""
        return bytes(await self._caller.ask(wire.Read(0, self._open(), length)))

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`; the handle's own does not move."""
        return bytes(await self._caller.ask(wire.Pread(0, self._open(), offset, length)))

    async def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on; the bytes written."""
        return await self._caller.write(wire.Write(0, self._open(), 0, b""), bytes(data))

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`; the handle's own does not move."""
        return await self._caller.write(wire.Pwrite(0, self._open(), offset, 0, b""), bytes(data))

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset; the new one."""
        done = await self._caller.ask(calls.seek_request(self._open(), offset, whence))

        return int(done.value)

    async def map(self, *, write: bool = False) -> MappedMemory:
        """The machine's memory, mapped into this process.

        Args:
            write: for writing too; where the machine does not allow it, EPERM.
        """
        rights = wire.MAP_READ | (wire.MAP_WRITE if write else 0)
        mapped, fd = await self._caller.ask_map(wire.Map(0, self._open(), rights))

        return MappedMemory(fd, tuple(mapped.rows), writable=bool(mapped.rights & wire.MAP_WRITE))

    # Ranges

    async def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
    ) -> calls.IoctlReply:
        """Make an ioctl in the device's own binary layout."""
        layout = self._layout
        room = calls.room_of(self._caller.limits, layout)
        asked = calls.ioctl_request(self._open(), layout, request, op, descs, room, wait)

        return calls.ioctl_reply(op, layout, await self._caller.ask(asked))

    async def _image(self) -> bytes:
        room = calls.room_of(self._caller.limits, self._layout)
        asked = calls.get_request(self._open(), self._layout, calls.EVERY, room)
        reply: wire.IoctlDone = await self._caller.ask(asked)

        return reply.desc

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        return self._layout.model().unpack_table(await self._image())

    async def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array; see `DataModel.dtype`."""
        return self._layout.model().array(await self._image())

    async def set_range(
        self,
        base: int,
        length: int,
        attribute: int,
        *,
        owner: str = "user",
        force: bool = False,
        wait: float | None = None,
        fence: int | None = None,
    ) -> None:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE; see `Handle.set_range`."""
        await self._caller.ask(
            calls.update_request(
                self._open(),
                self._layout,
                base,
                length,
                attribute,
                owner,
                force=force,
                wait=wait,
                fence=fence,
            )
        )

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> None:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; see `Handle.remove_range`."""
        await self._caller.ask(
            calls.remove_request(self._open(), self._layout, base, length, wait=wait, fence=fence)
        )

    async def explain(self, address: int) -> dict[str, object]:
        """The effective type of an address, and why."""
        import json

        found: dict[str, object] = json.loads(
            await self._caller.ask(wire.Explain(0, self._open(), address))
        )

        return found

    # Claims

    async def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> calls.HeldClaim:
        """Claim a stretch of addresses; see `Handle.claim`."""
        times = calls.milliseconds(lease), calls.milliseconds(wait)

        return calls.claimed(
            await self._caller.ask(wire.Claim(0, self._open(), *times, base, length))
        )

    async def release(self, base: int, length: int) -> None:
        """Give back this process's claims inside a range."""
        await self._caller.ask(wire.Release(0, self._open(), base, length, 0))

    async def renew(self, fence: int, lease: float | None) -> calls.HeldClaim:
        """Let a claim run for `lease` more seconds from now."""
        it = wire.Renew(0, self._open(), 0, 0, fence, calls.milliseconds(lease))

        return calls.claimed(await self._caller.ask(it))

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing."""
        it = wire.Wait(0, self._open(), base, length, calls.milliseconds(wait))
        await self._caller.ask(it)

    async def break_claims(
        self, base: int, length: int, reason: str, *, fence: int | None = None
    ) -> int:
        """End other processes' claims on a range, or the one with `fence`; how many."""
        it = wire.Break(0, self._open(), base, length, fence or 0, reason)

        return int((await self._caller.ask(it)).value)
