"""Twelve bugs that hardware has and a coherent machine hides; their mended twins are silent.

Each is a driver that takes `mended`. On a coherent machine both do the same and nothing is told.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from caches.cache_rig import pc
from memhub import AuditLog, CacheLimits, Hub
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub.devices.bus import Bus
    from memhub.handles.handle import Handle

RING, FRAME, FLAG, TABLE = 0x200000, 0x300000, 0x400000, 0x500000
PAGE = 4096
M = 1 << 20


@dataclass
class Driver:
    """A driver, another process, and the device's bus."""

    hub: Hub
    mem: Handle
    other: Handle
    bus: Bus


async def forgets_a_flush_before_the_device_reads(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"descriptor", RING)
    if mended:
        await it.mem.writeback(RING, 10)
        await it.mem.fence()

    it.bus.read(RING, 10)


async def flushes_one_line_too_few(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"d" * 100, RING)
    await it.mem.writeback(RING, 100 if mended else 64)
    await it.mem.fence()
    it.bus.read(RING, 100)


async def forgets_the_fence_after_a_writeback(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"descriptor", RING)
    await it.mem.writeback(RING, 10)
    if mended:
        await it.mem.fence()

    it.bus.read(RING, 10)


async def flushes_before_the_last_store(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"head", RING)
    if not mended:
        await it.mem.flush(RING, 8)

    await it.mem.pwrite(b"tail", RING + 4)
    if mended:
        await it.mem.flush(RING, 8)

    it.bus.read(RING, 8)


async def reads_what_the_device_wrote_from_its_cache(it: Driver, mended: bool) -> None:
    await it.mem.pread(8, RING)
    it.bus.write(RING, b"complete")
    if mended:
        await it.mem.flush(RING, 8)

    await it.mem.pread(8, RING)


async def gives_the_device_a_buffer_with_a_dirty_line(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(bytes(64), RING)
    if mended:
        await it.mem.flush(RING, 64)

    it.bus.write(RING, b"received")


async def shares_a_line_with_the_device(it: Driver, mended: bool) -> None:
    """A variable of the driver lies in the line of the device's buffer."""
    await it.mem.pwrite(b"variable", RING + (64 if mended else 32))
    it.bus.write(RING, b"r" * 64)


async def stores_beside_what_the_device_wrote(it: Driver, mended: bool) -> None:
    """The line is older than what the device wrote, and a store makes it dirty."""
    await it.mem.pread(8, RING)
    it.bus.write(RING, b"received")
    if mended:
        await it.mem.flush(RING, 8)

    await it.mem.pwrite(b"variable", RING + 32)


async def lets_the_device_write_what_it_combines(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"pixels", FRAME)
    if mended:
        await it.mem.fence()

    it.bus.write(FRAME, b"cursor")


async def reads_what_another_combines(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"pixels", FRAME)
    if mended:
        await it.mem.fence()

    await it.other.pread(6, FRAME)


async def leaves_older_bytes_in_a_buffer(it: Driver, mended: bool) -> None:
    """Another process writes and fences; the bytes of the first may reach the bus after that."""
    await it.mem.pwrite(b"older", FRAME)
    if mended:
        await it.mem.fence()

    await it.other.pwrite(b"newer", FRAME + 2)
    await it.other.fence()
    await it.mem.fence()


async def leaves_older_bytes_under_whole_lines(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"older", FRAME + 64)
    if mended:
        await it.mem.fence()

    await it.other.pwrite(bytes(192), FRAME)


async def draws_and_forgets_the_fence(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"pixels", FRAME)
    if mended:
        await it.mem.fence()

    it.bus.read(FRAME, 6)


async def sets_the_flag_before_the_data_is_out(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"command", FRAME)
    if mended:
        await it.mem.fence()

    await it.mem.pwrite(b"\1", FLAG)  # write-through: the device sees it now
    it.bus.read(FLAG, 1)


async def ends_without_a_fence(it: Driver, mended: bool) -> None:
    async with it.hub.process("short") as short, await short.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"pixels", FRAME)
        if mended:
            await mem.fence()


async def writes_to_a_protected_table(it: Driver, mended: bool) -> None:
    if mended:
        await it.mem.pread(4, TABLE)
    else:
        with pytest.raises(DeviceError, match="write-protected"):
            await it.mem.pwrite(b"acpi", TABLE)


async def changes_a_type_over_dirty_lines(it: Driver, mended: bool) -> None:
    await it.mem.pwrite(b"dirty", RING)
    if mended:
        it.bus.flush_all()

    await it.mem.set_range(RING, PAGE, "uncacheable")


