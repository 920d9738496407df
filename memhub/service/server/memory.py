"""Requests for memory that are answered at once, or handed to `Later`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.core.memory.physical import NeedsDevice
from memhub.core.requests import Read, Write
from memhub.service import wire
from memhub.service.server.rights import READ_MEMORY, WRITE_MEMORY
from memhub.service.server.stream import WriteStream

if TYPE_CHECKING:
    from memhub.service.server.session import Session

    Answer = wire.Message | None

_U64: Final = (1 << 64) - 1


def read_file(session: Session, it: wire.Read) -> Answer:
    """READ."""
    return _read_memory(session, it, it.count, None)


def pread_file(session: Session, it: wire.Pread) -> Answer:
    """PREAD."""
    return _read_memory(session, it, it.count, it.offset)


def _read_memory(
    session: Session, it: wire.Read | wire.Pread, count: int, offset: int | None
) -> Answer:
    entry = session.entry(it.handle)
    if not entry.may & READ_MEMORY:
        session.need(entry, READ_MEMORY, "read")

    if count > session.max_body or session.later.crowded:
        return session.later.read(it, entry.handle, count, offset)

    try:
        data = session.engine.submit(Read(entry.number, count, offset))
    except NeedsDevice:
        return session.later.read(it, entry.handle, count, offset)

    session.later.turn += len(data)

    return wire.Data(it.request, True, data)


def write_file(session: Session, it: wire.Write) -> Answer:
    """WRITE."""
    return _write_memory(session, it, None)


def pwrite_file(session: Session, it: wire.Pwrite) -> Answer:
    """PWRITE."""
    return _write_memory(session, it, it.offset)


def _write_memory(session: Session, it: wire.Write | wire.Pwrite, offset: int | None) -> Answer:
    entry = session.entry(it.handle)
    if not entry.may & WRITE_MEMORY:
        session.need(entry, WRITE_MEMORY, "write")

    if it.total > len(it.data):
        stream = WriteStream(entry.handle, offset, it.total)
        session.later.streams[it.request] = stream
        return session.later.more(it.request, stream, it.data, last=False) if it.data else None

    try:
        moved = session.engine.submit(Write(entry.number, it.data, offset))
    except NeedsDevice:
        return session.later.write(it.request, entry.handle, it.data, offset)

    return wire.Done(it.request, moved)


def take_data(session: Session, it: wire.Data) -> Answer:
    """DATA: a piece of a write under way."""
    stream = session.later.streams.get(it.request)

    return None if stream is None else session.later.more(it.request, stream, it.data, last=it.last)


def seek_file(session: Session, it: wire.Seek) -> Answer:
    """SEEK; sums are taken modulo 2^64."""
    entry = session.entry(it.handle)

    return wire.Done(it.request, entry.handle.seek_nowait(it.offset, it.whence))


def map_file(session: Session, it: wire.Map) -> Answer:
    """MAP."""
    entry = session.entry(it.handle)
    session.need(entry, READ_MEMORY | (WRITE_MEMORY if it.rights & wire.MAP_WRITE else 0), "map")

    return session.later.map(it, entry.handle, session.peer)
