"""Shared memory: a machine's RAM, and what else there is, as descriptors that a local client maps.

Accesses through a mapping are not checked and not logged, and the mapping lasts as long as the
client keeps it. So writing is granted only where write(2) could change every byte of the file
too: the machine has no raised securelevel, and either allows writes to write-protected ranges
(`wp_writes = "allow"`) or has none in its RAM now. ROM is in a file of its own, which nobody can
write.

A client must not be able to turn a mapping for reading into one for writing. How the memory file
prevents that is described in `memhub.core.memory.backing`; `seal_machines` seals the memory of
those machines that no client of a service may ever write.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from memhub.core.deciding.failing import refusing_error
from memhub.core.deciding.open_close import check_open
from memhub.core.files import KERNEL_FILES, PATHS
from memhub.core.health.failure import is_refusing
from memhub.core.memory.pages import page_segments
from memhub.core.memory.pieces import protected
from memhub.core.service_events import MemoryMapped
from memhub.errors import DeviceError, NotPermitted, NotSupported
from memhub.service import wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.core.files import OpenFile
    from memhub.core.machine import Machine
    from memhub.engine.engine import Engine
    from memhub.handles.handle import Handle
    from memhub.service.server.rights import Peer
    from memhub.service.settings import RightsRule

    Row = tuple[int, int, int, str]


def map_memory(engine: Engine, handle: Handle, peer: Peer, it: wire.Map) -> tuple[wire.Mapped, int]:
    """Answer a MAP request, and record it.

    Args:
        engine: the hub's synchronous half.
        handle: the open file.
        peer: who asks.
        it: the request.

    Returns:
        the answer, and the descriptor to send with it, which the caller closes.

    Raises:
        NotSupported: EOPNOTSUPP; not over a Unix socket, on `/dev/kmem`, or without RAM.
        NotPermitted: EPERM; the handle or the machine does not allow it.
        DriverFailed: EIO; the machine is marked failed.
        DeviceError: EAGAIN; the machine is suspended.
        LogFailed: EIO; nothing is handed out.
    """
    machine = handle.machine
    error: DeviceError | None = None
    fd = -1
    try:
        check_map(handle.file, machine, it.rights, local=peer.uid is not None)
        fd = open_memory(machine, it.rights)
    except DeviceError as refusal:
        error = refusal

    try:
        caller, now = handle.file.caller, engine.now()
        engine.note(MemoryMapped(caller, str(peer), now, it.rights, error))
        if error is not None:
            raise error

        rows = rom_table(machine) if it.rights == wire.MAP_ROM else ram_table(machine)

        return wire.Mapped(it.request, it.rights, wire.map_table(rows)), fd
    except BaseException:
        if fd >= 0:
            os.close(fd)

        raise


def check_map(file: OpenFile, machine: Machine, rights: int, *, local: bool) -> None:
    """Refuse a mapping that the handle or the machine does not allow; see `map_memory`."""
    if is_refusing(machine):
        raise refusing_error(machine)

    if not local:
        raise NotSupported("memory can be mapped over a Unix socket only")

    if file.caller.device in KERNEL_FILES:
        raise NotSupported(f"{PATHS[file.caller.device]} has no memory to map")

    if file.caller.device != "mem":
        raise NotSupported("/dev/kmem cannot be mapped: map /dev/mem and translate")

    if machine.caches is not None:
        raise NotSupported(
            f"the memory of {machine.name} is not coherent: what a mapping does, no cache would see"
        )

    if not file.readable:
        raise NotPermitted(f"{file.caller.path} is not open for reading")

    if rights & wire.MAP_WRITE:
        if not file.writable:
            raise NotPermitted(f"{file.caller.path} is not open for writing")

        check_write(machine)


def check_write(machine: Machine) -> None:
    """Refuse where a mapping could write what write(2) could not.

    Raises:
        NotPermitted: EPERM.
    """
    check_open(machine, writable=True)
    if machine.memory.files.sealed:
        raise NotPermitted(
            f"the memory of {machine.name} is sealed against writing by a mapping: when the "
            "service started, its rules let no local user write it"
        )

    protection = machine.protection()
    if protection is None:
        return

    for base, length, _, _ in ram_table(machine):
        found = protected(protection, base, base + length)
        if found is not None:
            raise NotPermitted(
                f"{machine.name} has write-protected RAM at {found[0]:#x}, which a mapping could "
                "write: it is mapped for reading only"
            )


def seal_machines(machines: Iterable[Machine], rules: Iterable[RightsRule]) -> None:
    """Seal the memory of those machines that no local client of a service may ever write.

    Args:
        machines: what is served.
        rules: the service's rules; without any, every client may do everything.
    """
    rules = tuple(rules)
    if not rules:
        return

    writers = [rule for rule in rules if rule.uid is not None and "write-memory" in rule.allow]
    for machine in machines:
        if not any(rule.machine in ("*", machine.name) for rule in writers):
            machine.memory.files.seal_writes()


def open_memory(machine: Machine, rights: int) -> int:
    """A new descriptor of one of a machine's memory files.

    Raises:
        NotSupported: EOPNOTSUPP; the machine has no RAM, or the system has no memory files.
        DeviceError: ENOMEM; the host has no memory or no descriptor left.
    """
    memory = machine.memory
    try:
        if rights == wire.MAP_ROM:
            fd = memory.files.open_rom()
        elif all(extent.kind == "rom" for extent in memory.extents):
            raise NotSupported(f"{machine.name} has no RAM at any address")
        else:
            fd = memory.open_ram(writable=bool(rights & wire.MAP_WRITE))
    except DeviceError:
        raise
    except OSError as error:
        raise NotSupported(f"the memory file cannot be opened again: {error}") from error

    if fd < 0:
        raise NotSupported("this system has no memory files")

    return fd


def ram_table(machine: Machine) -> Iterator[Row]:
    """What the file with the RAM holds: the extents without the windows of devices."""
    limit = _end_of_memory(machine)
    for extent in machine.memory.extents:
        at, end = extent.base, min(extent.base + extent.length, limit)
        if extent.kind == "rom":
            continue

        for window in machine.memory.windows:
            if window.base < end and at < window.end:
                if at < window.base:
                    yield at, window.base - at, extent.offset + at - extent.base, extent.kind

                at = window.end

        if at < end:
            yield at, end - at, extent.offset + at - extent.base, extent.kind


def _end_of_memory(machine: Machine) -> int:
    """One past the last address that the machine's kernel maps: 4 GiB on i386 without PAE."""
    last, top = machine.transfer.rules.mem_last, machine.memory.top

    return top if last is None else min(top, last + 1)


def rom_table(machine: Machine) -> Iterator[Row]:
    """Every page without RAM, and every page with a device: ROM by its place in its file."""
    rom = {it.base: it.offset for it in machine.memory.extents if it.kind == "rom"}
    end = _end_of_memory(machine)
    for low, stop, segment in page_segments(machine.memory.segments(0, end)):
        high = min(stop, end)
        if segment.window is not None:
            yield low, high - low, 0, "device"
        elif segment.content and segment.delta is not None:
            yield low, high - low, rom[-segment.delta] + segment.delta + low, "rom"
        elif segment.kind != "ram":
            yield low, high - low, 0, "open"
