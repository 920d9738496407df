"""A write-back (clwb) is complete at the next fence of its process."""

from __future__ import annotations

import pytest

from caches.two_processes import AT, DATA, machine
from memhub import CacheLimits


async def test_a_write_back_is_complete_at_the_fence_of_its_process_and_not_before() -> None:
    seen = set()
    for seed in range(12):
        async with machine(caches=CacheLimits(seed=seed)) as it:
            await it.one.pwrite(DATA, AT)
            await it.one.writeback(AT, 8)
            await it.two.fence()  # of another process
            seen.add(it.bus.read(AT, 8))
            assert it.names() == ["unfenced-writeback"]  # whether it was there or not
            await it.one.fence()
            assert it.bus.read(AT, 8) == DATA
            (hazard,) = it.hub.hazards("pc")
            assert (hazard.process, hazard.address, hazard.times) == ("one", AT, 1)

    assert seen == {DATA, bytes(8)}  # the generator draws


async def test_a_store_after_a_write_back_is_no_part_of_it() -> None:
    for seed in range(6):
        async with machine(caches=CacheLimits(seed=seed)) as it:
            await it.one.pwrite(DATA, AT)
            await it.one.writeback(AT, 8)
            await it.one.pwrite(b"later", AT)
            await it.one.fence()
            assert it.bus.read(AT, 8) == DATA
            assert it.names() == ["stale-bus-read"]


async def test_a_snooping_bus_needs_no_fence_after_a_write_back() -> None:
    async with machine(bus="snooping") as it:
        await it.one.pwrite(DATA, AT)
        await it.one.writeback(AT, 8)
        assert it.hub.machines["pc"].memory.read(AT, 8) == DATA
        assert it.bus.read(AT, 8) == DATA
        assert it.names() == []


async def test_a_flush_and_the_end_of_a_process_complete_what_it_wrote_back() -> None:
    for seed in range(6):
        async with machine(caches=CacheLimits(seed=seed)) as it:
            await it.one.pwrite(DATA, AT)
            await it.one.writeback(AT, 8)
            await it.two.flush(AT, 8)
            assert it.bus.read(AT, 8) == DATA
            await it.one.pwrite(DATA[::-1], AT)
            await it.one.writeback(AT, 8)
            await it.one.aclose()
            assert it.bus.read(AT, 8) == DATA[::-1]
            assert it.names() == []


@pytest.mark.parametrize("seed", range(8))
async def test_a_device_that_writes_before_the_fence_is_named_whatever_the_luck(seed: int) -> None:
    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(b"own", AT)
        await it.one.writeback(AT, 3)
        it.bus.write(AT + 8, DATA)
        assert it.names() == ["unfenced-writeback"]
        await it.one.fence()
        assert it.names() == ["unfenced-writeback"]

    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(b"own", AT)
        await it.one.writeback(AT, 3)
        await it.one.fence()
        it.bus.write(AT + 8, DATA)
        assert it.names() == []


@pytest.mark.parametrize("seed", range(8))
async def test_the_write_back_and_fence_of_another_complete_it_whatever_the_luck(seed: int) -> None:
    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(DATA, AT)
        await it.one.writeback(AT, 8)
        await it.two.writeback(AT, 8)
        await it.two.fence()
        assert it.bus.read(AT, 8) == DATA
        assert it.names() == []


@pytest.mark.parametrize("seed", range(8))
async def test_of_two_that_write_back_the_same_store_either_fence_completes_it(seed: int) -> None:
    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(DATA, AT)
        await it.one.writeback(AT, 8)
        await it.two.writeback(AT, 8)
        await it.one.fence()
        assert it.bus.read(AT, 8) == DATA
        assert it.names() == []


@pytest.mark.parametrize("seed", range(8))
async def test_two_that_write_back_without_a_fence_are_both_named(seed: int) -> None:
    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(DATA, AT)
        await it.one.writeback(AT, 8)
        await it.two.writeback(AT, 8)
        it.bus.read(AT, 8)
        assert {(h.name, h.process) for h in it.hub.hazards()} == {
            ("unfenced-writeback", "one"),
            ("unfenced-writeback", "two"),
        }


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("again", [True, False])
async def test_a_fence_completes_no_write_back_of_a_store_after_its_own(
    seed: int, again: bool
) -> None:
    async with machine(caches=CacheLimits(seed=seed)) as it:
        await it.one.pwrite(DATA, AT)
        await it.one.writeback(AT, 8)
        await it.two.writeback(AT, 8)
        await it.one.pwrite(DATA[::-1], AT)
        await it.one.writeback(AT, 8)
        if again:
            await it.two.writeback(AT, 8)

        await it.two.fence()
        it.bus.read(AT, 8)
        assert [h.process for h in it.hub.hazards()] == ([] if again else ["one"])
        await it.one.fence()
        assert it.bus.read(AT, 8) == DATA[::-1]
        assert it.names() == ([] if again else ["unfenced-writeback"])
