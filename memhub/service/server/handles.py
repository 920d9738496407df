"""Requests that open and close."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.abi import ILP32, LP64
from memhub.core.files import DEVICES, KERNEL_FILES
from memhub.errors import InvalidArgument
from memhub.service import wire
from memhub.service.server.rights import SET_RANGES, WRITE_MEMORY
from memhub.service.server.session import DEFAULT_MACHINE, Entry

if TYPE_CHECKING:
    from memhub.service.server.session import Session

_MODES: Final = {wire.OPEN_READ: "r", wire.OPEN_WRITE: "w", 3: "r+"}
_MODELS: Final = (None, LP64, ILP32)


def open_handle(session: Session, it: wire.Open) -> wire.Message:
    """OPEN."""
    mode = _MODES.get(it.flags & 3)
    if mode is None:
        raise InvalidArgument("OPEN asks for neither reading nor writing")

    session.check_limit("open", "handles", len(session.entries), "handles are open")
    named = it.path.rpartition(":")[0]
    machine = named or session.engine.default
    rights = session.rights_on(machine)
    device = DEVICES.get(it.path.rpartition(":")[2])
    needed = SET_RANGES if device in KERNEL_FILES else WRITE_MEMORY if device else 0
    missing = needed & ~rights if it.flags & wire.OPEN_WRITE else 0
    if not rights:
        session.raise_missing_right("open", named or DEFAULT_MACHINE, 0)
    elif missing:
        session.raise_missing_right("open", machine, missing)

    handle = session.process.open_nowait(
        it.path,
        mode,
        undo=bool(it.flags & wire.OPEN_UNDO),
        model=_MODELS[it.model or session.model],
    )
    session.last_handle += 1
    entry = session.entries[session.last_handle] = Entry(handle, rights)
    model = 1 if entry.model is LP64 else 2
    arch, name = entry.machine.arch.name, entry.machine.name

    return wire.Opened(it.request, session.last_handle, model, 0, arch, name)


def close_handle(session: Session, entry: Entry, it: wire.Close) -> wire.Message:
    """CLOSE."""
    del session.entries[it.handle]
    session.maps -= entry.maps
    entry.handle.close()

    return wire.Done(it.request)
