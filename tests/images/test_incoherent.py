"""Memory that is not coherent, saved and loaded: who sees what, and what caches hold afterwards."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caches.cache_rig import PAGES, Rig, pc
from kvm.kernel_rig import BASE, kernel_machine
from memhub import AuditLog, CacheLimits, Hub, MachineSpec, Region, Snapshot
from memhub.audit import read_records
from memhub.core.spec import Content
from memhub.errors import LogFailed
from memhub.hub.memory_images import dump_taken
from memhub.images import fill, load_image
from memhub.images.dump import dump_machine, dump_snapshot
from memhub.kvm import open_image
from memhub.service.local import LocalClient
from shell.kit import Disk

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

    from memhub.images.dump import MemoryDump

pytestmark = pytest.mark.anyio

PLACE = 0x200000
VIEWS = ("bus", "cpu")
#: The default type is write-back.
WRITE_BACK = {0x2FF: 0x806}


def machine(bus: Any = "blind", **more: Any) -> MachineSpec:
    memory, limits = (Region(base=0, length=16 << 20),), CacheLimits(seed=7)
    given = {"memory": memory, "caches": limits, "msrs": WRITE_BACK, **more}

    return MachineSpec(name="pc", arch="amd64", coherent=False, bus=bus, **given)


def bytes_at(dump: MemoryDump, base: int, length: int) -> bytes:
    """The bytes of a stretch of RAM in an image."""
    found, end = bytearray(length), base + length
    for it in dump.contents:
        part = it.data[max(base - it.base, 0) : max(end - it.base, 0)]
        at = max(it.base - base, 0)
        found[at : at + len(part)] = part

    return bytes(found)


@pytest.mark.parametrize("bus", ["snooping", "blind"])
@settings(max_examples=25)
@given(chance=st.randoms(use_true_random=False), steps=st.integers(1, 40))
def test_an_image_is_what_the_bus_or_the_cpus_see_and_changes_nothing(
    bus: Any, chance: Random, steps: int
) -> None:
    rig = Rig(pc(bus=bus))
    for _ in range(steps):
        rig.step(chance)

    before, first, length = deepcopy(rig.machine.caches), (PAGES[0] - 1) * 4096, 8 * 4096
    by_cpu = dump_machine(rig.machine, "", "cpu")
    by_bus = dump_machine(rig.machine, "", "bus")

    assert rig.machine.caches == before
    # A process that has combined nothing. It reads line by line: one long read brings in lines that
    # put others out before it comes to them.
    read, line = rig.machine.transfer.read, 1 << rig.machine.spec.caches.shift
    cpu = b"".join(read("mem", at, line, 3) for at in range(first, first + length, line))
    assert bytes_at(by_cpu, first, length) == cpu
    assert by_cpu.hidden == sum(len(it) for it in rig.model.pending.values())
    dirty = 0 if bus == "snooping" else len(rig.model.dirty)
    assert by_bus.hidden == by_cpu.hidden + dirty
    image = bytes_at(by_bus, first, length)
    rig.bus_read(first, length)
    assert image == rig.machine.memory.read(first, length)


async def test_what_nobody_flushed_is_not_in_an_image_of_the_bus(tmp_path: Path) -> None:
    async with Hub([machine()]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"flushed", PLACE)
        await mem.flush(PLACE, 7)
        await mem.pwrite(b"dirty", PLACE + 0x1000)
        for view, seen in (("bus", bytes(5)), ("cpu", b"dirty")):
            dump = hub.dump_memory(view=view)  # type: ignore[arg-type]
            assert bytes_at(dump, PLACE, 7) == b"flushed"
            assert bytes_at(dump, PLACE + 0x1000, 5) == seen
            assert dump.hidden == (0 if view == "cpu" else 5)

        assert not hub.hazards()
        hub.bus().flush_all()
        hub.dump_memory().save(tmp_path / "core")

    async with Hub([machine("snooping")]) as other, await other.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"older here", PLACE + 0x1000)
        other.load_memory(load_image(tmp_path / "core"), clear=True)
        assert await mem.pread(10, PLACE + 0x1000) == b"dirty" + bytes(5)
        assert other.bus().read(PLACE, 7) == b"flushed"


async def test_an_image_of_a_snapshot_is_the_one_of_its_moment() -> None:
    async with Hub([machine("snooping")]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", PLACE)
        taken = hub.snapshot().machines["pc"]
        for view in VIEWS:
            dump = dump_taken(taken, view)  # type: ignore[arg-type]
            assert dump == hub.dump_memory(view=view)  # type: ignore[arg-type]
            assert bytes_at(dump, PLACE, 5) == b"dirty"

        kept = Snapshot.from_bytes(hub.snapshot().to_bytes())
        assert dump_snapshot(kept.machines["pc"], "", "cpu") == hub.dump_memory(view="cpu")


async def test_a_view_that_is_none_is_refused() -> None:
    async with Hub([machine()]) as hub:
        with pytest.raises(ValueError, match="view 'all' is none of bus, cpu"):
            hub.dump_memory(view="all")  # type: ignore[arg-type]


@pytest.mark.parametrize("bus", ["snooping", "blind"])
async def test_what_is_loaded_over_dirty_lines_and_buffers_is_what_all_see(
    tmp_path: Path, bus: Any
) -> None:
    path = tmp_path / "log"
    with AuditLog.open(path) as log:
        async with (
            Hub([machine(bus)], log=log) as hub,
            await hub.open("/dev/mem", "r+") as mem,
        ):
            await mem.set_range(0x300000, 0x1000, "write-combine", owner="rig")
            await mem.pwrite(b"dirty line", PLACE)
            await mem.pwrite(b"combined", 0x300000)
            hub.load_memory([fill(PLACE + 2, 4, 0x2E), fill(0x300004, 8, 0x2E)])

            assert await mem.pread(10, PLACE) == b"di....line"
            await mem.fence()
            await mem.flush(PLACE, 10)
            assert hub.bus().read(PLACE, 10) == b"di....line"
            assert hub.bus().read(0x300000, 12) == b"comb........"
            assert not hub.hazards()

            await mem.pwrite(b"dirty line", PLACE)
            hub.load_memory([fill(0x1000, 1, 1)], clear=True)
            assert await mem.pread(10, PLACE) == hub.bus().read(PLACE, 10) == bytes(10)

    loads = [it for it in read_records(path) if it["event"] == "memory.load"]
    assert [(it["op"], it["count"]) for it in loads] == [("load", 8), ("replace", 10)]


async def test_a_load_that_cannot_be_recorded_is_taken_back_in_both_views(tmp_path: Path) -> None:
    disk = Disk()
    with AuditLog.open(tmp_path / "log", write=disk.write) as log:
        async with Hub([machine()], log=log) as hub, await hub.open("/dev/mem", "r+") as mem:
            await mem.pwrite(b"flushed", PLACE)
            await mem.flush(PLACE, 7)
            await mem.pwrite(b"dirty", PLACE)
            caches, memory = deepcopy(hub.machines["pc"].caches), hub.machines["pc"].memory
            disk.full = True
            with disk.emptied(), pytest.raises(LogFailed):
                hub.load_memory([fill(PLACE + 1, 2, 7)], clear=True)

            assert hub.machines["pc"].caches == caches
            assert memory.read(PLACE, 7) == b"flushed"
            assert await mem.pread(7, PLACE) == b"dirtyed"


async def test_initial_contents_are_seen_by_the_bus_and_the_cpus() -> None:
    spec = machine(contents=(Content(base=PLACE, data=b"image"),))
    with LocalClient([spec]) as client, client.open("/dev/mem") as mem:
        assert mem.pread(5, PLACE) == b"image"
        assert bytes_at(client.dump_memory(view="cpu"), PLACE, 5) == b"image"

    async with Hub([spec]) as hub:
        assert hub.bus().read(PLACE, 5) == b"image"


async def test_kvm_reads_an_image_of_what_the_cpus_see(tmp_path: Path) -> None:
    spec = kernel_machine(coherent=False, bus="blind", msrs=WRITE_BACK)
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        old = hub.bus().read(PLACE, 5)
        await mem.pwrite(b"newer", PLACE)
        for view, seen in (("bus", old), ("cpu", b"newer")):
            hub.dump_memory(view=view).save(tmp_path / view)  # type: ignore[arg-type]
            with open_image(tmp_path / view) as kd:
                assert kd.read(BASE, 5) == seen
