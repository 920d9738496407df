"""A program's devices on a client: one process of a service, or of machines in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from memhub.abi import LP64, PAGE_SIZE, Errno
from memhub.errors import BadAddress, DeviceError
from memhub.exec.backend import Mapping

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType
    from collections.abc import Sequence

    from memhub.abi import Buffer, DataModel
    from memhub.exec.backend import CallerMemory

    Row = tuple[int, int, int, str]

#: Programs are 64-bit here, whatever the machine is.
_MODEL: Final = LP64
_MODES: Final = {os.O_RDONLY: "r", os.O_WRONLY: "w", os.O_RDWR: "r+"}


class Reply(Protocol):
    """The buffers after an ioctl."""

    @property
    def op(self) -> bytes:
        """`struct mem_range_op` as it is now."""

    @property
    def descs(self) -> bytes:
        """What `mo_desc` points to now; empty if nothing was written."""


class Shared(Protocol):
    """A machine's memory as a file."""

    @property
    def fd(self) -> int:
        """The file, as long as the handle is open."""

    @property
    def rows(self) -> Sequence[Row]:
        """Physical base, length, offset in the file, kind."""


class Handle(Protocol):
    """An open device file of a client; calls may come from several threads at once."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`."""

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at `offset`; bytes written."""

    def ioctl(self, request: int, op: Buffer, descs: Buffer | None = None) -> Reply:
        """Make an ioctl in the device's own layout."""

    def map(self, *, write: bool = False) -> Shared:
        """The machine's memory as a file, for reading or for both."""

    def close(self) -> None:
        """Close; calls that wait in it fail."""


class Client(Protocol):
    """What opens device files."""

    def open(self, path: str, mode: str, *, model: DataModel) -> Handle:
        """Open a device file."""


class ClientBackend:
    """Device names of a program as device files of a client.

    Args:
        client: one process; the program and all it starts are that process.
        paths: for each name that the program may open, the path that the client opens.
    """

    def __init__(self, client: Client, paths: MappingType[str, str]) -> None:
        self._client = client
        self._paths = paths

    def open(self, path: str, flags: int) -> ClientSession:
        """Open a device; see `DeviceBackend.open`."""
        mode = _MODES.get(flags & os.O_ACCMODE)
        if mode is None:
            raise DeviceError(f"{flags & os.O_ACCMODE} is not an access mode", code=Errno.EINVAL)

        handle = self._client.open(self._paths[path], mode, model=_MODEL)

        return ClientSession(handle, path)


class ClientSession:
    """One open device of a program; see `DeviceSession`.

    Args:
        handle: what is open.
        path: the name that the program opened.
    """

    def __init__(self, handle: Handle, path: str) -> None:
        self._handle = handle
        self._path = path
        self._shared: dict[bool, Shared] = {}

    def may_wait(self, request: int | None) -> bool:
        """A SET may take time, and may wait for another's commit."""
        return request in _MODEL.set

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`."""
        return self._handle.pread(length, offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write `data` at `offset`."""
        return self._handle.pwrite(data, offset)

    def ioctl(self, request: int, argument: bytes, memory: CallerMemory) -> bytes | None:
        """Perform an ioctl; the hub refuses a wrong request or argument."""
        if request in _MODEL.set:
            self._handle.ioctl(request, argument, _fetch(argument, memory))
            return None

        reply = self._handle.ioctl(request, argument)
        if reply.descs:
            mo_desc, _, _ = _MODEL.op.unpack(reply.op)
            memory.store(mo_desc, reply.descs)

        return reply.op

    def map(self, offset: int, length: int, *, writable: bool) -> Mapping:
        """Give memory for mmap(2); all of it must lie in one piece of the file.

        Raises:
            DeviceError: ENODEV; there is no such memory. Or what the client says.
        """
        shared = self._shared.get(writable)
        if shared is None:
            shared = self._shared[writable] = self._handle.map(write=writable)

        place = _place(shared.rows, offset, length)
        if place is None:
            raise DeviceError(
                f"{offset:#x}/{length:#x} is not one stretch of memory", code=Errno.ENODEV
            )

        return Mapping(shared.fd, place)

    def close(self) -> None:
        """Close: the program has closed its last descriptor."""
        self._handle.close()


def _fetch(argument: bytes, memory: CallerMemory) -> bytes:
    """The descriptor of a MEMRANGE_SET; none where the program's pointer leads nowhere."""
    mo_desc, _, _ = _MODEL.op.unpack(argument)
    try:
        return memory.fetch(mo_desc, _MODEL.desc.size)
    except BadAddress:
        return b""


def _place(rows: Sequence[Row], offset: int, length: int) -> int | None:
    """Where a span lies in the file, or None if it does not lie there in one piece."""
    place: int | None = None
    at = offset
    for base, size, start, _ in sorted(rows):
        # A region includes the whole of its last page, as nothing smaller can be mapped.
        end = -(-(base + size) // PAGE_SIZE) * PAGE_SIZE
        if not base <= at < end or (place is not None and start - base != place - offset):
            continue

        place = start + offset - base
        at = base + size
        if offset + length <= end:
            return place

    return None
