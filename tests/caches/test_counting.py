"""How often a hazard was met, which record met it, and how long an access of many lines takes."""

from __future__ import annotations

from time import process_time
from typing import TYPE_CHECKING

import pytest

from caches.cache_rig import pc
from caches.two_processes import AT, machine
from memhub import AuditLog, CacheLimits, Hub, KernelMapping
from memhub.audit import read_records
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio
KERNEL = 0xFFFFFFFF90000000
CACHED = AT + (1 << 20)


async def test_one_access_meets_a_hazard_of_a_line_once() -> None:
    async with machine() as it:
        for place in (0, 4, 9):
            await it.one.pwrite(b"x", AT + place)

        it.bus.read(AT, 4)
        it.bus.read(AT, 16)
        assert [(one.name, one.times) for one in it.hub.hazards()] == [("stale-bus-read", 2)]
        it.bus.write(AT, bytes(16))
        await it.two.pread(16, AT)
        assert [(one.name, one.times) for one in it.hub.hazards()] == [
            ("stale-bus-read", 2),
            ("hidden-dma-write", 1),
            ("stale-cpu-read", 1),
        ]


async def test_one_read_that_overtakes_several_stores_meets_each_buffer_once() -> None:
    async with machine("write-combine") as it:
        await it.one.set_range(AT + (1 << 20), 4096, "write-through")
        await it.one.pwrite(b"x", AT)
        for place in (0, 8, 16):
            await it.one.pwrite(b"y", AT + (1 << 20) + place)

        it.bus.read(AT + (1 << 20), 32)
        found = {one.name: one.times for one in it.hub.hazards()}
        assert found == {"unordered-stores": 1, "undrained-buffers": 1}


async def test_a_line_that_was_stored_before_a_combined_store_overtakes_nothing() -> None:
    """Whole lines reach the bus as one piece, but only the later one was stored too late."""
    for bus in ("blind", "snooping"):
        async with machine("write-combine", bus=bus, caches=CacheLimits(line_size=16)) as it:
            await it.one.pwrite(bytes(16), CACHED)
            await it.one.pwrite(b"x", AT)
            await it.one.pwrite(bytes(16), CACHED + 16)
            await it.one.flush(CACHED, 32)
            it.bus.read(CACHED, 16)
            assert it.names() == ["undrained-buffers"]
            it.bus.read(CACHED + 16, 16)
            assert it.names() == ["unordered-stores", "undrained-buffers"]


async def test_no_record_has_met_a_buffer_that_is_not_drained(tmp_path: Path) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        async with Hub([pc()], log=log) as hub, await hub.open("/dev/mem", "r+") as mem:
            await mem.set_range(AT, 4096, "write-combine")
            await mem.pwrite(b"pixels", AT)
            (hazard,) = hub.hazards()

    records = {it["seq"]: it["event"] for it in read_records(tmp_path / "log")}
    assert (hazard.name, hazard.seen) == ("undrained-buffers", None)
    assert records[hazard.since or 0] == "request.write"


async def test_the_record_of_the_close_has_met_buffers_of_a_process_that_ended(
    tmp_path: Path,
) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        async with Hub([pc()], log=log) as hub, await hub.open("/dev/mem", "r+") as owner:
            await owner.set_range(AT, 4096, "write-combine")
            async with hub.process("short") as process:
                mem = await process.open("/dev/mem", "r+")
                await mem.pwrite(b"pixels", AT)

            (hazard,) = hub.hazards()

    records = {it["seq"]: it["event"] for it in read_records(tmp_path / "log")}
    assert records[hazard.seen or 0] == "request.close"


async def _time(bus: str, count: int, size: int) -> tuple[float, float]:
    """CPU seconds of one write-back and one read of the bus over so many dirty lines."""
    limits = CacheLimits(lines=1 << 14)
    async with Hub([pc(bus=bus, caches=limits)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        for line in range(count):
            mem.pwrite_nowait(bytes(size), AT + 64 * line)

        start = process_time()
        await mem.writeback(AT, 64 * count)
        middle = process_time()
        for line in range(count):
            mem.pwrite_nowait(bytes(size), AT + 64 * line)

        begun = process_time()
        hub.bus().read(AT, 64 * count)

        return middle - start, process_time() - begun


@pytest.mark.campaign
@pytest.mark.alone
@pytest.mark.parametrize("size", [8, 64])
@pytest.mark.parametrize("bus", ["blind", "snooping"])
async def test_the_time_of_many_lines_is_proportional_to_their_number(bus: str, size: int) -> None:
    few = [await _time(bus, 1 << 10, size) for _ in range(3)]
    many = [await _time(bus, 1 << 13, size) for _ in range(2)]
    for index in range(2):
        least, most = min(it[index] for it in few), min(it[index] for it in many)
        assert most < 30 * max(least, 0.002)  # eight times the lines


async def _time_scattered(pages: int, limits: CacheLimits) -> float:
    """CPU seconds of one write and one read of kernel pages, none of which follows another."""
    kmem = tuple(
        KernelMapping(virtual=KERNEL + 4096 * it, physical=AT + 8192 * it, length=4096)
        for it in range(pages)
    )
    async with Hub([pc(kmem=kmem, caches=limits)]) as hub, hub.process("one") as process:
        kernel = await process.open("/dev/kmem", "r+")
        start = process_time()
        await kernel.pwrite(bytes(4096 * pages), KERNEL)
        await kernel.pread(4096 * pages, KERNEL)

        return process_time() - start


@pytest.mark.campaign
@pytest.mark.alone
async def test_the_time_of_many_scattered_pages_is_proportional_to_their_number() -> None:
    limits = CacheLimits()
    few = min([await _time_scattered(1 << 6, limits) for _ in range(3)])
    assert await _time_scattered(1 << 10, limits) < 48 * few  # sixteen times the pages


@pytest.mark.campaign
@pytest.mark.alone
async def test_the_time_of_scattered_pages_does_not_grow_with_the_cache() -> None:
    small = min([await _time_scattered(1 << 10, CacheLimits()) for _ in range(3)])
    large = await _time_scattered(1 << 10, CacheLimits(lines=1 << 15))
    assert large < 5 * small  # all lines of either cache are evicted in one access


@pytest.mark.parametrize("coherent", [False, True])
async def test_the_bus_reads_no_more_at_once_than_a_file(coherent: bool) -> None:
    async with Hub([pc(coherent=coherent)]) as hub:
        for length in (1 << 31, 1 << 36, 1 << 70):
            with pytest.raises(InvalidArgument, match=f"length {length:#x} is more than 0x7ff"):
                hub.bus().read(0, length)

        assert hub.bus().read(0, 8) == bytes(8)