async def accesses_a_page_with_two_types(it: Driver, mended: bool) -> None:
    """PAT over MTRR: a page that is cached is made write-combine and written."""
    await it.mem.pread(8, RING)
    if mended:
        await it.mem.flush(RING, 8)

    await it.mem.set_range(RING, PAGE, "write-combine")
    await it.other.pwrite(b"combined", RING)
    await it.other.fence()


@dataclass(frozen=True)
class Bug:
    """A bug, the hazard that names it, and where the machine differs from the others."""

    driver: Callable[[Driver, bool], Awaitable[None]]
    hazard: str
    address: int
    process: str | None = "driver"
    slot: int | None = None
    machine: dict[str, Any] = field(default_factory=dict)


FORGETFUL = {"caches": CacheLimits(seed=1, forget_flush=True)}
BUGS = (
    Bug(forgets_a_flush_before_the_device_reads, "stale-bus-read", RING),
    Bug(forgets_the_fence_after_a_writeback, "unfenced-writeback", RING),
    Bug(flushes_one_line_too_few, "stale-bus-read", RING + 64),
    Bug(flushes_before_the_last_store, "stale-bus-read", RING + 4),
    Bug(reads_what_the_device_wrote_from_its_cache, "stale-cpu-read", RING),
    Bug(gives_the_device_a_buffer_with_a_dirty_line, "hidden-dma-write", RING),
    Bug(shares_a_line_with_the_device, "hidden-dma-write", RING),
    Bug(stores_beside_what_the_device_wrote, "hidden-dma-write", RING),
    Bug(lets_the_device_write_what_it_combines, "hidden-dma-write", FRAME, slot=0),
    Bug(reads_what_another_combines, "undrained-read", FRAME, slot=0),
    Bug(leaves_older_bytes_in_a_buffer, "hidden-store", FRAME + 2, slot=0),
    Bug(leaves_older_bytes_under_whole_lines, "hidden-store", FRAME + 64, slot=0),
    Bug(draws_and_forgets_the_fence, "undrained-read", FRAME, slot=0),
    Bug(sets_the_flag_before_the_data_is_out, "unordered-stores", FRAME, slot=0),
    Bug(ends_without_a_fence, "undrained-buffers", FRAME, "short", slot=0),
    Bug(writes_to_a_protected_table, "protected-write", TABLE, slot=2),
    Bug(changes_a_type_over_dirty_lines, "unflushed-change", RING, machine=FORGETFUL),
    Bug(accesses_a_page_with_two_types, "aliased-types", RING, "other", 3, FORGETFUL),
)


async def run_driver(bug: Bug, path: Path, *, mended: bool, coherent: bool) -> list[Any]:
    machine = {"caches": CacheLimits(seed=1), "wp_writes": "fault", **bug.machine}
    with AuditLog.open(path) as log:
        async with (
            Hub([pc(coherent=coherent, **machine)], log=log) as hub,
            hub.process("driver") as driver,
            hub.process("other") as other,
        ):
            mem, beside = await driver.open("/dev/mem", "r+"), await other.open("/dev/mem", "r+")
            await mem.set_range(FRAME, 16 * PAGE, "write-combine")
            await mem.set_range(FLAG, PAGE, "write-through")
            await mem.set_range(TABLE, PAGE, "write-protect")
            await bug.driver(Driver(hub, mem, beside, hub.bus("pc")), mended)

            return hub.hazards("pc")


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.driver.__name__)
async def test_a_planted_bug_is_found_by_name(bug: Bug, tmp_path: Path) -> None:
    found = await run_driver(bug, tmp_path / "log", mended=False, coherent=False)
    assert [it.name for it in found if it.level == "error"] in ([bug.hazard], [])
    hazard = next(it for it in found if it.name == bug.hazard)
    assert (hazard.address, hazard.process, hazard.slot) == (bug.address, bug.process, bug.slot)
    assert hazard.since is not None
    assert hazard.since <= (hazard.seen or 0)
    assert hazard.cure in str(hazard)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.driver.__name__)
async def test_its_mended_twin_is_silent(bug: Bug, tmp_path: Path) -> None:
    assert await run_driver(bug, tmp_path / "log", mended=True, coherent=False) == []


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.driver.__name__)
async def test_a_coherent_machine_hides_it(bug: Bug, tmp_path: Path) -> None:
    assert await run_driver(bug, tmp_path / "log", mended=False, coherent=True) == []
