"""What mem(4) promises of each attribute, one schedule each, and what it does not promise."""

from __future__ import annotations

from dataclasses import replace

import pytest

from caches.cache_rig import LIMITS
from caches.two_processes import AT, DATA, PAGE, machine
from memhub import CacheLimits, Hub
from memhub.errors import BadAddress
from shell.kit import BOARD, OLD

# Promised


async def test_an_uncacheable_write_is_on_the_bus_when_the_call_returns() -> None:
    async with machine("uncacheable") as it:
        await it.one.pwrite(DATA, AT)
        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == DATA


async def test_a_write_through_write_is_committed_synchronously() -> None:
    async with machine("write-through") as it:
        await it.one.pwrite(DATA, AT)
        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == DATA
        assert it.hub.machines["pc"].caches.lines[AT >> 6].dirty == 0  # type: ignore[union-attr]


async def test_a_write_back_write_is_seen_by_every_cpu_at_once() -> None:
    async with machine() as it:
        await it.one.pwrite(DATA, AT)
        assert await it.two.pread(8, AT) == DATA


@pytest.mark.parametrize("call", ["flush", "writeback"])
async def test_a_flushed_line_is_on_the_bus(call: str) -> None:
    async with machine() as it:
        await it.one.pwrite(DATA, AT)
        await getattr(it.two, call)(AT + 3, 1)
        if call == "writeback":
            await it.two.fence()

        assert it.bus.read(AT, 8) == DATA
        assert (AT >> 6 in it.hub.machines["pc"].caches.lines) == (  # type: ignore[union-attr]
            call == "writeback"
        )


async def test_a_fence_drains_what_its_process_has_combined() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(DATA, AT)
        await it.one.fence()
        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == DATA
        assert it.names() == []


async def test_a_full_buffer_is_on_the_bus() -> None:
    async with machine("write-combine") as it:
        for place in range(0, 64, 8):
            assert it.hub.machines["pc"].memory.read(AT, 8) == bytes(8)
            await it.one.pwrite(DATA, AT + place)

        assert it.bus.read(AT, 64) == DATA * 8


async def test_an_uncacheable_access_drains_what_its_process_has_combined() -> None:
    async with machine("write-combine") as it:
        await it.one.set_range(AT + 16 * PAGE, PAGE, "uncacheable")
        await it.one.pwrite(DATA, AT)
        await it.one.pwrite(b"go", AT + 16 * PAGE)
        assert it.bus.read(AT, 8) == DATA


async def test_a_process_reads_what_it_has_combined() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(DATA, AT)
        assert await it.one.pread(8, AT) == DATA
        assert it.bus.read(AT, 8) == DATA


async def test_write_protected_memory_is_not_written() -> None:
    async with machine("write-protect", wp_writes="fault") as it:
        with pytest.raises(BadAddress, match="write-protected"):
            await it.one.pwrite(DATA, AT)

        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == bytes(8)

    async with machine("write-protect", wp_writes="drop") as it:
        assert await it.one.pwrite(DATA, AT) == 8
        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == bytes(8)


async def test_a_change_of_the_type_flushes_first() -> None:
    async with machine() as it:
        await it.one.pwrite(DATA, AT)
        await it.one.remove_range(AT, 16 * PAGE)
        assert it.hub.machines["pc"].memory.read(AT, 8) == DATA
        await it.one.set_range(AT, 16 * PAGE, "write-combine")
        await it.two.pwrite(b"abc", AT)
        await it.one.remove_range(AT, 16 * PAGE)
        assert it.hub.machines["pc"].memory.read(AT, 8) == b"abc45678"
        assert it.names() == []


async def test_the_end_of_an_undo_flushes_first() -> None:
    async with machine() as it:
        undone = await it.hub.open("/dev/mem", "r", undo=True)
        await undone.set_range(AT + 16 * PAGE, PAGE, "write-combine")
        await it.one.pwrite(DATA, AT)
        await undone.aclose()
        assert it.hub.machines["pc"].memory.read(AT, 8) == DATA


async def test_a_snooping_bus_finds_dirty_lines_and_reaches_them() -> None:
    async with machine(bus="snooping") as it:
        await it.one.pwrite(DATA, AT)
        assert it.bus.read(AT, 8) == DATA
        await it.one.pwrite(b"xy", AT)
        it.bus.write(AT + 1, b"dma")
        assert await it.two.pread(8, AT) == b"xdma5678"
        assert it.bus.read(AT, 8) == b"xdma5678"
        assert it.names() == []


async def test_a_flush_of_everything_leaves_nothing_behind() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(b"combined", AT)
        await it.two.pwrite(b"dirty", AT + 17 * PAGE)
        it.bus.flush_all()
        assert it.bus.read(AT, 8) == b"combined"
        assert it.bus.read(AT + 17 * PAGE, 5) == b"dirty"


async def test_an_access_to_an_uncacheable_device_drains_what_its_process_has_combined() -> None:
    rung = []

    class Doorbell:
        async def read(self, offset: int, size: int) -> bytes:
            return bytes(size)

        async def write(self, offset: int, data: bytes) -> None:
            rung.append(it.bus.read(AT, 8))

    async with machine("write-combine") as it:
        it.hub.map_device(AT + 16 * PAGE, PAGE, Doorbell())
        await it.one.set_range(AT + 16 * PAGE, PAGE, "write-combine")
        await it.one.pwrite(DATA, AT)
        await it.one.pwrite(b"go", AT + 16 * PAGE)
        await it.one.remove_range(AT + 16 * PAGE, PAGE)
        await it.one.set_range(AT + 16 * PAGE, PAGE, "uncacheable")
        await it.one.pwrite(DATA, AT)
        await it.one.pwrite(b"go", AT + 16 * PAGE)
        assert rung == [bytes(8), DATA]


