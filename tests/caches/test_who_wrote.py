"""A hazard names who wrote its bytes, and the record of that store, also in a shared line."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from caches.cache_rig import pc
from caches.two_processes import AT, PAGE
from memhub import AuditLog, CacheLimits, Hub
from memhub.audit import read_records
from memhub.core.caches.lines import Store
from memhub.core.caches.stores import Run, add_store, drop_bytes, runs_beside, runs_by_writer
from memhub.core.files import Principal

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from memhub.core.caches.hazards import Hazard
    from memhub.handles.handle import Handle

ONE, TWO = Principal(1, "one"), Principal(2, "two")
ALIAS: dict[str, Any] = {"caches": CacheLimits(seed=3, forget_flush=True)}


class Rig:
    """Three processes of one machine, its bus, and its log."""

    def __init__(self, hub: Hub, handles: dict[str, Handle], path: Path) -> None:
        self.hub, self.handles, self.path = hub, handles, path
        self.bus = hub.bus()

    async def write(self, who: str, place: int, data: bytes) -> int:
        """The record of a write."""
        await self.handles[who].pwrite(data, AT + place)

        return self.record()

    def record(self) -> int:
        """The newest record that is no `bus.lines`."""
        records = read_records(self.path)

        return max(int(it["seq"]) for it in records if it["event"] != "bus.lines")

    def met(self, name: str) -> list[tuple[str | None, int, int, int | None]]:
        """Process, place, bytes and record of the hazards of a name."""
        return [shown(it) for it in self.hub.hazards() if it.name == name]


def shown(it: Hazard) -> tuple[str | None, int, int, int | None]:
    return it.process, it.address - AT, it.length, it.since


@asynccontextmanager
async def rig(path: Path, kind: str = "write-back", **more: Any) -> AsyncIterator[Rig]:
    with AuditLog.open(path / "log") as log:
        async with Hub([pc(**{"caches": CacheLimits(seed=3), **more})], log=log) as hub:
            people = {name: hub.process(name) for name in ("p", "q", "r")}
            handles = {name: await it.open("/dev/mem", "r+") for name, it in people.items()}
            if kind != "write-back":
                await handles["r"].set_range(AT, 16 * PAGE, kind)

            yield Rig(hub, handles, path / "log")


pytestmark = pytest.mark.anyio


async def test_a_stale_read_names_who_wrote_these_bytes(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        first = await it.write("p", 0, b"pp")
        await it.write("q", 32, b"qq")
        it.bus.read(AT, 2)
        assert it.met("stale-bus-read") == [("p", 0, 2, first)]


async def test_bytes_of_several_writers_are_a_hazard_of_each(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        first = await it.write("p", 0, b"pppp")
        second = await it.write("q", 2, b"qq")
        third = await it.write("p", 4, b"p")
        it.bus.read(AT + 1, 3)
        assert it.met("stale-bus-read") == [("p", 1, 1, first), ("q", 2, 2, second)]
        it.bus.read(AT + 3, 8)
        assert [one.times for one in it.hub.hazards()] == [2, 2]
        it.bus.write(AT + 4, b"d")
        assert it.met("hidden-dma-write") == [("p", 4, 1, third)]


async def test_one_process_s_bytes_have_the_record_of_their_own_store(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.write("p", 0, b"a")
        second = await it.write("p", 32, b"b")
        third = await it.write("p", 33, b"c")
        await it.write("p", 32, b"b")
        it.bus.read(AT + 32, 2)
        assert it.met("stale-bus-read") == [("p", 32, 2, second)]
        it.bus.write(AT + 33, b"d")
        assert it.met("hidden-dma-write") == [("p", 33, 1, third)]


async def test_what_another_has_overwritten_is_the_other_s(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.write("p", 0, bytes(8))
        second = await it.write("q", 0, bytes(8))
        third = await it.write("p", 6, bytes(4))
        it.bus.read(AT, 10)
        assert it.met("stale-bus-read") == [("q", 0, 6, second), ("p", 6, 4, third)]


async def test_what_is_written_back_or_through_is_nobody_s_any_more(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.write("p", 0, b"pp")
        await it.handles["r"].writeback(AT, 2)
        await it.handles["r"].fence()
        second = await it.write("q", 32, b"qq")
        it.bus.read(AT, 64)
        assert it.met("stale-bus-read") == [("q", 32, 2, second)]


async def test_a_hidden_write_names_whose_bytes_it_writes_under(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        first = await it.write("p", 8, b"pp")
        second = await it.write("q", 32, b"qq")
        it.bus.write(AT + 32, b"dd")
        assert it.met("hidden-dma-write") == [("q", 32, 2, second)]
        it.bus.write(AT + 4, bytes(8))
        assert it.met("hidden-dma-write")[1:] == [("p", 4, 8, first)]


async def test_a_write_beside_all_bytes_names_who_made_the_line_dirty(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        first = await it.write("p", 0, b"pp")
        await it.write("q", 32, b"qq")
        it.bus.write(AT + 16, b"dd")
        assert it.met("hidden-dma-write") == [("p", 16, 2, first)]


async def test_a_stale_load_has_the_record_of_the_write_of_these_bytes(tmp_path: Path) -> None:
    async with rig(tmp_path) as it:
        await it.write("p", 0, b"pp")
        it.bus.write(AT + 32, b"d")
        first = it.record()
        it.bus.write(AT + 40, b"e")
        second = it.record()
        await it.handles["q"].pread(1, AT + 32)
        await it.handles["p"].pread(1, AT + 40)
        assert it.met("stale-cpu-read") == [("q", 32, 1, first), ("p", 40, 1, second)]


async def test_an_unflushed_change_names_every_writer(tmp_path: Path) -> None:
    async with rig(tmp_path, **ALIAS) as it:
        first = await it.write("p", 0, b"pp")
        second = await it.write("q", 2, b"qq")
        await it.handles["r"].set_range(AT, PAGE, "uncacheable")
        assert it.met("unflushed-change") == [("p", 0, 2, first), ("q", 2, 2, second)]


async def test_an_alias_has_the_record_since_which_the_line_is_cached(tmp_path: Path) -> None:
    async with rig(tmp_path, **ALIAS) as it:
        first = await it.write("p", 0, b"pp")
        await it.write("q", 32, b"qq")
        await it.handles["r"].set_range(AT, PAGE, "uncacheable")
        await it.handles["q"].pread(2, AT + 32)
        assert it.met("aliased-types") == [("q", 32, 2, first)]


async def test_bytes_of_a_buffer_have_the_record_of_their_own_store(tmp_path: Path) -> None:
    async with rig(tmp_path, "write-combine") as it:
        first = await it.write("p", 0, b"a")
        second = await it.write("p", 8, b"b")
        await it.write("p", 8, b"c")
        it.bus.read(AT + 8, 1)
        await it.write("q", 8, b"q")
        it.bus.write(AT, b"d")
        assert it.met("undrained-read") == [("p", 8, 1, second)]
        assert it.met("hidden-store") == [("p", 8, 1, second)]
        assert it.met("hidden-dma-write") == [("p", 0, 1, first)]


async def test_a_buffer_that_is_not_drained_tells_all_its_bytes(tmp_path: Path) -> None:
    async with rig(tmp_path, "write-combine") as it:
        first = await it.write("p", 0, b"a")
        await it.write("p", 8, b"bc")
        assert it.met("undrained-buffers") == [("p", 0, 1, first)]
        (hazard,) = it.hub.hazards()
        assert hazard.what.endswith("since the store of 3 bytes of the line, in 2 stretches")


async def test_an_overtaken_store_is_named_and_a_later_one_of_its_buffer_is_not(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path, "write-combine") as it:
        await it.handles["r"].set_range(AT + (1 << 20), PAGE, "write-through")
        first = await it.write("p", 8, b"a")
        await it.write("p", 1 << 20, b"flag")
        await it.write("p", 0, b"b")
        it.bus.read(AT + (1 << 20), 4)
        assert it.met("unordered-stores") == [("p", 8, 1, first)]


@pytest.mark.parametrize("bus", ["blind", "snooping"])
async def test_bytes_that_another_stored_in_the_line_overtake_nothing(
    tmp_path: Path, bus: str
) -> None:
    other = AT + (1 << 20)
    async with rig(tmp_path, "write-combine", bus=bus) as it:
        first = await it.write("p", 0, b"a")
        await it.write("p", 1 << 20, b"p")
        await it.write("q", (1 << 20) + 32, b"q")
        if bus == "blind":
            await it.handles["r"].flush(other, 64)

        it.bus.read(other + 32, 1)
        assert it.met("unordered-stores") == []
        it.bus.read(other, 1)
        assert it.met("unordered-stores") == [("p", 0, 1, first)]


async def test_who_wrote_survives_a_snapshot_and_a_request_that_is_taken_back(
    tmp_path: Path,
) -> None:
    async with rig(tmp_path) as it:
        first = await it.write("p", 0, b"pp")
        second = await it.write("q", 1, b"q")
        then = it.hub.snapshot()
        await it.write("r", 0, b"rrr")
        it.hub.restore(type(then).from_bytes(then.to_bytes()))
        it.bus.read(AT, 3)
        assert it.met("stale-bus-read") == [("p", 0, 1, first), ("q", 1, 1, second)]


# The stores of one line, as values


def test_stores_are_apart_and_cover_what_was_stored() -> None:
    stores = add_store((), 0b1111, ONE, 1, 10)
    stores = add_store(stores, 0b0110, TWO, 2, 20)
    assert stores == (Store(0b1001, ONE, 1, 10), Store(0b0110, TWO, 2, 20))
    stores = add_store(stores, 0b11100, ONE, 3, 30)
    assert stores == (
        Store(0b0001, ONE, 1, 10),
        Store(0b0010, TWO, 2, 20),
        Store(0b1000, ONE, 3, 10),
        Store(0b10100, ONE, 3, 30),
    )
    assert drop_bytes(stores, 0b10101) == (Store(0b0010, TWO, 2, 20), Store(0b1000, ONE, 3, 10))


def test_stores_of_one_record_are_one() -> None:
    stores = add_store(add_store((), 0b01, ONE, 1, None), 0b10, ONE, 2, None)
    assert add_store(stores, 0b11, ONE, 3, None) == (Store(0b11, ONE, 3, None),)


def test_runs_are_of_one_writer_each() -> None:
    stores = (Store(0b0011, ONE, 1, 10), Store(0b11000, TWO, 2, 20), Store(0b100, ONE, 3, 30))
    assert runs_by_writer(stores, -1) == [Run(0, 3, ONE, 10), Run(3, 5, TWO, 20)]
    assert runs_by_writer(stores, 0b1110) == [Run(1, 3, ONE, 10), Run(3, 4, TWO, 20)]
    assert runs_by_writer(stores, 0b100) == [Run(2, 3, ONE, 30)]
    assert runs_by_writer(stores, 1 << 9) == []
    beside = list(runs_beside(stores, 0b111 << 8 | 0b1110))
    assert beside == [Run(1, 3, ONE, 10), Run(3, 4, TWO, 20), Run(8, 11, ONE, 10)]
