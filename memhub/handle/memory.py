"""Reading, writing and seeking."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import anyio
from anyio.lowlevel import checkpoint

from memhub.core.memory.physical import NeedsDevice
from memhub.dispatch.files import check
from memhub.errors import InvalidArgument
from memhub.handle.base import BaseHandle
from memhub.handle.devices import read_devices, write_devices

if TYPE_CHECKING:
    from memhub.abi import Buffer

_OFFSETS = 1 << 64


class MemoryFace(BaseHandle):
    """The bytes behind a device file."""

    async def read(self, length: int) -> bytes:
        """Read at the handle's offset, and move it on.

        Args:
            length: bytes.

        Returns:
            the bytes; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; closed, or not opened for reading.
            BadAddress: EFAULT; by the architecture's transfer rules (`memrw`); `moved` says how
                far it came.
        """
        await checkpoint()

        return await self._read(length, None)

    async def pread(self, length: int, offset: int) -> bytes:
        """Read at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await checkpoint()

        return await self._read(length, offset)

    async def write(self, data: Buffer) -> int:
        """Write at the handle's offset, and move it on.

        Args:
            data: the bytes.

        Returns:
            bytes written; fewer where the architecture answers a short count.

        Raises:
            BadHandle: EBADF; closed, or not opened for writing.
            BadAddress: EFAULT; unreachable, or write-protected where the machine faults.
        """
        await checkpoint()

        return await self._write(data, None)

    async def pwrite(self, data: Buffer, offset: int) -> int:
        """Write at `offset`, an unsigned 64-bit number; the handle's own does not move."""
        await checkpoint()

        return await self._write(data, offset)

    def read_nowait(self, length: int) -> bytes:
        """`read` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model answers part of it.
        """
        try:
            return self._dispatch.memory.read(self._file, length)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    def pread_nowait(self, length: int, offset: int) -> bytes:
        """`pread` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model answers part of it.
        """
        try:
            return self._dispatch.memory.read(self._file, length, offset)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    def write_nowait(self, data: Buffer) -> int:
        """`write` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model takes part of it.
        """
        try:
            return self._dispatch.memory.write(self._file, data)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    def pwrite_nowait(self, data: Buffer, offset: int) -> int:
        """`pwrite` without a checkpoint.

        Raises:
            anyio.WouldBlock: a device model takes part of it.
        """
        try:
            return self._dispatch.memory.write(self._file, data, offset)
        except NeedsDevice as error:
            raise anyio.WouldBlock from error

    async def _read(self, length: int, offset: int | None) -> bytes:
        try:
            return self._dispatch.memory.read(self._file, length, offset)
        except NeedsDevice:
            return await read_devices(self._dispatch.memory, self._file, length, offset)

    async def _write(self, data: Buffer, offset: int | None) -> int:
        try:
            return self._dispatch.memory.write(self._file, data, offset)
        except NeedsDevice:
            return await write_devices(self._dispatch.memory, self._file, data, offset)

    async def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the handle's offset.

        Args:
            offset: an unsigned 64-bit number; with SEEK_CUR, how far (may be negative).
            whence: `os.SEEK_SET` or `os.SEEK_CUR`; a device file has no end.

        Returns:
            the new offset.

        Raises:
            BadHandle: EBADF; closed.
            InvalidArgument: EINVAL; another `whence`, or an offset that is no u64.
        """
        await checkpoint()

        return self.seek_nowait(offset, whence)

    def seek_nowait(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """`seek` without a checkpoint."""
        check(self._file)
        if whence not in (os.SEEK_SET, os.SEEK_CUR):
            raise InvalidArgument(f"whence {whence} is neither SEEK_SET nor SEEK_CUR")

        target = offset + (self._file.offset if whence == os.SEEK_CUR else 0)
        if not 0 <= target < _OFFSETS:
            raise InvalidArgument(f"offset {target:#x} is not an unsigned 64-bit number")

        self._file.offset = target

        return target