async def test_a_device_that_is_mapped_over_cached_memory_finds_it_flushed() -> None:
    class Silent:
        async def read(self, offset: int, size: int) -> bytes:
            return bytes(size)

        async def write(self, offset: int, data: bytes) -> None: ...

    async with machine() as it:
        await it.one.pwrite(DATA, AT)
        window = it.hub.map_device(AT, PAGE, Silent())
        await it.one.pwrite(b"device", AT)
        assert await it.one.pread(4, AT) == bytes(4)
        with pytest.raises(BadAddress, match="device"):
            it.bus.read(AT, 8)

        it.hub.machines["pc"].memory.unmap(window)
        assert it.bus.read(AT, 8) == DATA


# Not promised


async def test_a_write_back_write_may_not_be_on_the_bus() -> None:
    async with machine() as it:
        await it.one.pwrite(DATA, AT)
        assert it.bus.read(AT, 8) == bytes(8)


async def test_a_write_back_line_may_be_on_the_bus_before_it_is_flushed() -> None:
    async with machine(caches=LIMITS) as it:
        for line in range(64):
            await it.one.pwrite(DATA, AT + 16 * line)

        memory = it.hub.machines["pc"].memory
        reached = sum(memory.read(AT + 16 * line, 8) == DATA for line in range(64))
        assert reached == 60


async def test_combined_writes_are_seen_by_nobody_else() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(DATA, AT)
        assert it.bus.read(AT, 8) == await it.two.pread(8, AT) == bytes(8)


async def test_combined_writes_reach_the_bus_out_of_order() -> None:
    async with machine("write-combine", caches=CacheLimits(seed=5, logged=True)) as it:
        seen = []
        with it.hub.subscribe(events=["bus.lines"]) as lines:
            for _ in range(6):
                for line in range(6):
                    await it.one.pwrite(DATA, AT + 64 * line)

                await it.one.fence()
                seen.append(tuple(lines.receive_nowait()["line_bases"]))

        assert all(sorted(it) == [AT + 64 * line for line in range(6)] for it in seen)
        assert len(set(seen)) > 2


async def test_a_fence_of_another_process_drains_nothing() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(DATA, AT)
        await it.two.fence()
        assert it.bus.read(AT, 8) == bytes(8)


async def test_a_fence_writes_no_line_back_and_a_flush_drains_no_buffer() -> None:
    async with machine("write-combine") as it:
        await it.one.pwrite(DATA, AT)
        await it.one.flush(AT, 64)
        assert it.bus.read(AT, 8) == bytes(8)
        await it.one.pwrite(DATA, AT + 17 * PAGE)
        await it.one.fence()
        assert it.bus.read(AT + 17 * PAGE, 8) == bytes(8)


async def test_a_cpu_may_read_what_was_there_before_a_blind_bus_wrote() -> None:
    async with machine() as it:
        assert await it.one.pread(8, AT) == bytes(8)
        it.bus.write(AT, DATA)
        assert await it.one.pread(8, AT) == bytes(8)
        await it.one.flush(AT, 8)
        assert await it.one.pread(8, AT) == DATA


async def test_open_bus_is_never_cached() -> None:
    async with machine() as it:
        hole = 0xA0000
        await it.one.pwrite(DATA, hole)
        assert await it.one.pread(8, hole) == it.bus.read(hole, 8) == b"\xff" * 8
        assert it.hub.machines["pc"].caches.lines == {}  # type: ignore[union-attr]


async def test_a_machine_without_ranges_has_write_back_memory() -> None:
    spec = replace(BOARD, coherent=False, bus="blind")
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(DATA, 1 << 20)
        assert hub.bus().read(1 << 20, 8) == bytes(8)
        (hazard,) = hub.hazards()
        assert (hazard.name, hazard.slot, hazard.type) == ("stale-bus-read", None, "WB")


async def test_a_u_area_is_no_memory_that_a_bus_sees() -> None:
    uarea = 0xF0000000 - 2 * PAGE
    spec = replace(OLD, coherent=False, bus="blind")
    async with Hub([spec]) as hub, await hub.open("/dev/kmem", "r+") as kmem:
        await kmem.pwrite(b"own", uarea)
        await kmem.flush(uarea, 3)
        assert await kmem.pread(3, uarea) == b"own"
        await kmem.pwrite(b"kernel", 0xC0002000)
        assert hub.bus().read(0x2000, 6) == bytes(6)
        await kmem.writeback(0xC0002000, 6)
        await kmem.fence()
        assert hub.bus().read(0x2000, 6) == b"kernel"


async def test_a_transfer_that_ends_short_stores_what_it_moved() -> None:
    async with machine() as it:
        assert await it.one.pwrite(bytes(range(16)), (1 << 36) - 8) == 8
        assert len(await it.one.pread(16, (1 << 36) - 8)) == 8

    spec = replace(OLD, coherent=False, bus="blind")
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        with pytest.raises(BadAddress) as caught:
            await mem.pwrite(bytes(20), (1 << 32) - 4)

        assert caught.value.moved == 4
