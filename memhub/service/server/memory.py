"""Requests for memory: answered at once, or handed to `RequestTasks`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from memhub.core.caches.requests import Fence, FlushLines
from memhub.core.deciding.transfers import extent_of
from memhub.core.memory.physical import NeedsDevice
from memhub.core.memory.transfer import IOSIZE_MAX
from memhub.core.requests import Read, Write
from memhub.errors import DeviceError, InvalidArgument
from memhub.handles.late_requests import move_bytes
from memhub.service import wire
from memhub.service.server.reading import read_in_pieces
from memhub.service.server.rights import READ_MEMORY, WRITE_MEMORY
from memhub.service.server.stream import WriteStream

if TYPE_CHECKING:
    from memhub.service.server.session import Entry, Session

    Answer = wire.Message | None

_U64: Final = (1 << 64) - 1


def read_file(session: Session, entry: Entry, it: wire.Read) -> Answer:
    """READ."""
    return _read_memory(session, entry, it, None)


def pread_file(session: Session, entry: Entry, it: wire.Pread) -> Answer:
    """PREAD."""
    return _read_memory(session, entry, it, it.offset)


def _read_memory(
    session: Session, entry: Entry, it: wire.Read | wire.Pread, offset: int | None
) -> Answer:
    count = it.count
    if session.max_body < count <= IOSIZE_MAX or session.tasks.turn_room < 0:
        return session.tasks.start_read(it, entry.handle, count, offset)

    try:
        data = session.engine.submit(Read(entry.number, count, offset))
    except NeedsDevice as late:
        number, tasks, engine = it.request, session.tasks, session.engine
        work = partial(read_in_pieces, tasks, engine, number, entry.handle, count, offset, late)
        return tasks.start_task(number, work)
    except DeviceError as error:
        if not error.arrived:
            raise

        return session.tasks.start_partial(it.request, error)

    session.tasks.turn_room -= len(data)

    return wire.Data(it.request, True, data)


def write_file(session: Session, entry: Entry, it: wire.Write) -> Answer:
    """WRITE."""
    return _write_memory(session, entry, it, None)


def pwrite_file(session: Session, entry: Entry, it: wire.Pwrite) -> Answer:
    """PWRITE."""
    return _write_memory(session, entry, it, it.offset)


def _write_memory(
    session: Session, entry: Entry, it: wire.Write | wire.Pwrite, offset: int | None
) -> Answer:
    if it.total > IOSIZE_MAX:
        raise InvalidArgument(f"length {it.total:#x} is not between 0 and {IOSIZE_MAX:#x}")

    if it.total > len(it.data):
        file = entry.machine.files[entry.number]
        extent = extent_of(entry.machine, file, it.total, offset, write=True)
        stream = WriteStream(entry.handle, offset, it.total, extent)
        if entry.kernel_file:  # each write is a command of its own
            stream.hold(b"", session.tasks.room_to_keep)

        session.tasks.streams[it.request] = stream
        if not it.data:
            return None

        return session.tasks.take_piece(it.request, stream, it.data, last=False)

    try:
        moved = session.engine.submit(Write(entry.number, it.data, offset))
    except NeedsDevice as late:
        asked, needs = Write(entry.number, it.data, offset), late

        async def work() -> wire.Message:
            return wire.Done(it.request, await move_bytes(session.engine, asked, needs))

        return session.tasks.start_task(it.request, work)

    return wire.Done(it.request, moved)


def take_data(session: Session, it: wire.Data) -> Answer:
    """DATA: a piece of a write that has begun."""
    stream = session.tasks.streams.get(it.request)

    if stream is None:
        return None

    return session.tasks.take_piece(it.request, stream, it.data, last=it.last)


def seek_file(_session: Session, entry: Entry, it: wire.Seek) -> Answer:
    """SEEK; sums are taken modulo 2^64."""
    return wire.Done(it.request, entry.handle.seek_nowait(it.offset, it.whence))


def flush_lines(session: Session, entry: Entry, it: wire.Flush) -> Answer:
    """FLUSH."""
    if it.what == wire.FLUSH_FENCE:
        session.engine.submit(Fence(entry.number))
    else:
        keep = it.what == wire.FLUSH_KEEP
        session.engine.submit(FlushLines(entry.number, it.base, it.length, keep))

    return wire.Done(it.request, 0)


def map_file(session: Session, entry: Entry, it: wire.Map) -> Answer:
    """MAP."""
    if it.rights & wire.MAP_WRITE:
        session.require_rights(entry, READ_MEMORY | WRITE_MEMORY, "map")

    session.check_limit("map", "maps", session.maps, "mappings were made through open handles")
    caller = entry.machine.files[entry.handle.number].caller
    session.hub.faults.meet(caller, "map", session.engine.now())
    answer = session.tasks.send_map(it, entry.handle, session.peer)
    entry.maps += 1
    session.maps += 1

    return answer
