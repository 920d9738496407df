"""An open device over the service: `memhub.handles.device_file.AsyncMappableFile`."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self, final

from memhub.errors import NotSupported
from memhub.service import wire
from memhub.service.client.caller import Waiter
from memhub.service.mapped import MappedMemory
from memhub.service.remote_caches import fence_request, flush_request
from memhub.service.remote_file import RemoteFile
from memhub.service.remote_kernel import call_answer, call_request
from memhub.service.remote_replies import HeldClaim, explanation
from memhub.service.set_outcome import set_outcome
from memhub.service.spans import lay_out, map_pieces, within

if TYPE_CHECKING:
    import mmap

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, IoctlReply, RangeDesc
    from memhub.core.replies import Explanation, SetOutcome
    from memhub.service.client.caller import Caller


@final
class RemoteHandle:
    """An open device of a service; made by `RemoteHub.open`.

    Arguments, replies and errors of its methods are those of `AsyncDeviceFile`.
    """

    def __init__(self, caller: Caller, opened: wire.Opened, path: str) -> None:
        self._file = RemoteFile(opened, path, caller.limits, caller.features)
        self._caller = caller

    def __repr__(self) -> str:
        return self._file.describe("RemoteHandle")

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""
        return self._file.path

    @property
    def arch(self) -> str:
        """The machine's architecture."""
        return self._file.arch

    @property
    def machine(self) -> str:
        """The machine's name."""
        return self._file.machine

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._file.closed

    # Closing

    def close(self) -> None:
        """Close; the service is told without waiting for its answer. Twice does nothing."""
        if not self._file.closed:
            self._file.closed = True
            if self._caller.gone is None:
                self._caller.post(wire.Close(0, self._file.number), Waiter())

    async def aclose(self) -> None:
        """Close, and wait until the service has done so."""
        if not self._file.closed:
            self._file.closed = True
            await self._caller.ask(wire.Close(0, self._file.number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.close()

    # Memory

    async def read(self, length: int) -> bytes:
        """Read at the file's offset, and move it on."""
        return bytes(await self._caller.ask(self._file.read_request(length)))

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`; the file's own does not move."""
        return bytes(await self._caller.ask(self._file.pread_request(length, offset)))

    async def write(self, data: Buffer) -> int:
        """Write at the file's offset, and move it on; the bytes written."""
        return await self._caller.write(*self._file.write_request(data))

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`; the file's own does not move."""
        return await self._caller.write(*self._file.pwrite_request(data, offset))

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the file's offset; the new one."""
        done: wire.Done = await self._caller.ask(self._file.seek_request(offset, whence))

        return done.value

    async def flush(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep none of them (clflush)."""
        features = self._caller.features
        await self._caller.ask(flush_request(self._file, features, base, length, keep=False))

    async def writeback(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep them (clwb)."""
        features = self._caller.features
        await self._caller.ask(flush_request(self._file, features, base, length, keep=True))

    async def fence(self) -> None:
        """Let the bus see the combining buffers of this process (sfence)."""
        await self._caller.ask(fence_request(self._file, self._caller.features))

    async def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as it answers
        """Make a system call of the machine's kernel that needs no file, as NetBSD's `set`."""
        request = call_request(self._file, self._caller.features, op, args)

        return call_answer(await self._caller.ask(request))

    async def map(self, *, write: bool = False) -> MappedMemory:
        """The machine's RAM, mapped into this process; the caller closes it."""
        return await self._map_file(wire.MAP_READ | (wire.MAP_WRITE if write else 0))

    async def map_rom(self) -> MappedMemory:
        """What is not RAM; the caller closes it."""
        if not self._caller.features & wire.FEATURE_MAP_ROM:
            raise NotSupported("this service hands out RAM alone")

        return await self._map_file(wire.MAP_ROM)

    async def map_span(self, base: int, length: int, *, write: bool = False) -> mmap.mmap:
        """A stretch of addresses, whatever lies there; the caller closes it."""
        with ExitStack() as files:
            rom = ram = None
            with suppress(NotSupported):
                rom = files.enter_context(await self.map_rom())

            if not within(rom, base, length):
                ram = files.enter_context(await self.map(write=write))

            return map_pieces(lay_out(ram, rom, base, length), length, writable=write)

    async def _map_file(self, rights: int) -> MappedMemory:
        mapped, fd = await self._caller.ask_map(self._file.map_request(rights))

        return MappedMemory(fd, tuple(mapped.rows), writable=bool(mapped.rights & wire.MAP_WRITE))

    # Ranges

    async def ioctl(
        self,
        request: int,
        op: Buffer,
        descs: Buffer | None = None,
        *,
        wait: float | None = None,
        fence: int | None = None,
    ) -> IoctlReply:
        """Make an ioctl in the device's own binary layout."""
        asked = self._file.ioctl_request(request, op, descs, wait, fence)

        return self._file.ioctl_reply(op, await self._caller.ask(asked))

    async def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        reply: wire.IoctlDone = await self._caller.ask(self._file.table_request())

        return self._file.model().unpack_table(reply.desc)

    async def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array; see `DataModel.dtype`."""
        reply: wire.IoctlDone = await self._caller.ask(self._file.table_request())

        return self._file.model().array(reply.desc)

    async def set_range(
        self,
        base: int,
        length: int,
        attribute: int | str,
        *,
        owner: str | bytes = "user",
        force: bool = False,
        wait: float | None = None,
        fence: int | None = None,
        lease: float | None = None,
    ) -> SetOutcome | None:
        """MEMRANGE_SET with MEMRANGE_SET_UPDATE."""
        request = self._file.update_request(
            base,
            length,
            attribute,
            owner,
            force=force,
            wait=wait,
            fence=fence,
            lease=lease,
        )

        return set_outcome(await self._caller.ask(request))

    async def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome | None:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE."""
        request = self._file.remove_request(base, length, wait=wait, fence=fence)

        return set_outcome(await self._caller.ask(request))

    async def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why."""
        return explanation(await self._caller.ask(self._file.explain_request(address)))

    async def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Which memory types many addresses have; the service is asked for each different one."""
        from memhub.service.address_batch import AddressBatch

        self._file.open_number()
        batch = AddressBatch(addresses)

        return batch.codes(await self._caller.ask_each(self.explain, batch.addresses))

    # Claims

    async def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> HeldClaim:
        """Claim a stretch of addresses for this process."""
        request = self._file.claim_request(base, length, lease, wait)

        return HeldClaim(await self._caller.ask(request))

    async def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range."""
        await self._caller.ask(self._file.release_request(base, length, fence))

    async def renew(self, fence: int, lease: float | None) -> HeldClaim:
        """Let a claim run for `lease` more seconds from now; None lets it last."""
        return HeldClaim(await self._caller.ask(self._file.renew_request(fence, lease)))

    async def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until no other process holds a byte of a range, and claim nothing."""
        await self._caller.ask(self._file.wait_request(base, length, wait))

    async def break_claims(
        self, base: int, length: int, reason: str, *, fence: int | None = None
    ) -> int:
        """End other processes' claims on a range, or the one with `fence`; how many."""
        done: wire.Done = await self._caller.ask(
            self._file.break_request(base, length, reason, fence)
        )

        return done.value
