"""SNAPSHOT: machines as they are, sent to a client; what a client puts, gone back to or loaded.

Files are made and read on another thread, so that the others are served meanwhile. The machines
themselves are taken, and go back, between two requests.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from memhub.arches import ArchNotInstalled, load_arches
from memhub.errors import InvalidArgument
from memhub.hub.memory_images import load_memory
from memhub.images.packed import unpack_contents
from memhub.service.server.rights import READ_MEMORY, READ_RANGES, RESTORE_MACHINES
from memhub.service.server.session import DEFAULT_MACHINE
from memhub.service.wire.administration import SNAPSHOT_WORDS
from memhub.snapshots.snapshot import Snapshot, reset_machines, restore_machines, take_machines
from memhub.snapshots.snapshot_file import SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.service import wire
    from memhub.service.server.session import Session

    Answer = wire.Message | None

#: Bytes of a file that a client may put.
FILE_MAX: Final = 1 << 28
_PIECE: Final = 1 << 16

#: What stands for every machine where no name is given.
_EVERY: Final = dict.fromkeys(("take", "reset", "restore"), "every machine")


def answer_snapshot(session: Session, it: wire.Snapshot) -> Answer:
    """SNAPSHOT."""
    if it.what not in SNAPSHOT_WORDS:
        known = ", ".join(SNAPSHOT_WORDS)
        raise InvalidArgument(f"SNAPSHOT asks to {it.what!r:.80}, not to {known}")

    if it.what == "put":
        return _put_piece(session, it)

    if it.what == "restore":
        return session.tasks.start_task(it.request, partial(_restore, session, it))

    if it.what in ("load", "replace"):
        return session.tasks.start_task(it.request, partial(_load, session, it))

    names = [it.machine] if it.machine else list(session.hub.machines)
    if it.what == "take":
        _check_rights(session, it, names, READ_MEMORY | READ_RANGES)
        making = session.tasks.reporting
        session.check_limit("take", "reports", len(making), "reports are being made")
        snapshot = take_machines(session.engine, it.machine or None)
        work = partial(_send_file, session, it, snapshot)

        return session.tasks.start_task(it.request, work, making)

    _check_rights(session, it, names, RESTORE_MACHINES)
    reset_machines(session.engine, it.machine or None, may_name=partial(_may_name, session))

    return _say_machines(session, it, names)


def _check_rights(session: Session, it: wire.Snapshot, names: Iterable[str], rights: int) -> None:
    for name in names:
        session.check_rights(
            it.what, rights, name, it.machine or _EVERY.get(it.what, DEFAULT_MACHINE)
        )


def _may_name(session: Session, machine: str) -> bool:
    """Whether a refusal may say that there is a machine: the client has a right on it."""
    return bool(session.rights_on(machine))


def _say_machines(session: Session, it: wire.Snapshot, names: Iterable[str]) -> Answer:
    return session.tasks.send_text(it, session.tasks.to_json({"machines": list(names)}))


def _check_any(session: Session, it: wire.Snapshot) -> None:
    """Refuse a client that may restore no machine at all."""
    if not any(session.rights_on(name) & RESTORE_MACHINES for name in session.hub.machines):
        session.raise_missing_right(it.what, it.machine or "any machine", RESTORE_MACHINES)


def _put_piece(session: Session, it: wire.Snapshot) -> Answer:
    _check_any(session, it)
    if len(session.put) + len(it.data) > FILE_MAX:
        session.put.clear()
        most = f"{FILE_MAX} bytes of a file are put, which is the limit: the file is forgotten"
        session.refuse_space(it.what, most)

    session.put += it.data

    return session.tasks.send_text(it, session.tasks.to_json({"bytes": len(session.put)}))


async def _send_file(session: Session, it: wire.Snapshot, snapshot: Snapshot) -> Answer:
    data = await to_thread.run_sync(snapshot.to_bytes)

    return await session.tasks.send_report(it.request, _pieces(data))


def _pieces(data: bytes) -> Iterator[bytes]:
    for at in range(0, len(data), _PIECE):
        yield data[at : at + _PIECE]


def _read_file(data: bytes, arches: Mapping[str, Arch]) -> Snapshot:
    """A file may have machines that are not asked for, of any architecture that is installed."""
    return Snapshot.from_bytes(data, arches={**load_arches(), **arches})


def _take_put(session: Session) -> bytes:
    """The file that was put, which is forgotten."""
    data = bytes(session.put)
    session.put.clear()

    return data


def _require_file(it: wire.Snapshot, data: bytes, kind: str) -> None:
    """Refuse where nothing was put (EINVAL)."""
    if not data:
        asked = f"SNAPSHOT asks to {it.what}"
        raise InvalidArgument(f"{asked}, and nothing was put before, which is no {kind}")


async def _restore(session: Session, it: wire.Snapshot) -> Answer:
    data = _take_put(session)
    if it.machine:
        _check_rights(session, it, [it.machine], RESTORE_MACHINES)
    else:
        _check_any(session, it)  # which machines the file has is seen later

    _require_file(it, data, "snapshot of memhub")
    arches = {machine.arch.name: machine.arch for machine in session.hub.machines.values()}
    try:
        snapshot = await to_thread.run_sync(_read_file, data, arches)
    except (SnapshotError, ArchNotInstalled) as error:
        raise InvalidArgument(str(error)) from None

    names = [it.machine] if it.machine else list(snapshot.machines)
    _check_rights(session, it, names, RESTORE_MACHINES)
    may_name = partial(_may_name, session)
    restore_machines(session.engine, snapshot, it.machine or None, may_name=may_name)

    return _say_machines(session, it, names)


async def _load(session: Session, it: wire.Snapshot) -> Answer:
    data, name = _take_put(session), it.machine or session.hub.default
    _check_rights(session, it, [name], RESTORE_MACHINES)
    session.engine.machine(name)
    _require_file(it, data, "packed contents")
    try:
        contents = await to_thread.run_sync(unpack_contents, data)
    except ValueError as error:
        raise InvalidArgument(str(error)) from None

    count = load_memory(session.engine, contents, name, clear=it.what == "replace")

    return session.tasks.send_text(it, session.tasks.to_json({"bytes": count}))
