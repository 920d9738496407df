"""The slot of a hazard is the number that the machine's kernel has for the register."""

from __future__ import annotations

from copy import deepcopy
from pickle import dumps, loads
from typing import TYPE_CHECKING

import pytest

from cli.conftest import run as run
from memhub import Hub, MachineSpec, Region
from memhub.core.caches.slots import slot_of
from memhub.core.snapshots import fork_machine
from memhub.service.blocking import BlockingClient
from service.served import served

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

pytestmark = pytest.mark.anyio

RAM, FRAME, MIB = 0x200000, 0x30000000, 1 << 20
LINES = (
    b"disable=0\n",
    b"base=0x0 size=0x20000000 type=write-back\n",
    b"base=0x30000000 size=0x1000000 type=write-combining\n",
)
RELEASES = ("linux-6.18", "linux-2.6.32")
VGA = 0xA0000
WHOLE = Region(base=0, length=1 << 30)
#: MTRRs are on, 8 of them; fixed ranges are on, and those of the first 640 KiB are write-back.
FIXED = {0xFE: 0x508, 0x2FF: 0xC00, 0x250: 0x0606060606060606, 0x258: 0x0606060606060606}


def linux(kernel: str, arch: str, **changes: object) -> MachineSpec:
    return MachineSpec(name="pc", arch=arch, kernel=kernel, coherent=False, bus="blind", **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("arch", ["amd64", "amd64-mtrr", "i386", "openbsd-amd64", "dragonfly"])
@pytest.mark.parametrize("kernel", RELEASES)
async def test_with_linux_it_is_a_register_as_proc_mtrr_counts(kernel: str, arch: str) -> None:
    async with (
        Hub([linux(kernel, arch)]) as hub,
        await hub.open("/proc/mtrr", "r+") as mtrr,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        for line in LINES:
            await mtrr.write(line)

        for address in (RAM, FRAME):
            await mem.pwrite(b"dirty", address)
            hub.bus().read(address, 5)

        met = {(it.address, it.type, it.slot) for it in hub.hazards()}
        assert met == {(RAM, "WB", 0), (FRAME, "WC", 1)}
        machine = hub.machines["pc"]
        for twin in (fork_machine(machine), deepcopy(machine), loads(dumps(machine))):
            assert twin.caches is not None
            assert twin.caches.served is twin.served


async def test_with_linux_on_a_k6_it_is_one_of_its_two_registers() -> None:
    async with (
        Hub([linux("linux-6.18", "k6", memory=(WHOLE,))]) as hub,
        await hub.open("/proc/mtrr", "r+") as mtrr,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        await mtrr.write(b"base=0x8000000 size=0x20000 type=uncachable\n")
        await mtrr.write(b"base=0x4000000 size=0x20000 type=write-combining\n")
        await mem.pwrite(b"dirty", 0x4000000)
        hub.bus().read(0x4000000, 5)
        assert {it.slot for it in hub.hazards()} == {1}


@pytest.mark.parametrize("kernel", RELEASES)
async def test_a_fixed_range_is_none_of_linux(kernel: str) -> None:
    async with (
        Hub([linux(kernel, "i386", msrs=FIXED, memory=(WHOLE,))]) as hub,
        await hub.open("/proc/mtrr", "r+") as mtrr,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        await mtrr.write(LINES[1])
        for address in (0x1000, RAM):
            await mem.pwrite(b"dirty", address)
            hub.bus().read(address, 5)

        assert [(it.type, it.slot) for it in hub.hazards()] == [("WB", None), ("WB", 0)]


@pytest.mark.parametrize(
    ("msrs", "address", "slot"),
    [
        ({0x2FF: 0x806}, RAM, 0),
        ({0x2FF: 0x006}, RAM, None),
        ({0x2FF: 0xC06}, VGA, None),
        ({0x2FF: 0x806}, VGA, 0),
        ({0x2FF: 0x806}, 1 << 30, None),
        ({0x2FF: 0x806, 0x202: 1, 0x203: 0xFFFE00800}, RAM, 0),
        ({0x2FF: 0x806, 0x202: 0, 0x203: 0xFFFE00800}, MIB, 1),
        ({0x2FF: 0x806, 0x201: 0xFFFF00800}, RAM, None),
        ({0x2FF: 0x806, 0x201: 0xFF0F00800}, 0x1000000, 0),
    ],
    ids=["one", "off", "fixed", "no-fixed", "no-range", "beside", "uc-wins", "outside", "hole"],
)
@pytest.mark.parametrize("arch", ["amd64", "i386"])
async def test_what_decides_the_type_counts(
    arch: str, msrs: dict[int, int], address: int, slot: int | None
) -> None:
    """Register 0 has the first GiB write-back, in what `msrs` leaves as it is."""
    whole = {0xFE: 0x508, 0x200: 6, 0x201: 0xFC0000800, **msrs}
    async with Hub([linux("linux-2.6.32", arch, msrs=whole)]) as hub:
        machine = hub.machines["pc"]
        assert slot_of(machine.table, machine.served, address) == slot


@pytest.mark.parametrize(
    "arch", ["amd64-mtrr", "i386", "openbsd-amd64", "openbsd-i386", "dragonfly"]
)
@pytest.mark.parametrize("kernel", RELEASES)
async def test_explain_numbers_as_linux_does(kernel: str, arch: str) -> None:
    async with (
        Hub([linux(kernel, arch, msrs=FIXED)]) as hub,
        await hub.open("/proc/mtrr", "r+") as mtrr,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        for line in LINES[1:]:
            await mtrr.write(line)

        assert (await mem.explain(FRAME)).why == "variable MTRR 1 (WC)"
        assert (await mem.explain(0x1000)).why == "fixed range 0x0-0xffff: WB"


@pytest.mark.parametrize("kernel", ["freebsd", "netbsd-7"])
async def test_explain_has_the_slots_of_kernels_that_have_them(kernel: str) -> None:
    whole = {**FIXED, 0x200: 6, 0x201: 0xFC0000800}
    async with (
        Hub([linux(kernel, "i386", msrs=whole)]) as hub,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        assert (await mem.explain(RAM)).why == "variable slot 88 (WB)"


def test_a_service_and_its_commands_have_the_same_number(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "s"
    with (
        served(path, linux("linux-6.18", "i386")),
        BlockingClient(path) as client,
        client.open("pc:/proc/mtrr", "r+") as mtrr,
        client.open("pc:/dev/mem", "r+") as mem,
    ):
        for line in LINES:
            mtrr.write(line)

        mem.pwrite(b"dirty", FRAME)
        (row,) = client.report("hazards")["machines"]
        assert [it["slot"] for it in row["hazards"]] == [1]
        assert "  WC, slot 1, of " in run("hazards", "--connect", path).out
        assert mem.explain(FRAME).why == "variable MTRR 1 (WC)"
