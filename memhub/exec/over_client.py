"""A program's devices on a client: one process of a service, or of machines in this process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Protocol

from memhub.abi import LP64, Errno
from memhub.errors import BadAddress, DeviceError
from memhub.exec.backend import STREAMS, IoctlAnswer, Mapping
from memhub.service.spans import find_pieces

if TYPE_CHECKING:
    from collections.abc import Mapping as MappingType

    from memhub.abi import Buffer, DataModel
    from memhub.core.replies import SharedMemory
    from memhub.exec.backend import CallerMemory

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


class Handle(Protocol):
    """An open device file of a client; calls may come from several threads at once."""

    def pread(self, length: int, offset: int) -> bytes:
        """Read up to `length` bytes at `offset`."""

    def pwrite(self, data: bytes, offset: int) -> int:
        """Write at `offset`; bytes written."""

    def read(self, length: int) -> bytes:
        """Read where the file stands."""

    def write(self, data: bytes) -> int:
        """Write where the file stands; bytes written."""

    def seek(self, offset: int, whence: int) -> int:
        """Move the file's position."""

    def ioctl(self, request: int, op: Buffer, descs: Buffer | None = None) -> Reply:
        """Make an ioctl in the device's own layout."""

    def map(self, *, write: bool = False) -> SharedMemory:
        """The machine's RAM as a file, for reading or for both."""

    def map_rom(self) -> SharedMemory:
        """What is not RAM, as a file."""

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

        return ClientStream(handle, path) if path in STREAMS else ClientSession(handle, path)


class ClientSession:
    """One open device of a program; see `DeviceSession`.

    Args:
        handle: what is open.
        path: the name that the program opened.
    """

    def __init__(self, handle: Handle, path: str) -> None:
        self._handle = handle
        self._path = path

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
            self._handle.ioctl(request, argument, _fetch_desc(argument, memory))
            return None

        reply = self._handle.ioctl(request, argument)
        if reply.descs:
            mo_desc, _, _ = _MODEL.op.unpack(reply.op)
            memory.store(mo_desc, reply.descs)

        return reply.op

    def map(self, offset: int, length: int, *, writable: bool) -> list[Mapping]:
        """Give memory for mmap(2): RAM, ROM and open bus.

        Raises:
            DeviceError: EINVAL past the physical address width, ENODEV where a device model
                answers, ENOMEM for too many pieces; or what the client says.
        """
        pieces = find_pieces(self._handle, offset, length, write=writable)

        return [Mapping(it.fd, it.offset, it.length, it.private) for it in pieces]

    def close(self) -> None:
        """Close: the program has closed its last descriptor."""
        self._handle.close()


class ClientStream(ClientSession):
    """An open file of another kernel than FreeBSD; see `StreamSession`."""

    def may_wait(self, request: int | None) -> bool:
        """Nothing of it waits."""
        return False

    def read(self, length: int) -> bytes:
        """Read up to `length` bytes where the file stands."""
        return self._handle.read(length)

    def write(self, data: bytes) -> int:
        """Write `data`; bytes taken."""
        return self._handle.write(data)

    def seek(self, offset: int, whence: int) -> int:
        """Move to another position."""
        return self._handle.seek(offset, whence)

    def answer_ioctl(self, request: int, argument: bytes) -> IoctlAnswer:
        """Perform an ioctl; its value is the program's."""
        reply = self._handle.ioctl(request, argument)

        return IoctlAnswer(reply.op, getattr(reply, "value", 0))

    def map(self, offset: int, length: int, *, writable: bool) -> list[Mapping]:
        """Refuse: such a file has no memory."""
        raise DeviceError(f"{self._path} cannot be mapped", code=Errno.ENODEV)


def _fetch_desc(argument: bytes, memory: CallerMemory) -> bytes:
    """The descriptor of a MEMRANGE_SET; none where the program's pointer leads nowhere."""
    mo_desc, _, _ = _MODEL.op.unpack(argument)
    try:
        return memory.fetch(mo_desc, _MODEL.desc.size)
    except BadAddress:
        return b""
