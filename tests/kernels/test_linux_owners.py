"""Use counts are Linux's, claims are memhub's: the kernel is asked first."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from kernels.linux_kit import FIRST, LINE, LINUX, MIB, SCREEN, SECOND, add, text_of
from kernels.linux_traffic import LinuxTraffic
from memhub import Hub
from memhub.abi import LP64
from memhub.errors import DeviceError, RangeBusy
from memhub.faces.linux import MTRR64, pack_entry

pytestmark = pytest.mark.anyio


async def test_a_claim_of_another_process_is_asked_behind_the_kernel() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one, hub.process("b") as two:
        mine = await one.open("pc:/proc/mtrr", "r+")
        theirs = await two.open("pc:/proc/mtrr", "r+")
        await mine.claim(SCREEN, 16 * MIB)
        with pytest.raises(DeviceError) as refused:
            await theirs.write(LINE.replace(b"write-combining", b"nothing"))

        assert refused.value.code.name == "EINVAL"
        with pytest.raises(RangeBusy) as busy:
            await theirs.write(LINE)

        assert [it.process for it in busy.value.obstacles] == ["a"]
        assert await text_of(hub) == FIRST
        await mine.write(LINE)
        with pytest.raises(RangeBusy):
            await theirs.write(b"disable=1\n")

        assert await text_of(hub) == FIRST + SECOND % 1


async def test_use_counts_are_no_claims() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one, hub.process("b") as two:
        mine = await one.open("pc:/proc/mtrr", "r+")
        theirs = await two.open("pc:/proc/mtrr", "r+")
        await add(mine)
        await add(theirs)
        assert await text_of(hub) == FIRST + SECOND % 2
        await theirs.ioctl(MTRR64.numbers["KILL"], pack_entry(SCREEN, 16 * MIB, 1, model=LP64))
        await theirs.ioctl(MTRR64.numbers["KILL"], pack_entry(SCREEN, 16 * MIB, 1, model=LP64))
        assert await text_of(hub) == FIRST


@pytest.mark.parametrize("arch", ["amd64", "i386", "amd64-mtrr"])
async def test_a_claimed_range_stays_where_no_type_would_change(arch: str) -> None:
    """Uncacheable on top of an uncacheable default: no type tells the range from none."""
    line = b"base=0xc0000000 size=%#x type=uncachable\n"
    kept = f"{FIRST}reg01: base=0x0c0000000 ( 3072MB), size=    1MB, count=1: uncachable\n"
    spec = replace(LINUX, arch=arch)
    async with Hub([spec]) as hub, hub.process("a") as one, hub.process("b") as two:
        mine = await one.open("pc:/proc/mtrr", "r+")
        theirs = await two.open("pc:/proc/mtrr", "r+")
        await mine.write(line % MIB)
        await mine.claim(0xC0000000, MIB)
        for asked in (b"disable=1\n", line % (16 * MIB)):  # which would take the register over
            with pytest.raises(RangeBusy, match="slot 1 0xc0000000/0x100000 is claimed by a"):
                await theirs.write(asked)

        assert await text_of(hub) == kept
        await theirs.write(line % MIB)  # it only counts
        await theirs.write(b"disable=1\n")
        assert await text_of(hub) == kept
        await mine.release(0xC0000000, MIB)
        await theirs.write(b"disable=1\n")
        assert await text_of(hub) == FIRST


async def test_one_process_is_never_stopped_by_its_own_claim() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one:
        mine = await one.open("pc:/proc/mtrr", "r+")
        await mine.claim(SCREEN, 16 * MIB)
        await mine.write(LINE)
        await mine.write(b"disable=1\n")
        assert await text_of(hub) == FIRST


async def test_a_close_does_not_take_a_strangers_claimed_range() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one, hub.process("b") as two:
        mine = await one.open("pc:/proc/mtrr", "r+")
        theirs = await two.open("pc:/proc/mtrr", "r+")
        await add(mine)
        await add(mine, 0xE0000000, MIB)
        await mine.ioctl(MTRR64.numbers["KILL"], pack_entry(SCREEN, 16 * MIB, 1, model=LP64))
        await theirs.write(LINE)
        await theirs.claim(SCREEN, 16 * MIB)
        await mine.aclose()
        assert await text_of(hub) == FIRST + SECOND % 1


async def test_a_close_takes_a_strangers_range_that_nobody_claims() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one, hub.process("b") as two:
        mine = await one.open("pc:/proc/mtrr", "r+")
        theirs = await two.open("pc:/proc/mtrr", "r+")
        await add(mine)
        await mine.ioctl(MTRR64.numbers["KILL"], pack_entry(SCREEN, 16 * MIB, 1, model=LP64))
        await theirs.write(LINE)
        await mine.aclose()
        assert await text_of(hub) == FIRST


async def test_a_restore_gives_back_what_a_file_that_is_closed_had_added() -> None:
    async with Hub([LINUX]) as hub, hub.process("a") as one:
        bare = hub.snapshot()
        mine = await one.open("pc:/proc/mtrr", "r+")
        await add(mine)
        added = hub.snapshot()
        await mine.aclose()
        hub.restore(added)
        assert await text_of(hub) == FIRST

        later = await one.open("pc:/proc/mtrr", "r+")
        await add(later)
        hub.restore(bare)
        assert await text_of(hub) == FIRST
        await later.write(LINE)
        await later.aclose()
        assert await text_of(hub) == FIRST + SECOND % 1


def test_no_process_changes_a_type_that_another_has_claimed() -> None:
    counts = Counter[str]()
    for seed in range(8):
        traffic = LinuxTraffic(seed, claims=0.9)
        machine, table = traffic.machine, traffic.machine.table
        assert table is not None
        rows: list[dict[str, Any]] = []
        traffic.engine.listen(rows.append)
        for _ in range(190):
            claims = list(machine.claims.claims.values())
            before, read = table.types, len(rows)
            traffic.step()
            for row in rows[read:]:
                if row["event"] != "kernel.call" or row["process_id"] is None:
                    continue

                counts[row["errno"] or "ok"] += 1
                if "msrs" in row:
                    counts["changed"] += 1
                    others = [it for it in claims if it.process.id != row["process_id"]]
                    for it in others:
                        end = min(it.end, before.end)
                        assert table.types.first_difference(before, it.base, end) is None

    assert counts["EBUSY"] > 0
    assert counts["changed"] > 60
