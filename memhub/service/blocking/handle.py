"""An open device over the service, for scripts: a `MappableFile` that blocks."""

from __future__ import annotations

import os

from memhub.service import wire
from memhub.service.client_errors import not_on_the_wire
from memhub.service.remote_caches import fence_request, flush_request
from memhub.service.remote_file import RemoteFile
from memhub.service.remote_kernel import call_answer, call_request
from memhub.service.remote_replies import HeldClaim, explanation
from memhub.service.set_outcome import set_outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from typing import Any, Self

    import numpy as np
    import numpy.typing as npt

    from memhub.abi import Buffer, IoctlReply, RangeDesc
    from memhub.core.replies import Explanation, SetOutcome
    from memhub.service.blocking.line import Line
    from memhub.service.mapped import MappedMemory


class BlockingHandle:
    """An open device of a service; made by `BlockingClient.open`.

    Arguments, replies and errors of its methods are those of `AsyncDeviceFile`.
    """

    def __init__(self, line: Line, opened: wire.Opened, path: str) -> None:
        self._file = RemoteFile(opened, path, line.limits, line.features)
        self._line = line
        self._maps: dict[int, MappedMemory] = {}

    def __repr__(self) -> str:
        return self._file.describe("BlockingHandle")

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
        """Close the handle and its mappings. Closing twice does nothing.

        Raises:
            DeviceError: what the service answered; the handle is closed in any case.
            ConnectionError: the connection is gone, and with it the handle.
        """
        if self._file.closed:
            return

        self._file.closed = True
        while self._maps:
            self._maps.popitem()[1].close()

        self._line.ask(wire.Close(0, self._file.number))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except ConnectionError:
            if kind is None:
                raise  # otherwise the caller already gets the error that broke the connection

    # Memory

    def read(self, length: int) -> bytes:
        """Read at the file's offset, and move it on."""
        return bytes(self._line.ask(self._file.read_request(length)))

    def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`; the file's own does not move."""
        return bytes(self._line.ask(self._file.pread_request(length, offset)))

    def write(self, data: Buffer) -> int:
        """Write at the file's offset, and move it on; the bytes written."""
        return self._line.write(*self._file.write_request(data))

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`; the file's own does not move."""
        return self._line.write(*self._file.pwrite_request(data, offset))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the file's offset; the new one."""
        done: wire.Done = self._line.ask(self._file.seek_request(offset, whence))

        return done.value

    def flush(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep none of them (clflush)."""
        self._line.ask(flush_request(self._file, self._line.features, base, length, keep=False))

    def writeback(self, base: int, length: int) -> None:
        """Let the bus see the lines of a span, and keep them (clwb)."""
        self._line.ask(flush_request(self._file, self._line.features, base, length, keep=True))

    def fence(self) -> None:
        """Let the bus see the combining buffers of this process (sfence)."""
        self._line.ask(fence_request(self._file, self._line.features))

    def call_kernel(self, op: str, /, **args: Any) -> Any:  # noqa: ANN401 - as it answers
        """Make a system call of the machine's kernel that needs no file, as NetBSD's `set`."""
        return call_answer(self._line.ask(call_request(self._file, self._line.features, op, args)))

    def map(self, *, write: bool = False) -> MappedMemory:
        """The machine's RAM, mapped into this process; it is closed with the handle."""
        return self._map_file(wire.MAP_READ | (wire.MAP_WRITE if write else 0))

    def map_rom(self) -> MappedMemory:
        """What is not RAM; it is closed with the handle."""
        if not self._line.features & wire.FEATURE_MAP_ROM:
            raise not_on_the_wire("this service hands out RAM alone")

        return self._map_file(wire.MAP_ROM)

    def map_span(self, base: int, length: int, *, write: bool = False) -> mmap.mmap:
        """A stretch of addresses, whatever lies there; the caller closes it."""
        from memhub.service.spans import find_pieces, map_pieces

        return map_pieces(find_pieces(self, base, length, write=write), length, writable=write)

    def _map_file(self, rights: int) -> MappedMemory:
        found = self._maps.get(rights)
        if found is None:
            from memhub.service.mapped import MappedMemory

            mapped, fd = self._line.ask_map(self._file.map_request(rights))
            writable = bool(rights & wire.MAP_WRITE)
            made = MappedMemory(fd, tuple(mapped.rows), writable=writable)
            found = self._maps.setdefault(rights, made)
            if found is not made:
                made.close()  # another thread mapped it first

        return found

    # Ranges

    def ioctl(
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

        return self._file.ioctl_reply(op, self._line.ask(asked))

    def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        reply: wire.IoctlDone = self._line.ask(self._file.table_request())

        return self._file.model().unpack_table(reply.desc)

    def range_array(self) -> npt.NDArray[np.void]:
        """The whole table as a structured array; see `DataModel.dtype`."""
        reply: wire.IoctlDone = self._line.ask(self._file.table_request())

        return self._file.model().array(reply.desc)

    def set_range(
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

        return set_outcome(self._line.ask(request))

    def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> SetOutcome | None:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE."""
        request = self._file.remove_request(base, length, wait=wait, fence=fence)

        return set_outcome(self._line.ask(request))

    def explain(self, address: int) -> Explanation:
        """Which memory type an address has, and why."""
        return explanation(self._line.ask(self._file.explain_request(address)))

    def explain_array(self, addresses: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Which memory types many addresses have; the service is asked for each different one."""
        from memhub.service.address_batch import AddressBatch

        self._file.open_number()
        batch = AddressBatch(addresses)

        return batch.codes([self.explain(address) for address in batch.addresses])

    # Claims

    def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> HeldClaim:
        """Claim a stretch of addresses for this process."""
        return HeldClaim(self._line.ask(self._file.claim_request(base, length, lease, wait)))

    def release(self, base: int, length: int, *, fence: int | None = None) -> None:
        """Give back this process's claims inside a range."""
        self._line.ask(self._file.release_request(base, length, fence))

    def renew(self, fence: int, lease: float | None) -> HeldClaim:
        """Let a claim run for `lease` more seconds from now; None lets it last."""
        return HeldClaim(self._line.ask(self._file.renew_request(fence, lease)))

    def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until no other process holds a byte of a range, and claim nothing."""
        self._line.ask(self._file.wait_request(base, length, wait))

    def break_claims(self, base: int, length: int, reason: str, *, fence: int | None = None) -> int:
        """End other processes' claims on a range, or the one with `fence`; how many."""
        done: wire.Done = self._line.ask(self._file.break_request(base, length, reason, fence))

        return done.value
