"""Which slots hold a range, on each architecture: K6 never marks one as active."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub import AuditLog, Hub, MachineSpec
from memhub.audit import read_records
from memhub.audit.reading.select import Selection, Window
from memhub.core.caches.slots import slot_of
from memhub.core.ranges.slot_extents import used_slots
from memhub.rig.picture import draw_hub

if TYPE_CHECKING:
    from pathlib import Path

BASE, LENGTH = 0xD0000000, 16 << 20
ARCHES = ["i386", "amd64", "amd64-mtrr", "k6", "powerpc"]


@pytest.mark.parametrize("arch", ARCHES)
async def test_a_slot_is_in_use_while_it_holds_a_range(arch: str) -> None:
    async with (
        Hub([MachineSpec(name="pc", arch=arch)]) as hub,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        table = hub.machines["pc"].table
        assert table is not None
        before = used_slots(table)
        await mem.set_range(BASE, LENGTH, "uncacheable", owner="x")
        (row,) = hub.report()["machines"]
        (mine,) = set(used_slots(table)) - set(before)
        assert (row["used"], table.state.slots[mine].owner) == (len(before) + 1, "x")
        assert slot_of(table, None, BASE) == mine
        assert any(f"{mine} {table.state.slots[mine]}" in line for line in draw_hub(hub))


@pytest.mark.parametrize("arch", ARCHES)
async def test_an_address_selects_the_records_that_list_a_slot_with_it(
    arch: str, tmp_path: Path
) -> None:
    path = tmp_path / "log.jsonl"
    with AuditLog.open(path) as log:
        async with (
            Hub([MachineSpec(name="pc", arch=arch)], log=log) as hub,
            await hub.open("/dev/mem", "r+") as mem,
        ):
            await mem.set_range(BASE, LENGTH, "uncacheable", owner="x")

    listed = [{**it, "base": None} for it in read_records(path) if it["event"] == "request.set"]
    there = Selection(windows=(Window(BASE + 0x1000, BASE + 0x2000),))
    elsewhere = Selection(windows=(Window(BASE + LENGTH, BASE + LENGTH + 1),))
    assert [there.matches(it) for it in listed] == [True]
    assert [elsewhere.matches(it) for it in listed] == [False]
