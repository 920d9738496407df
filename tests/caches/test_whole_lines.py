"""A dirty line reaches the bus whole: false sharing; and what nothing keeps is not combined."""

from __future__ import annotations

import pytest

from caches.cache_rig import PC
from caches.two_processes import AT, DATA, PAGE, machine
from memhub import Region

pytestmark = pytest.mark.anyio


async def test_a_dirty_line_reaches_the_bus_whole_and_overwrites_what_a_device_wrote() -> None:
    """False sharing: a driver's variable in the line of a device's buffer."""
    async with machine() as it:
        await it.one.pwrite(b"ab", AT + 32)
        it.bus.write(AT, DATA)
        assert it.names() == ["hidden-dma-write"]
        await it.one.flush(AT, 8)
        assert it.bus.read(AT, 8) == bytes(8)
        assert it.bus.read(AT + 32, 2) == b"ab"


async def test_a_store_beside_what_a_device_wrote_overwrites_it_with_its_line() -> None:
    async with machine() as it:
        await it.one.pread(1, AT)
        it.bus.write(AT, DATA)
        assert it.names() == []
        await it.one.pwrite(b"ab", AT + 32)
        assert it.names() == ["hidden-dma-write"]
        await it.one.flush(AT, 1)
        assert it.bus.read(AT, 8) == bytes(8)


async def test_a_line_that_was_flushed_first_leaves_what_a_device_writes() -> None:
    async with machine() as it:
        await it.one.pwrite(b"ab", AT + 32)
        await it.one.flush(AT, 1)
        it.bus.write(AT, DATA)
        await it.one.pwrite(b"cd", AT + 32)
        await it.one.flush(AT, 1)
        assert it.bus.read(AT, 8) == DATA
        assert it.names() == []


@pytest.mark.parametrize("kind", ["write-combine", "write-back"])
async def test_nothing_is_kept_of_a_write_into_a_hole_or_a_rom(kind: str) -> None:
    rom = Region(base=0xF0000, length=0x10000, kind="rom", data=b"rom")
    async with machine(memory=(*PC.memory, rom)) as it:
        for place, seen in ((0xA0000, b"\xff" * 4), (0xF0000, b"rom\xff")):
            await it.one.set_range(place, PAGE, kind)
            await it.one.pwrite(DATA, place)
            assert await it.one.pread(4, place) == seen
            assert await it.one.pread(4, place) == it.bus.read(place, 4) == seen
