"""Machines whose memory is not coherent: what their caches hold is taken, forked and goes back."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from caches.cache_rig import ARCHES, LIMITS, PAGES, Rig, pc
from memhub import AuditLog, CacheLimits, Hub, Region, Snapshot
from memhub.clock import ManualClock
from memhub.core.caches.requests import Fence
from memhub.core.files import Principal
from memhub.core.requests import Open, Pwrite
from memhub.engine.lifecycle import open_file
from memhub.errors import InvalidArgument, LogFailed
from memhub.snapshots.snapshot import fork_engine, reset_machines, restore_machines, take_machines
from shell.kit import lab

if TYPE_CHECKING:
    from pathlib import Path

AT = 0x200000
BUSES = st.sampled_from(["snooping", "blind"])


def steps(rig: Rig, chance: Random, count: int) -> None:
    for _ in range(count):
        rig.step(chance)


def views(then: Snapshot) -> tuple[object, ...]:
    """What CPUs and the bus see, and the table; who lost claims is another matter."""
    machine = then.machines["pc"]
    assert machine.table is not None

    return machine.caches, machine.memory, machine.table.state


@given(bus=BUSES, seed=st.integers(0, 1 << 32), count=st.integers(1, 40))
def test_a_machine_goes_back_in_both_views_and_goes_on_alike(
    bus: Any, seed: int, count: int
) -> None:
    rig = Rig(pc(bus=bus))
    steps(rig, Random(seed), count)
    model, caches = deepcopy(rig.model), deepcopy(rig.machine.caches)
    then = take_machines(rig.engine)
    # the claims of later changes would be lost, and their holder be told
    rig.change_type = lambda page, kind: None  # type: ignore[method-assign]
    steps(rig, Random(seed + 1), 20)
    later = take_machines(rig.engine)
    restore_machines(rig.engine, then)
    assert rig.machine.caches == caches
    assert views(take_machines(rig.engine)) == views(then)
    model.seen, rig.model = rig.model.seen, model
    rig.model.check_all()
    steps(rig, Random(seed + 1), 20)  # the same steps lead to the same
    assert views(take_machines(rig.engine)) == views(later)
    again = Snapshot.from_bytes(later.to_bytes(), arches=ARCHES)
    assert again == later
    assert again.to_bytes() == later.to_bytes()


@given(bus=BUSES, seed=st.integers(0, 1 << 32))
def test_a_fork_goes_on_from_the_same_caches_and_apart(bus: Any, seed: int) -> None:
    rig = Rig(pc(bus=bus))
    steps(rig, Random(seed), 30)
    twin = fork_engine(rig.engine, None, ManualClock())
    machine = twin.machines["pc"]
    assert machine.caches == rig.machine.caches
    assert machine.caches is not None
    assert machine.caches.memory is machine.memory
    assert machine.caches.table is machine.table
    before = take_machines(rig.engine)
    for handle in rig.files.values():
        twin.submit(Pwrite(handle, b"x" * 200, PAGES[0] * 4096))
        twin.submit(Fence(handle))

    assert take_machines(rig.engine) == before
    rig.model.check_all()


def test_a_reset_leaves_empty_caches_and_the_first_draws() -> None:
    rig = Rig(pc())
    empty = deepcopy(rig.machine.caches)
    steps(rig, Random(1), 60)
    reset_machines(rig.engine)
    assert rig.machine.caches == empty
    assert rig.machine.memory.read(PAGES[0] * 4096, 4096) == bytes(4096)


async def test_a_restore_that_cannot_be_logged_leaves_both_views(tmp_path: Path) -> None:
    async with lab(tmp_path, pc()) as it, await it.hub.open("/dev/mem", "r+") as mem:
        with it.disk.emptied():
            await mem.pwrite(b"then", AT)
            then = it.hub.snapshot()
            await mem.pwrite(b"now!", AT)
            await mem.writeback(AT, 4)
            before = it.hub.snapshot()
            it.disk.full = True
            for call in (it.hub.reset, partial(it.hub.restore, then)):
                with pytest.raises(LogFailed):
                    call()

            it.disk.full = False
            assert it.hub.snapshot() == before
            it.hub.restore(then)
            assert await mem.pread(4, AT) == b"then"
            assert it.hub.bus().read(AT, 4) == bytes(4)


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"coherent": True}, "caches none, as memory is coherent, there, 4 lines of 16 bytes"),
        ({"caches": replace(LIMITS, line_size=32)}, "caches 4 lines of 32 bytes and 2 buffers"),
        ({"caches": CacheLimits()}, "caches 512 lines of 64 bytes and 6 buffers there"),
        ({"memory": (Region(base=0, length=4096),)}, "memory map"),
    ],
)
def test_a_snapshot_of_other_caches_does_not_fit(other: dict[str, Any], says: str) -> None:
    hubs = [Hub([it], arches=ARCHES) for it in (pc(), pc(**other))]
    for hub in hubs:
        hub.begin()

    then = hubs[1].snapshot()
    before = hubs[0].snapshot()
    with pytest.raises(InvalidArgument, match=says):
        hubs[0].restore(then)

    assert hubs[0].snapshot() == before
    for hub in hubs:
        hub.end()


def test_what_a_process_combines_that_is_not_there_is_not_drained_by_another(
    tmp_path: Path,
) -> None:
    rig = Rig(pc())
    page = PAGES[1]
    rig.change_type(page, "WC")
    rig.store(1, page * 4096, b"combined")
    take_machines(rig.engine).save(tmp_path / "a")
    hub = Hub([pc()], arches=ARCHES)
    hub.begin()
    stranger = open_file(hub.engine, Open(Principal(1, "stranger"), "/dev/mem", "r+"))
    hub.restore(Snapshot.load(tmp_path / "a", arches=ARCHES))
    hub.engine.submit(Fence(stranger))
    assert hub.bus().read(page * 4096, 8) == bytes(8)
    assert [it.name for it in hub.hazards()] == ["undrained-read"]
    hub.bus().flush_all()
    assert hub.bus().read(page * 4096, 8) == b"combined"
    hub.end()


def test_a_log_that_goes_back_can_be_read(tmp_path: Path) -> None:
    from memhub.audit import verify
    from memhub.rig import replay_log

    with AuditLog.open(tmp_path / "a") as log:
        hub = Hub([pc()], arches=ARCHES, log=log)
        hub.begin()
        handle = open_file(hub.engine, Open(Principal(1, "X"), "/dev/mem", "r+"))
        hub.engine.submit(Pwrite(handle, b"then", AT))
        then = hub.snapshot()
        hub.engine.submit(Pwrite(handle, b"now!", AT))
        hub.restore(then)
        hub.reset()
        hub.end()

    assert verify(tmp_path / "a").ok
    assert replay_log(tmp_path / "a", arches=ARCHES).differences == []
