"""Undo on close: what a process changed is put back, unless it is somebody else's by now."""

from __future__ import annotations

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE, MDF_WRITETHROUGH
from ownership.rig import PAGE, SPECS, bench, settle

MIB = 0x100000


@pytest.mark.parametrize("arch", sorted(SPECS))
async def test_a_new_range_goes_again(arch: str) -> None:
    async with bench(arch) as b:
        before = b.table()
        async with await b.open("client", undo=True) as handle:
            await handle.set_range(2 * MIB, MIB, MDF_WRITECOMBINE, owner="client")
            assert b.table() != before

        # A register pair that is off reads back as base 0 with a type; that is nobody's range.
        assert [row for row in b.table() if row.mr_base == 2 * MIB] == []
        assert not any(row.owner == "client" for row in b.table())
        (undone,) = b.events("undo")
        assert (undone["process"], undone["errno"]) == ("client", None)
        b.check_idle()


@pytest.mark.parametrize("arch", ["i386", "amd64-mtrr"])
async def test_the_registers_are_put_back_with_the_slots(arch: str) -> None:
    async with bench(arch) as b, await b.open("firmware") as firmware:
        await firmware.set_range(2 * MIB, MIB, MDF_WRITEBACK, owner="first")
        await firmware.release(2 * MIB, MIB)
        table = b.machine.table
        assert table is not None
        before = table.state
        async with await b.open("client", undo=True) as handle:
            await handle.set_range(2 * MIB, MIB, MDF_UNCACHEABLE, owner="client")
            assert table.state.msrs != before.msrs
            await handle.set_range(4 * MIB, MIB, MDF_WRITETHROUGH, owner="client")

        assert dict(table.state.msrs) == {key: before.msrs.get(key, 0) for key in table.state.msrs}
        assert table.state.slots[-4:][0] == before.slots[-4:][0]
        b.check()


async def test_fixed_ranges_are_put_back_too() -> None:
    async with bench("i386") as b:
        before = b.machine.table.state.msrs  # type: ignore[union-attr]
        types = [row.mr_flags & 0xFF for row in b.table()]
        async with await b.open("client", undo=True) as handle:
            await handle.set_range(0xF0000, 0x10000, MDF_WRITETHROUGH)

        assert [row.mr_flags & 0xFF for row in b.table()] == types
        after = b.machine.table.state.msrs  # type: ignore[union-attr]
        assert {k: v for k, v in after.items() if v} == {k: v for k, v in before.items() if v}
        b.check_idle()


async def test_a_slot_that_another_has_changed_since_stays() -> None:
    async with bench() as b, await b.open("other") as other:
        client = await b.open("client", undo=True)
        await client.set_range(0, PAGE, MDF_WRITECOMBINE)
        await client.release(0, PAGE)
        await other.set_range(0, PAGE, MDF_UNCACHEABLE, owner="other")
        client.close()

        assert b.table()[0].owner == "other"
        assert b.events("undo") == []


async def test_a_slot_that_another_has_claimed_since_stays_and_the_log_says_so() -> None:
    async with bench() as b, await b.open("other") as other:
        client = await b.open("client", undo=True)
        await client.set_range(0, PAGE, MDF_WRITECOMBINE)
        await client.release(0, PAGE)
        await other.claim(0, PAGE)
        client.close()

        assert b.table()[0].mr_len == PAGE
        (kept,) = b.events("undo")
        assert kept["errno"] == "EBUSY"
        assert "claimed by other" in kept["reason"]
        b.check()


async def test_an_undo_that_would_change_a_type_inside_anothers_claim_is_left_and_logged() -> None:
    async with bench() as b, await b.open("other") as other:
        client = await b.open("client", undo=True)
        await client.set_range(0, 4 * PAGE, MDF_WRITECOMBINE)
        await client.release(0, 4 * PAGE)
        # A page of it: the slot is not wholly inside, so only the bytes are the other's.
        await other.claim(PAGE, PAGE)
        client.close()

        assert b.table()[0].mr_len == 4 * PAGE
        (kept,) = b.events("undo")
        assert (kept["errno"], kept["slots"]) == ("EBUSY", [0])
        assert "inside the claim of other" in kept["reason"]


async def test_an_undo_that_would_alter_a_commit_in_flight_is_left_and_logged() -> None:
    """Putting slot 0 back to empty would make the commit write that slot instead of its own."""
    async with bench(latency=1) as b, await b.open("other") as other:
        client = await b.open("client", undo=True)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.set_range, 0, PAGE, MDF_WRITECOMBINE)
            await settle()
            await b.pass_time(1)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(other.set_range, 8 * PAGE, PAGE, MDF_UNCACHEABLE)
            await settle()
            client.close()
            await b.pass_time(1)

        assert [row.mr_base for row in b.table()[:2]] == [0, 8 * PAGE]
        assert [r["errno"] for r in b.events("undo")] == ["EBUSY"]
        b.check()


