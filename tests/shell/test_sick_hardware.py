"""Sick hardware of a hub: what clients see of it, how it is found, and what makes it well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from memhub import MachineSpec, Sickness
from memhub.abi import MDF_ACTIVE, MDF_BOGUS, MDF_UNCACHEABLE, MDF_WRITECOMBINE, RangeDesc
from memhub.errors import InvalidArgument, LogFailed, NoSuchRange
from shell.kit import K6, MTRR, OLD, PAT, PPC, M, lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.handles.handle import Handle
    from shell.kit import Lab

pytestmark = pytest.mark.anyio

#: Machines whose registers are those of a PC, under each kernel.
X86 = [
    MTRR,
    *(MachineSpec(name=it, arch=it) for it in ("amd64", "i386", "openbsd-amd64", "dragonfly")),
    *(MachineSpec(name=it, arch="amd64", kernel=it) for it in ("linux-6.18", "netbsd-7")),
]
#: A frame buffer, and the slot and the registers that a SET of it takes on MTRR.
SCREEN = (0x40000000, 16 * M)
SLOT, BASE, MASK = 89, 0x202, 0x203


def hardware_in(it: Lab) -> list[dict[str, Any]]:
    return [record for record in it.news() if record["event"].startswith("hardware.")]


async def slot_of(mem: Handle, slot: int = SLOT) -> RangeDesc:
    return (await mem.ranges())[slot]


async def test_a_cpu_out_of_step_is_found_and_a_set_brings_it_back(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        assert hardware.check_cpus() == ()
        registers = {0x200: 0, 0x201: 0xFC0000800}
        with hardware.add(Sickness(action="cpu_out_of_step", cpu=2, registers=registers)):
            (found,) = hardware.check_cpus()
            assert (found.cpu, found.kinds) == (2, ("variable MTRR",))
            assert found.registers == {
                0x200: (0x80000000, 0),
                0x201: (0xF80000800, 0xFC0000800),
            }
            assert found.stretches == (
                (M, 0x3FF00000, "WB", "UC"),
                (0x80000000, 0x80000000, "UC", "WB"),
            )
            assert (await mem.explain(M)).type == "WB"  # as CPU 0 sees it
            await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
            assert hardware.check_cpus() == ()


async def test_a_set_does_not_repair_the_default_type_of_a_cpu_and_reinit_does(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        hardware.add(Sickness(action="cpu_out_of_step", cpu=1, registers={0x2FF: 0xC00}))
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        (found,) = hardware.check_cpus()
        assert (found.kinds, found.registers) == (("MTRRdefType",), {0x2FF: (0xC06, 0xC00)})
        hardware.reinit()
        assert hardware.check_cpus() == ()


async def test_a_cpu_that_misses_stores_stays_behind_until_it_is_well(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        deaf = hardware.add(Sickness(action="cpu_out_of_step", cpu=3, misses_stores=True))
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        hardware.reinit()
        (found,) = hardware.check_cpus()
        assert found.stretches == ((*SCREEN, "WC", "WB"),)
        deaf.remove()
        assert hardware.check_cpus() == (found,)
        hardware.reinit()
        assert hardware.check_cpus() == ()
        assert it.hub.machines["mtrr"].health is None


async def test_a_lost_store_succeeds_and_shows_in_what_is_read_back(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        before = await slot_of(mem)
        lost = it.hub.hardware.add(Sickness(action="lost_store", slot=SLOT, times=1))
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE, owner="X")
        assert (await slot_of(mem)).mr_flags & MDF_ACTIVE == 0
        assert (await slot_of(mem)).mr_len == before.mr_len
        assert (await mem.explain(SCREEN[0])).type == "WB"
        assert lost.count == 1
        (claim,) = it.hub.claims()
        assert (claim.base, claim.end - claim.base) == SCREEN
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE, owner="X")
        assert ((await slot_of(mem)).mr_base, (await slot_of(mem)).mr_len) == SCREEN
        assert (await mem.explain(SCREEN[0])).type == "WC"


async def test_a_store_that_one_cpu_loses_shows_in_a_check_alone(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        it.hub.hardware.add(Sickness(action="lost_store", register=MASK, cpu=1, times=1))
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        assert ((await slot_of(mem)).mr_base, (await slot_of(mem)).mr_len) == SCREEN
        (found,) = it.hub.hardware.check_cpus()
        assert (found.cpu, found.registers) == (1, {MASK: (0xFFF000800, 0)})


async def test_a_mask_with_holes_matches_at_once_and_is_bogus_when_it_is_read(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        it.hub.hardware.add(Sickness(action="mask_holes", slot=SLOT, holes=1 << 28))
        assert (await mem.explain(SCREEN[0] + (1 << 28))).type == "WC"
        assert (await slot_of(mem)).mr_len == SCREEN[1]
        await mem.set_range(0x20000000, 16 * M, MDF_WRITECOMBINE)
        row = await slot_of(mem)
        assert (row.mr_len, row.mr_flags & MDF_BOGUS) == (SCREEN[1] + (1 << 28), MDF_BOGUS)


async def test_what_firmware_rewrites_is_not_in_the_table_and_goes_with_the_next_set(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        table = await mem.ranges()
        hardware.add(Sickness(action="firmware_rewrite", registers={BASE: SCREEN[0]}))
        assert await mem.ranges() == table
        assert (await mem.explain(SCREEN[0])).type == "UC"
        (found,) = hardware.check_cpus()
        assert (found.cpu, found.stretches) == (0, ((*SCREEN, "WC", "UC"),))
        assert it.hub.report()["machines"][0]["sick"]["cpus"] == [0]
        await mem.set_range(0x20000000, 16 * M, MDF_WRITECOMBINE)
        assert (await mem.explain(SCREEN[0])).type == "WC"
        assert hardware.check_cpus() == ()


async def test_firmware_that_comes_after_each_set_undoes_what_it_set(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        smi = Sickness(action="firmware_rewrite", registers={MASK: 0}, moment="set", times=2)
        rewrite = it.hub.hardware.add(smi)
        for number in (1, 2):
            await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
            assert ((await slot_of(mem)).mr_base, (await slot_of(mem)).mr_len) == SCREEN
            assert (await mem.explain(SCREEN[0])).type == "WB"
            assert rewrite.count == number

        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        assert (await mem.explain(SCREEN[0])).type == "WC"


@pytest.mark.parametrize("spec", [MTRR, OLD, PAT, K6, PPC], ids=lambda it: it.name)
async def test_a_stuck_slot_stays_as_it_is_on_every_architecture(tmp_path: Path, spec: Any) -> None:
    async with lab(tmp_path, spec) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        slot = SLOT if spec in (MTRR, OLD) else 0
        before = await slot_of(mem, slot)
        with it.hub.hardware.add(Sickness(action="stuck_slot", slot=slot)):
            await mem.set_range(*SCREEN, MDF_UNCACHEABLE)
            after = await slot_of(mem, slot)
            assert (after.mr_base, after.mr_len) == (before.mr_base, before.mr_len)
            assert after.mr_flags & MDF_ACTIVE == 0
            assert (await mem.explain(SCREEN[0])).type == "WB"

        await mem.set_range(*SCREEN, MDF_UNCACHEABLE)
        after = await slot_of(mem, slot)
        assert (after.mr_base, after.mr_len) == SCREEN
        assert (await mem.explain(SCREEN[0])).type == "UC"


# The log, and what is refused


async def test_each_change_of_the_hardware_is_in_the_log(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        it.news()
        lost = hardware.add(Sickness(action="lost_store", name="gone", slot=SLOT, cpu=1))
        await mem.set_range(*SCREEN, MDF_WRITECOMBINE)
        hardware.check_cpus()
        lost.remove()
        hardware.reinit()
        await it.hub.suspend()
        await it.hub.resume()
        found = [
            (record["event"].partition(".")[2], record.get("sickness"), record["cpus"])
            for record in hardware_in(it)
        ]
        assert found == [
            ("sicken", ["gone"], []),
            ("store", ["gone"], [1]),
            ("check", None, [1]),
            ("cure", ["gone"], [1]),
            ("reinit", [], []),
            ("suspend", [], []),
            ("resume", [], []),
        ]


async def test_what_cannot_be_recorded_does_not_happen(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem, hardware = await x.open("/dev/mem"), it.hub.hardware
        hardware.add(Sickness(action="cpu_out_of_step", cpu=1, misses_stores=True))
        before, health = it.state(), it.hub.machines["mtrr"].health
        with it.disk.emptied():
            it.disk.full = True
            for change in (
                lambda: hardware.add(Sickness(action="stuck_slot", slot=1)),
                lambda: hardware.add(Sickness(action="firmware_rewrite", registers={0x201: 0})),
                lambda: hardware.remove("mtrr-sick-1"),
                hardware.suspend,
                hardware.check_cpus,
            ):
                with pytest.raises(LogFailed):
                    change()

            with pytest.raises(LogFailed):
                await mem.set_range(*SCREEN, MDF_WRITECOMBINE)

        assert it.state() == before
        assert it.hub.machines["mtrr"].health == health


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"action": "stuck_slot", "slot": 96}, "mtrr has 96 slots, and none of number 96"),
        ({"action": "lost_store", "slot": 1, "cpu": 4}, "mtrr has 4 CPUs, and none of number 4"),
        ({"action": "mask_holes", "slot": 1, "holes": 1}, "slot 1 of mtrr has no mask register"),
        ({"action": "stuck_slot", "slot": 1, "name": "twin"}, "a sickness 'twin' already"),
    ],
)
async def test_a_sickness_that_the_machine_cannot_have_is_refused(
    tmp_path: Path, said: dict[str, Any], why: str
) -> None:
    async with lab(tmp_path, MTRR) as it:
        it.hub.hardware.add(Sickness(action="stuck_slot", slot=0, name="twin"))
        it.news()
        with pytest.raises(InvalidArgument, match=why):
            it.hub.hardware.add(Sickness(**said))

        assert it.news() == []


@pytest.mark.parametrize("spec", X86, ids=lambda it: it.name)
@pytest.mark.parametrize(
    ("registers", "why"),
    [
        ({0x277: 2}, "register 0x277: type 0x2 is reserved"),
        ({0x2FF: 0xC03}, "register 0x2ff: type 0x3 is reserved"),
        ({0x2FF: 0x1C00}, "register 0x2ff: bits 0x1000 of 0x1c00 are reserved"),
        ({0x200: 0x40000102}, "register 0x200: bits 0x100 of 0x40000102 are reserved"),
        ({0x200: 7}, "register 0x200: type 0x7 is reserved"),
        ({0x201: (1 << 64) - 1}, "register 0x201: bits 0xfffffff0000007ff of"),
        ({0x250: 3 << 56}, "register 0x250: type 0x3 is reserved"),
        ({0x999: 1}, "there is no register 0x999"),
        ({0x2FF: 0xC00, 0x24E: 0}, "there is no register 0x24e"),
    ],
)
async def test_registers_that_no_cpu_takes_are_refused(
    tmp_path: Path, spec: MachineSpec, registers: dict[int, int], why: str
) -> None:
    async with lab(tmp_path, spec) as it:
        for said in (
            Sickness(action="firmware_rewrite", registers=registers),
            Sickness(action="firmware_rewrite", registers=registers, moment="resume"),
            Sickness(action="cpu_out_of_step", cpu=1, registers=registers),
        ):
            cpu = f"CPU {said.cpu or 0}"
            with pytest.raises(InvalidArgument, match=f"{cpu} cannot have these registers: {why}"):
                it.hub.hardware.add(said)

        with pytest.raises(InvalidArgument, match="there is no register 0x999"):
            it.hub.hardware.add(Sickness(action="lost_store", register=0x999))

        assert [*it.hub.hardware] == []


async def test_a_mask_has_holes_in_bits_that_it_has(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it:
        with pytest.raises(InvalidArgument, match="holes 0x401: register 0x203 has none of these"):
            it.hub.hardware.add(Sickness(action="mask_holes", slot=SLOT, holes=0x401))

        it.hub.hardware.add(Sickness(action="mask_holes", slot=SLOT, holes=0x1001))


async def test_a_cpu_that_is_not_strict_takes_any_registers(tmp_path: Path) -> None:
    loose = replace(X86[-1], kernel_options={"strict": False})
    async with lab(tmp_path, loose) as it:
        it.hub.hardware.add(Sickness(action="firmware_rewrite", registers={0x2FF: 0xC03}))
        assert it.hub.machines["netbsd-7"].require_table().state.msrs[0x2FF] == 0xC03


async def test_a_sickness_that_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as it:
        with pytest.raises(NoSuchRange, match="there is no sickness 'mtrr-sick-1'"):
            it.hub.hardware.remove("mtrr-sick-1")


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"action": "flu"}, "action 'flu' is none of"),
        ({"action": "stuck_slot"}, "action stuck_slot needs slot"),
        ({"action": "stuck_slot", "slot": 1, "cpu": 1}, "action stuck_slot has no cpu"),
        ({"action": "cpu_out_of_step", "cpu": 0, "misses_stores": True}, "CPU 0 is the one"),
        ({"action": "cpu_out_of_step", "cpu": 1}, "needs registers or misses_stores"),
        ({"action": "lost_store"}, "needs either a slot or a register"),
        ({"action": "lost_store", "slot": 1, "register": 2}, "needs either a slot or a register"),
        ({"action": "mask_holes", "slot": 1, "holes": 0}, "holes 0x0 is not between 1"),
        ({"action": "firmware_rewrite", "registers": {1 << 32: 0}}, "register 0x100000000 is not"),
        ({"action": "firmware_rewrite", "registers": {1: 1 << 64}}, "does not fit 64 bits"),
        ({"action": "firmware_rewrite", "registers": {1: 1}, "moment": "x"}, "moment 'x' is none"),
        ({"action": "firmware_rewrite", "registers": {1: 1}, "times": 1}, "times is for"),
    ],
)
def test_a_sickness_that_contradicts_itself_is_refused(said: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Sickness(**said)


def test_a_sickness_is_the_same_after_json() -> None:
    from memhub.core.health.sickness import sickness_of_dict

    for it in (
        Sickness(action="firmware_rewrite", registers={0x200: 1 << 63}, moment="set", times=2),
        Sickness(action="mask_holes", name="m", machine="pc", slot=3, holes=1 << 40),
        Sickness(action="cpu_out_of_step", cpu=1, misses_stores=True),
    ):
        assert sickness_of_dict(it.as_dict()) == it
