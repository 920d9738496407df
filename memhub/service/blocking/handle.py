"""An open device over the service, for scripts: the methods of `memhub.handle.Handle`, blocking."""

from __future__ import annotations

import os

from memhub.service import calls, wire
from memhub.service.opened import OpenedHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Self

    from memhub.abi import Buffer, RangeDesc
    from memhub.service.blocking.client import BlockingClient
    from memhub.service.mapped import MappedMemory


class BlockingHandle(OpenedHandle):
    """An open device of a service, see `OpenedHandle`; made by `BlockingClient.open`."""

    def __init__(self, client: BlockingClient, opened: wire.Opened, path: str) -> None:
        super().__init__(opened, path)
        self._client = client
        self._maps: dict[bool, MappedMemory] = {}

    def close(self) -> None:
        """Close the handle and its mappings. Closing twice does nothing.

        Raises:
            DeviceError: what the service answered; the handle is closed in any case.
            ConnectionError: the connection is gone, and with it the handle.
        """
        if self._closed:
            return

        self._closed = True
        while self._maps:
            self._maps.popitem()[1].close()

        self._client.ask(wire.Close(0, self._number))

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
        """Read at the handle's offset, and move it on."""
        return bytes(self._client.ask(wire.Read(0, self._open(), length)))

    def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`; the handle's own does not move."""
        return bytes(self._client.ask(wire.Pread(0, self._open(), offset, length)))

    def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on; the bytes written."""
        return self._client.write(wire.Write(0, self._open(), 0, b""), bytes(data))

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`; the handle's own does not move."""
        return self._client.write(wire.Pwrite(0, self._open(), offset, 0, b""), bytes(data))

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset; the new one."""
        done = self._client.ask(calls.seek_request(self._open(), offset, whence))

        return int(done.value)

    def map(self, *, write: bool = False) -> MappedMemory:
        """The machine's memory, mapped into this process; it is closed with the handle.

        Args:
            write: for writing too; where the machine does not allow it, EPERM.
        """
        found = self._maps.get(write)
        if found is None:
            from memhub.service.mapped import MappedMemory

            rights = wire.MAP_READ | (wire.MAP_WRITE if write else 0)
            mapped, fd = self._client.ask_map(wire.Map(0, self._open(), rights))
            made = MappedMemory(fd, tuple(mapped.rows), writable=write)
            found = self._maps.setdefault(write, made)
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
    ) -> calls.IoctlReply:
        """Make an ioctl in the device's own binary layout."""
        layout = self._layout
        room = calls.room_of(self._client.limits, layout)
        asked = calls.ioctl_request(self._open(), layout, request, op, descs, room, wait)

        return calls.ioctl_reply(op, layout, self._client.ask(asked))

    def _image(self) -> bytes:
        room = calls.room_of(self._client.limits, self._layout)
        asked = calls.get_request(self._open(), self._layout, calls.EVERY, room)
        reply: wire.IoctlDone = self._client.ask(asked)

        return reply.desc

    def ranges(self) -> tuple[RangeDesc, ...]:
        """The whole table as this process sees it; others' slots show MDF_BUSY."""
        return self._layout.model().unpack_table(self._image())

    def set_range(
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
        self._client.ask(
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

    def remove_range(
        self, base: int, length: int, *, wait: float | None = None, fence: int | None = None
    ) -> None:
        """MEMRANGE_SET with MEMRANGE_SET_REMOVE; see `Handle.remove_range`."""
        self._client.ask(
            calls.remove_request(self._open(), self._layout, base, length, wait=wait, fence=fence)
        )

    def explain(self, address: int) -> dict[str, object]:
        """The effective type of an address, and why."""
        import json

        found: dict[str, object] = json.loads(
            self._client.ask(wire.Explain(0, self._open(), address))
        )

        return found

    # Claims

    def claim(
        self, base: int, length: int, *, lease: float | None = None, wait: float | None = None
    ) -> calls.HeldClaim:
        """Claim a stretch of addresses; see `Handle.claim`."""
        times = calls.milliseconds(lease), calls.milliseconds(wait)

        return calls.claimed(self._client.ask(wire.Claim(0, self._open(), *times, base, length)))

    def release(self, base: int, length: int) -> None:
        """Give back this process's claims inside a range."""
        self._client.ask(wire.Release(0, self._open(), base, length, 0))

    def renew(self, fence: int, lease: float | None) -> calls.HeldClaim:
        """Let a claim run for `lease` more seconds from now."""
        it = wire.Renew(0, self._open(), 0, 0, fence, calls.milliseconds(lease))

        return calls.claimed(self._client.ask(it))

    def wait_free(self, base: int, length: int, wait: float) -> None:
        """Wait until nobody else holds a byte of a range, and claim nothing."""
        it = wire.Wait(0, self._open(), base, length, calls.milliseconds(wait))
        self._client.ask(it)

    def break_claims(self, base: int, length: int, reason: str, *, fence: int | None = None) -> int:
        """End other processes' claims on a range, or the one with `fence`; how many."""
        it = wire.Break(0, self._open(), base, length, fence or 0, reason)

        return int((self._client.ask(it)).value)
