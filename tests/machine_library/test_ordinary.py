"""A machine of which nothing is said works, and is named as such."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from machines import ARCHES
from memhub import AuditLog, Cpu, Hub, MachineSpec, Region, machines
from memhub.abi import MDF_ACTIVE
from memhub.audit import read_records
from memhub.audit.history.rebuild import rebuild
from memhub.config import load_config, to_toml
from memhub.errors import NoRanges, NotSupported

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
X86 = ("i386", "amd64", "amd64-mtrr")


@pytest.mark.parametrize("arch", X86)
async def test_an_architecture_alone_is_a_machine_with_ram_and_free_ranges(arch: str) -> None:
    async with Hub([MachineSpec(arch=arch)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        assert await mem.pwrite(b"hello", 0x100000) == 5
        assert await mem.pread(5, 0x100000) == b"hello"
        await mem.set_range(0xD0000000, 1 << 24, "write-combine", owner="Xorg")
        found = [await mem.explain(it) for it in (0x100000, 0xA0000, 0xD0000000, 0xFEC00000)]

        assert [it.type for it in found] == ["WB", "UC", "WC", "UC"]


async def test_a_machine_that_names_no_cpu_has_one_that_its_driver_serves(tmp_path: Path) -> None:
    (tmp_path / "hub.toml").write_text('[machines.old]\narch = "k6"\n')
    (tmp_path / "wide.toml").write_text('[machines.old]\narch = "k6"\nphys_bits = 36\n')
    (tmp_path / "told.toml").write_text(to_toml(MachineSpec(name="old", arch="k6")))
    said = Cpu(vendor="AMD", signature=0x588, phys_bits=32)
    for specs, bits in (
        ([MachineSpec(name="old", arch="k6")], 32),
        ([machines.pc("old", arch="k6")], 32),
        (load_config(tmp_path / "hub.toml").machines.values(), 32),
        (load_config(tmp_path / "told.toml").machines.values(), 32),
        (load_config(tmp_path / "hub.toml", arches=ARCHES).machines.values(), 32),
        (load_config(tmp_path / "wide.toml", arches=ARCHES).machines.values(), 36),
    ):
        async with Hub(specs) as hub, await hub.open("old:/dev/mem", "r+") as mem:
            assert hub.machines["old"].spec.cpu == replace(said, phys_bits=bits)
            await mem.set_range(0xD0000000, 1 << 24, "write-combine")


async def test_a_cpu_that_is_named_stays(tmp_path: Path) -> None:
    async with Hub([MachineSpec(arch="k6", cpu=Cpu())]) as hub, await hub.open("/dev/mem") as mem:
        with pytest.raises(NotSupported):
            await mem.ranges()


@pytest.mark.parametrize("arch", ["powerpc", "powerpc64"])
async def test_an_architecture_without_a_pcs_firmware_has_flat_ram(arch: str) -> None:
    async with Hub([machines.pc(arch=arch)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        assert await mem.pwrite(b"hello", 0xA0000) == 5
        assert hub.machines["pc"].spec.memory == (Region(base=0, length=GIB),)


async def test_six_of_eight_variable_ranges_are_free() -> None:
    async with Hub([machines.pc(ram=3 * GIB)]) as hub, await hub.open("/dev/mem") as mem:
        rows = [
            row for row in await mem.ranges() if row.mr_base >= 0x100000 or row.mr_len > 1 << 20
        ]
        active = [(row.mr_base, row.mr_len) for row in rows if row.mr_flags & MDF_ACTIVE]

        assert active == [(0, 2 * GIB), (2 * GIB, GIB)]


@pytest.mark.parametrize(
    ("said", "slots"),
    [
        ({"msrs": {}}, None),
        ({"memory": (Region(base=0, length=GIB),)}, None),
        ({"msrs": {0xFE: 0x508, 0x2FF: 0xC06}}, 96),
    ],
)
async def test_what_is_said_is_not_filled_up(said: dict[str, object], slots: int | None) -> None:
    async with Hub([MachineSpec(arch="i386", **said)]) as hub:  # type: ignore[arg-type]
        spec = hub.machines["machine"].spec
        async with await hub.open("/dev/mem") as mem:
            if slots is None:
                with pytest.raises(NoRanges):
                    await mem.ranges()
            else:
                assert len(await mem.ranges()) == slots

        assert (spec.firmware, spec.memory) == ("described", said.get("memory", ()))


async def test_the_log_names_the_firmware_state_and_rebuilds_it(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([MachineSpec(arch="i386")], log=log) as hub:
            table = hub.machines["machine"].table
            assert table is not None
            state = table.state

    records = [it for it in read_records(path) if it["event"] != "device.detach"]
    (attached,) = [it for it in records if it["event"] == "device.attach"]
    (made,) = rebuild(records, ARCHES).values()

    assert '"firmware":"ordinary"' in attached["config"]
    assert made.table is not None
    assert made.table.state == state


def test_an_ordinary_machine_is_written_to_a_file_and_read_back(tmp_path: Path) -> None:
    for spec in (MachineSpec(arch="i386"), MachineSpec(arch="i386", msrs={}), machines.pc()):
        path = tmp_path / "machine.toml"
        path.write_text(to_toml(spec))
        read = load_config(path).machines[spec.name]

        assert (read.msrs, type(read.msrs)) == (spec.msrs, type(spec.msrs))
        assert read.memory == spec.memory


@pytest.mark.parametrize("arch", ARCHES)
async def test_there_is_an_ordinary_machine_of_every_architecture(arch: str) -> None:
    spec = machines.pc("rig", arch=arch, ram=1 << 25, commit_latency=0.5)
    async with Hub([spec]) as hub, await hub.open("rig:/dev/mem") as mem:
        assert hub.machines["rig"].spec == spec
        try:
            assert await mem.ranges()
        except NotSupported:
            assert arch == "arm64"


def test_ram_above_3_gib_lies_above_4_gib_and_widens_the_address() -> None:
    spec = machines.pc(ram=200 * GIB)

    assert spec.memory[-1] == Region(base=4 * GIB, length=197 * GIB)
    assert spec.cpu.phys_bits == 38


def test_ram_that_no_machine_has_is_refused() -> None:
    with pytest.raises(ValueError, match="ram 0x1000 is not whole pages of at least 0x200000"):
        machines.pc(ram=0x1000)

    with pytest.raises(ValueError, match="ram 0x200001 is not whole pages"):
        machines.pc(ram=0x200001)

    with pytest.raises(ValueError, match="past the 32 bits of physical address"):
        machines.pc(ram=4 * GIB, cpu=Cpu(phys_bits=32))


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"ram": 1.5}, "ram 1.5 is not an integer"),
        ({"ram": "1G"}, "ram '1G' is not an integer"),
        ({"arch": 3}, "arch 3 is not text"),
        ({"cpu": "k6"}, "cpu 'k6' is not a Cpu"),
        ({"name": None}, "name None is not text"),
    ],
)
def test_arguments_of_the_wrong_type_are_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        machines.pc(**more)
