"""Requests for memory that are answered at once, or handed to `Later`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.memory.physical import NeedsDevice
from memhub.service import wire
from memhub.service.server.base import SessionBase
from memhub.service.server.rights import READ_MEMORY, WRITE_MEMORY
from memhub.service.server.stream import WriteStream

if TYPE_CHECKING:
    from memhub.service.server.base import Answer

_U64: Final = (1 << 64) - 1


class MemoryRequests(SessionBase):
    """READ, PREAD, WRITE, PWRITE, DATA, SEEK and MAP."""

    def read(self, it: wire.Read) -> Answer:
        """READ."""
        return self._read(it, it.count, None)

    def pread(self, it: wire.Pread) -> Answer:
        """PREAD."""
        return self._read(it, it.count, it.offset)

    def _read(self, it: wire.Read | wire.Pread, count: int, offset: int | None) -> Answer:
        entry = self.entry(it.handle)
        if not entry.may & READ_MEMORY:
            self.need(entry, READ_MEMORY, "read")

        if count > self.max_body or self.later.crowded:
            return self.later.read(it, entry.handle, count, offset)

        try:
            data = self._dispatch.memory.read(entry.file, count, offset)
        except NeedsDevice:
            return self.later.read(it, entry.handle, count, offset)

        self.later.turn += len(data)

        return wire.Data(it.request, True, data)

    def write(self, it: wire.Write) -> Answer:
        """WRITE."""
        return self._write(it, None)

    def pwrite(self, it: wire.Pwrite) -> Answer:
        """PWRITE."""
        return self._write(it, it.offset)

    def _write(self, it: wire.Write | wire.Pwrite, offset: int | None) -> Answer:
        entry = self.entry(it.handle)
        if not entry.may & WRITE_MEMORY:
            self.need(entry, WRITE_MEMORY, "write")

        if it.total > len(it.data):
            stream = WriteStream(entry.handle, offset, it.total)
            self.later.streams[it.request] = stream
            return self.later.more(it.request, stream, it.data, last=False) if it.data else None

        try:
            moved = self._dispatch.memory.write(entry.file, it.data, offset)
        except NeedsDevice:
            return self.later.write(it.request, entry.handle, it.data, offset)

        return wire.Done(it.request, moved)

    def data(self, it: wire.Data) -> Answer:
        """DATA: a piece of a write under way."""
        stream = self.later.streams.get(it.request)

        return (
            None if stream is None else self.later.more(it.request, stream, it.data, last=it.last)
        )

    def seek(self, it: wire.Seek) -> Answer:
        """SEEK; sums are taken modulo 2^64."""
        entry = self.entry(it.handle)
        start = entry.file.offset if it.whence == wire.SEEK_CUR else 0

        return wire.Done(it.request, entry.handle.seek_nowait(start + it.offset & _U64))

    def map(self, it: wire.Map) -> Answer:
        """MAP."""
        entry = self.entry(it.handle)
        self.need(entry, READ_MEMORY | (WRITE_MEMORY if it.rights & wire.MAP_WRITE else 0), "map")

        return self.later.map(it, entry.file, self.peer)
