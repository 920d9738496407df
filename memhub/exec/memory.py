"""Reading and writing the memory of the program, by address."""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from typing import Final

from memhub.errors import BadAddress
from memhub.exec.kernel import libc

_SMALL: Final = 4096
_PAGE: Final = 4096

_Mover = Callable[..., int]

#: An address and a length, as in `struct iovec`.
Span = tuple[int, int]


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_uint64), ("length", ctypes.c_uint64))


class ProgramMemory:
    """Access to other processes' memory; one object belongs to one thread.

    `process_vm_readv(2)` and `process_vm_writev(2)` honour page protections, so an address that
    the program could not use itself is EFAULT here too.
    """

    def __init__(self) -> None:
        library = libc()
        self._readv = library.process_vm_readv
        self._writev = library.process_vm_writev
        vector = ctypes.POINTER(_Iovec)
        for function in (self._readv, self._writev):
            function.restype = ctypes.c_ssize_t
            function.argtypes = (
                ctypes.c_int, vector, ctypes.c_ulong, vector, ctypes.c_ulong, ctypes.c_ulong,
            )  # fmt: skip
        self._small = bytearray(_SMALL)
        self._small_at = ctypes.addressof(ctypes.c_char.from_buffer(self._small))
        self._local = (_Iovec * 1)()
        self._remote = (_Iovec * 1)()

    def read(self, pid: int, address: int, size: int) -> bytes:
        """Read exactly `size` bytes.

        Raises:
            BadAddress: part of the span cannot be read.
            OSError: the process is gone (ESRCH) or out of reach (EPERM).
        """
        if size <= _SMALL:
            moved = self._move_small(self._readv, pid, address, size)
            if moved < size:
                raise _unreadable_error(address, size)

            return bytes(self._small[:size])

        return self.gather(pid, ((address, size),), size)

    def read_string(self, pid: int, address: int, limit: int = 4096) -> bytes:
        """Read up to the first NUL, at most `limit` bytes.

        Raises:
            BadAddress: memory ends before a NUL.
            OSError: ENAMETOOLONG past the limit; else as `read`.
        """
        text = b""
        while len(text) < limit:
            at = address + len(text)
            chunk = self.read(pid, at, min(256, _PAGE - at % _PAGE))
            head, nul, _ = chunk.partition(b"\0")
            text += head
            if nul:
                return text

        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))

    def write(self, pid: int, address: int, data: bytes) -> None:
        """Write all of `data`.

        Raises:
            BadAddress: part of the span cannot be written.
            OSError: as `read`.
        """
        size = len(data)
        if size > _SMALL:
            self.scatter(pid, ((address, size),), data)
            return

        self._small[:size] = data
        if self._move_small(self._writev, pid, address, size) < size:
            raise _unwritable_error(address, size)

    def gather(self, pid: int, spans: tuple[Span, ...], size: int) -> bytes:
        """Read the first `size` bytes of several spans, one after another."""
        if not size:
            return b""

        buffer = bytearray(size)
        remote = _make_vector(_cut_spans(spans, size))
        if self._move_bytes(self._readv, pid, buffer, remote) < size:
            raise _unreadable_error(spans[0][0], size)

        return bytes(buffer)

    def scatter(self, pid: int, spans: tuple[Span, ...], data: bytes) -> None:
        """Write `data` over several spans, one after another."""
        if not data:
            return

        remote = _make_vector(_cut_spans(spans, len(data)))
        if self._move_bytes(self._writev, pid, bytearray(data), remote) < len(data):
            raise _unwritable_error(spans[0][0], len(data))

    def spans(self, pid: int, address: int, count: int) -> tuple[Span, ...]:
        """Read an array of `struct iovec`.

        Raises:
            OSError: EINVAL for more than IOV_MAX (1024) of them, or a negative length.
            BadAddress: the array cannot be read.
        """
        if not 0 <= count <= 1024:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        packed = memoryview(self.read(pid, address, 16 * count)).cast("Q")
        if any(length >> 63 for length in packed[1::2]):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

        return tuple(zip(packed[::2], packed[1::2], strict=True))

    def _move_small(self, function: _Mover, pid: int, address: int, size: int) -> int:
        local, remote = self._local, self._remote
        local[0].base, local[0].length = self._small_at, size
        remote[0].base, remote[0].length = address, size

        return _check_moved(function(pid, local, 1, remote, 1, 0))

    def _move_bytes(
        self,
        function: _Mover,
        pid: int,
        buffer: bytearray,
        remote: ctypes.Array[_Iovec],
    ) -> int:
        anchor = ctypes.c_char.from_buffer(buffer)
        local = (_Iovec * 1)(_Iovec(ctypes.addressof(anchor), len(buffer)))

        return _check_moved(function(pid, local, 1, remote, len(remote), 0))


def _check_moved(moved: int) -> int:
    """The bytes moved; 0 where the address is bad, so that the caller can name it."""
    if moved >= 0:
        return moved

    number = ctypes.get_errno()
    if number == errno.EFAULT:
        return 0

    raise OSError(number, os.strerror(number))


def _cut_spans(spans: tuple[Span, ...], size: int) -> tuple[Span, ...]:
    kept: list[Span] = []
    for base, length in spans:
        if size and length:
            kept.append((base, min(length, size)))
            size -= kept[-1][1]

    return tuple(kept)


def _make_vector(spans: tuple[Span, ...]) -> ctypes.Array[_Iovec]:
    return (_Iovec * len(spans))(*(_Iovec(base, length) for base, length in spans))


def _unreadable_error(address: int, size: int) -> BadAddress:
    return BadAddress(f"the program cannot read {size:#x} bytes at {address:#x}")


def _unwritable_error(address: int, size: int) -> BadAddress:
    return BadAddress(f"the program cannot write {size:#x} bytes at {address:#x}")