async def test_its_own_commit_in_flight_is_given_up_and_not_in_its_way() -> None:
    async with bench(latency=1) as b:
        client = await b.open("client", undo=True)
        async with anyio.create_task_group() as tasks:

            async def change(attribute: int) -> None:
                await client.set_range(0, PAGE, attribute)

            tasks.start_soon(change, MDF_WRITECOMBINE)
            await settle()
            await b.pass_time(1)

        async with anyio.create_task_group() as tasks:

            async def again() -> None:
                with pytest.raises(OSError, match="closed during the commit"):
                    await client.set_range(0, PAGE, MDF_UNCACHEABLE)

            tasks.start_soon(again)
            await settle()
            client.close()
            await b.pass_time(1)

        assert b.table()[0].mr_len == 0
        b.check_idle()


async def test_only_the_last_undo_handle_undoes() -> None:
    async with bench() as b:
        process = b.hub.process("client")
        first = await process.open("/dev/mem", undo=True)
        second = await process.open("/dev/mem", undo=True)
        plain = await process.open("/dev/mem")
        await plain.set_range(0, PAGE, MDF_WRITECOMBINE)
        first.close()
        assert b.table()[0].mr_len == PAGE
        second.close()
        assert b.table()[0].mr_len == 0
        assert b.holders() == []
        plain.close()
        b.check_idle()


async def test_what_a_process_did_before_it_asked_for_undo_stays() -> None:
    async with bench() as b:
        process = b.hub.process("client")
        async with await process.open("/dev/mem") as plain:
            await plain.set_range(0, PAGE, MDF_WRITECOMBINE)
            async with await process.open("/dev/mem", undo=True) as undo:
                await undo.set_range(PAGE, PAGE, MDF_UNCACHEABLE)

            assert [row.mr_len for row in b.table()[:2]] == [PAGE, 0]


@pytest.mark.parametrize("arch", ["amd64", "amd64-mtrr", "i386"])
async def test_what_was_set_over_a_removed_range_goes_before_that_returns(arch: str) -> None:
    async with bench(arch) as b:
        async with await b.open("first") as first:
            await first.set_range(2 * MIB, MIB, MDF_UNCACHEABLE, owner="first")

        before = b.table()
        async with await b.open("client", undo=True) as handle:
            await handle.remove_range(2 * MIB, MIB)
            await handle.set_range(8 * MIB, MIB, MDF_UNCACHEABLE, owner="client")
            await handle.set_range(2 * MIB, 2 * MIB, MDF_WRITECOMBINE, owner="client")
            assert b.table() != before

        held = [row for row in b.table() if row.mr_base == 2 * MIB]
        assert [(row.mr_len, row.owner) for row in held] == [(MIB, "first")]


@pytest.mark.parametrize("arch", ["amd64", "amd64-mtrr", "i386"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_a_removed_range_returns_whose_address_is_in_another_slot_by_then(
    arch: str, order: tuple[int, int]
) -> None:
    """The slot with the other type goes back after the one that it is in the way of."""
    async with bench(arch) as b:
        async with await b.open("first") as first:
            for base in (2 * MIB, 8 * MIB):
                await first.set_range(base, MIB, MDF_UNCACHEABLE, owner="first")

        for base in (2 * MIB, 8 * MIB):
            async with await b.open("client", undo=True) as handle:
                for it in order:
                    await handle.remove_range((2 * MIB, 8 * MIB)[it], MIB)

                await handle.set_range(base, MIB, MDF_WRITECOMBINE, owner="client")

            held = [(row.mr_base, row.owner) for row in b.table() if row.mr_len == MIB]
            assert held == [(2 * MIB, "first"), (8 * MIB, "first")]

        assert [it["errno"] for it in b.events("undo")] == [None] * 4


async def test_two_ranges_return_that_were_each_set_in_the_place_of_the_other() -> None:
    async with bench("amd64") as b:
        async with await b.open("first") as first:
            for base in (2 * MIB, 8 * MIB):
                await first.set_range(base, MIB, MDF_UNCACHEABLE, owner="first")

        before = b.table()
        async with await b.open("client", undo=True) as handle:
            for base in (2 * MIB, 8 * MIB):
                await handle.remove_range(base, MIB)

            for base in (8 * MIB, 2 * MIB):
                await handle.set_range(base, MIB, MDF_WRITECOMBINE, owner="client")

        assert b.table() == before
