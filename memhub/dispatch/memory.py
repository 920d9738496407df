"""Reads and writes: bytes that move, or the errors of those that cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from memhub.abi import PAGE_SIZE
from memhub.audit import records
from memhub.core.memory.physical import NeedsDevice
from memhub.dispatch.files import check
from memhub.errors import BadHandle, DeviceError, InvalidArgument, LogFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.abi import Buffer
    from memhub.core.machine import OpenFile
    from memhub.dispatch.context import Context

ReadOp = Literal["read", "pread"]
WriteOp = Literal["write", "pwrite"]


class MemoryDesk:
    """Where memory is read and written.

    Args:
        context: the machines and the journal.
    """

    def __init__(self, context: Context) -> None:
        self._context = context

    def read(self, file: OpenFile, length: int, offset: int | None = None) -> bytes:
        """Read without waiting.

        Args:
            file: the handle.
            length: bytes.
            offset: first byte, or None to read at the handle's offset and move it on.

        Raises:
            BadHandle: EBADF; closed, or not opened for reading.
            BadAddress: EFAULT; by the architecture's transfer rules.
            InvalidArgument: EINVAL; an offset or length that no transfer has.
            NeedsDevice: a device answers part of it; nothing has moved or been recorded.
        """
        check(file)
        context = self._context
        active = context.journal.active
        began = context.clock.now().mono_ns if active else 0
        at = file.offset if offset is None else offset
        error: DeviceError | None = None
        data = b""
        try:
            if not file.readable:
                raise not_open(file, "reading")

            data = file.machine.transfer.read(file.device, at, length, file.process.id)
        except DeviceError as refusal:
            error = refusal

        moved = len(data) if error is None else error.moved
        if active:
            self.note(file, began, "read" if offset is None else "pread", at, length, moved, error)

        if offset is None:
            file.offset += moved

        if error is not None:
            raise error

        return data

    def write(self, file: OpenFile, data: Buffer, offset: int | None = None) -> int:
        """Write without waiting.

        Args:
            file: the handle.
            data: the bytes.
            offset: first byte, or None to write at the handle's offset and move it on.

        Returns:
            bytes written; fewer than given where the rules answer a short count.

        Raises:
            BadHandle: EBADF; closed, or not opened for writing.
            BadAddress: EFAULT; by the architecture's transfer rules.
            InvalidArgument: EINVAL; an offset or length that no transfer has.
            NeedsDevice: a device takes part of it; nothing has moved or been recorded.
            LogFailed: EIO; what was written has been put back.
        """
        check(file)
        context = self._context
        active = context.journal.active
        began = context.clock.now().mono_ns if active else 0
        at = file.offset if offset is None else offset
        before = self._before(file, at, len(data)) if active else b""
        error: DeviceError | None = None
        moved = 0
        try:
            if not file.writable:
                raise not_open(file, "writing")

            moved = file.machine.write(file, at, data)
        except DeviceError as refusal:
            error = refusal
            moved = refusal.moved

        if active:
            op: WriteOp = "write" if offset is None else "pwrite"
            try:
                self.seal(file, began, op, at, len(data), moved, error)
            except LogFailed:
                self._put_back(file, at, before[:moved])
                raise

        if offset is None:
            file.offset += moved

        if error is not None:
            raise error

        return moved

    def _before(self, file: OpenFile, at: int, length: int) -> bytes:
        """What a write will replace, as far as it can be read."""
        if not file.writable:
            return b""

        try:
            return file.machine.transfer.read(file.device, at, length, file.process.id)
        except InvalidArgument:
            return b""
        except (DeviceError, NeedsDevice):
            return b"".join(self._pages(file, at, length))

    def _pages(self, file: OpenFile, at: int, length: int) -> Iterator[bytes]:
        """Page by page what lies before the first byte that cannot be read."""
        end = at + length
        while at < end:
            size = min(end - at, PAGE_SIZE - at % PAGE_SIZE)
            try:
                yield file.machine.transfer.read(file.device, at, size, file.process.id)
            except (DeviceError, NeedsDevice):
                return

            at += size

    def _put_back(self, file: OpenFile, at: int, before: bytes) -> None:
        if before:
            file.machine.transfer.write(file.device, at, before, file.process.id)

    def later(
        self, file: OpenFile, op: ReadOp | WriteOp, at: int, length: int
    ) -> Callable[[int, DeviceError | None], None]:
        """Note the start of a transfer that takes time.

        Returns:
            what records its end and moves the offset on: bytes moved, and the error if any.
        """
        began = self._context.clock.now().mono_ns

        def finish(moved: int, error: DeviceError | None) -> None:
            if self._context.journal.active:
                self.seal(file, began, op, at, length, moved, error)

            if op in ("read", "write"):
                file.offset += moved

        return finish

    def note(
        self,
        file: OpenFile,
        began: int,
        op: ReadOp,
        at: int,
        length: int,
        moved: int,
        error: DeviceError | None,
    ) -> None:
        """Record a read."""
        now = self._context.clock.now()
        self._context.journal.note(records.moved(file, now, began, op, at, length, moved, error))

    def seal(
        self,
        file: OpenFile,
        began: int,
        op: ReadOp | WriteOp,
        at: int,
        length: int,
        moved: int,
        error: DeviceError | None,
    ) -> None:
        """Record a write."""
        now = self._context.clock.now()
        self._context.journal.seal(records.moved(file, now, began, op, at, length, moved, error))


def not_open(file: OpenFile, purpose: str) -> BadHandle:
    """The EBADF of a handle that was not opened for what is asked of it."""
    return BadHandle(f"{file.path} is not open for {purpose}")
