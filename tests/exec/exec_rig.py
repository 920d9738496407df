"""A backend of bytes and four slots, for programs run by `memhub.exec`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

from memhub import abi
from memhub.errors import BadAddress, InvalidRange, NotPermitted, NotSupported
from memhub.exec import CallerMemory, DeviceSession, Mapping, memrange_ioctl

#: How often a campaign runs each scenario; 300 tells rates better, 50 is what CI has time for.
RUNS = int(os.environ.get("MEMHUB_EXEC_RUNS", "50"))

#: Runs a program (or Python source); its exit status and standard output.
Execute = Callable[..., tuple[int, str]]

#: Runs Python source that has `opened` and `call`; the lines that it prints.
Opened = Callable[..., list[str]]
#: Makes a character device of a major and a minor number; its path.
MakeNode = Callable[[int, int], str]

#: Makes `opened(...)`, which says what an open gives: the machine's text, or an error's name.
OPENED = """
import errno, socket, struct, threading, ctypes

def opened(path, flags=O_RDONLY, **more):
    try:
        fd = open(path, flags, **more)
    except OSError as error:
        return errno.errorcode[error.errno]
    try:
        return pread(fd, 5, 4096).decode()
    except OSError as error:
        return "read " + errno.errorcode[error.errno]
    finally:
        close(fd)

libc = ctypes.CDLL(None, use_errno=True)
def call(number, *arguments):
    result = libc.syscall(ctypes.c_long(number), *arguments)
    return result if result >= 0 else errno.errorcode[ctypes.get_errno()]
"""

SIZE = 1 << 30
TEXT_AT = 0x1000
TEXT = b"hello, physical memory\n"


class FakeSession:
    """Bytes in a memfd, and one table that all sessions share."""

    def __init__(self, backend: FakeBackend, path: str) -> None:
        self.backend = backend
        self.path = path

    def may_wait(self, request: int | None) -> bool:
        return self.backend.may_wait(request)

    def pread(self, length: int, offset: int) -> bytes:
        self.backend.events.append(("pread", length, offset))
        if offset >= SIZE:
            raise BadAddress(f"{offset:#x} is past the end", moved=self.backend.moved)

        return os.pread(self.backend.memory, length, offset)

    def pwrite(self, data: bytes, offset: int) -> int:
        self.backend.events.append(("pwrite", data, offset))
        return os.pwrite(self.backend.memory, data, offset)

    def ioctl(self, request: int, argument: bytes, memory: CallerMemory) -> bytes | None:
        return memrange_ioctl(request, argument, memory, get=self.backend.get, put=self.backend.put)

    def map(self, offset: int, length: int, *, writable: bool) -> list[Mapping]:
        self.backend.events.append(("map", offset, length, writable))
        if offset + length > SIZE:
            raise NotSupported(f"{offset:#x} has no memory behind it")

        fd = self.backend.memory if writable else self.backend.read_only

        return [Mapping(fd, offset, length)]

    def close(self) -> None:
        self.backend.events.append(("close", self.path))


class FakeBackend:
    """One machine of bytes and four slots."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.moved = 0
        self.table = [abi.RangeDesc(0, 0)] * 4
        self.may_wait: Callable[[int | None], bool] = lambda request: False
        self.before_put: Callable[[], object] = lambda: None
        self.memory = os.memfd_create("machine")
        os.ftruncate(self.memory, SIZE)
        os.pwrite(self.memory, TEXT, TEXT_AT)
        self.read_only = os.open(f"/proc/self/fd/{self.memory}", os.O_RDONLY)

    def open(self, path: str, flags: int) -> DeviceSession:
        self.events.append(("open", path, flags & os.O_ACCMODE))
        if path == "/dev/secure" and flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("securelevel 1 forbids writing")

        return FakeSession(self, path)

    def get(self, limit: int) -> tuple[int, bytes]:
        if limit <= 0:
            return len(self.table), b""

        count = min(limit, len(self.table))

        return count, abi.LP64.pack_table(self.table[:count])

    def put(self, desc: bytes, operation: int) -> None:
        self.before_put()
        wanted = abi.LP64.unpack(desc)
        if wanted.mr_base % abi.PAGE_SIZE:
            raise InvalidRange(f"base {wanted.mr_base:#x} is not page aligned")

        self.table[0] = wanted

    def close(self) -> None:
        os.close(self.memory)
        os.close(self.read_only)

    def names(self) -> list[object]:
        return [event[0] for event in self.events]


def tool(name: str) -> str:
    """The path of a program of the host, or a skip."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"no {name} here")

    return path
