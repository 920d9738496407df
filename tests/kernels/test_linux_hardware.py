"""Sick hardware under Linux and NetBSD: the kernel stores, and each CPU keeps what it can."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from kernels.linux_kit import FIRST, LINE, LINUX, SCREEN, SECOND, text_of
from kernels.linux_traffic import LinuxTraffic
from kernels.test_linux_log import check_rebuilt
from memhub import AuditLog, Hub, MachineSpec, Sickness
from memhub.arches import load_arches
from memhub.audit import read_records, verify
from memhub.audit.history.restore import restore_machines
from memhub.audit.schema import problems
from memhub.errors import DeviceError, InvalidArgument, NotSupported
from memhub.plugin import Cpu
from memhub.rig.log_replay import replay_log
from memhub.snapshots.snapshot import Snapshot
from value.sick_traffic import random_sickness
from value.test_value import go_and_come_back

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.health.sickness import SickAction

ARCHES = load_arches()
NETBSD = MachineSpec(
    name="pc", arch="amd64", kernel="netbsd-7", msrs={0xFE: 0x508, 0x2FF: 0x800}, cpu=Cpu(count=2)
)
#: IA32_PAT after power-on.
POWER_ON = 0x0007040600070406
PLACES = (0x1000, 0x200000, 0xA0000, SCREEN)
WRITE_COMBINING = [0xD0000000, 1 << 24, 1, 4, 0]


async def write(hub: Hub, line: bytes = LINE) -> None:
    async with await hub.open("pc:/proc/mtrr", "w") as file:
        await file.write(line)


def sick(action: SickAction, **said: Any) -> Sickness:
    return Sickness(action=action, **said)


async def test_what_a_cpu_misses_shows_when_they_are_compared() -> None:
    async with Hub([LINUX]) as hub:
        hub.hardware.add(sick("cpu_out_of_step", cpu=1, misses_stores=True))
        await write(hub)
        (found,) = hub.hardware.check_cpus()
        assert (found.cpu, found.kinds) == (1, ("variable MTRR",))
        assert found.stretches == ((SCREEN, 16 << 20, "WC", "UC"),)
        hub.hardware.remove("pc-sick-1")
        hub.hardware.reinit()
        assert hub.hardware.check_cpus() == ()


async def test_a_lost_store_is_not_in_the_text_and_is_in_the_types_that_linux_believes() -> None:
    async with Hub([LINUX]) as hub:
        lost = hub.hardware.add(sick("lost_store", slot=1, times=2))
        await write(hub)
        assert await text_of(hub) == FIRST
        assert hub.kernels.call("lookup", start=SCREEN, end=SCREEN + 4096)["type"] == 1
        async with await hub.open("pc:/dev/mem") as file:
            assert (await file.explain(SCREEN)).type == "UC"

        assert lost.count == 1
        await write(hub)  # lost again, and for the last time
        await write(hub)
        assert await text_of(hub) == FIRST + SECOND % 1


async def test_linux_tells_of_holes_in_a_mask_at_every_look() -> None:
    async with Hub([LINUX]) as hub:
        highest = 1 << LINUX.cpu.phys_bits - 1
        hub.hardware.add(sick("mask_holes", slot=1, holes=highest))
        await write(hub)
        assert hub.kernels.call("table")[1] == [SCREEN >> 12, 4096, 1, 1]
        rows: list[dict[str, Any]] = []
        hub.engine.listen(rows.append)
        assert await text_of(hub) == FIRST + SECOND % 1
        (read,) = (it for it in rows if it.get("op") == "pread" or it.get("op") == "read")
        assert {*read["printed"]} == {
            "warn: mtrr: your BIOS has configured an incorrect mask, fixing it."
        }


async def test_linux_stores_its_ranges_again_over_what_firmware_leaves_at_a_resume() -> None:
    async with Hub([LINUX]) as hub:
        await write(hub)
        firmware = sick("firmware_rewrite", registers={0x203: 0, 0x2FF: 0}, moment="resume")
        hub.hardware.add(firmware)
        hub.hardware.add(sick("forgetful_resume", cpu=2))
        await hub.suspend()
        await hub.resume()
        assert await text_of(hub) == FIRST + SECOND % 1
        (found,) = hub.hardware.check_cpus()
        assert found.cpu == 2
        assert {"variable MTRR", "MTRRdefType"} <= {*found.kinds}


async def test_a_range_that_firmware_clears_after_each_store_is_gone() -> None:
    async with Hub([LINUX]) as hub:
        bad = hub.hardware.add(sick("firmware_rewrite", registers={0x203: 0}, moment="set"))
        await write(hub)
        assert await text_of(hub) == FIRST
        (found,) = hub.hardware.check_cpus()
        assert (found.cpu, bad.count) == (0, 1)
        bad.remove()
        hub.hardware.reinit()
        assert await text_of(hub) == FIRST + SECOND % 0  # a read has given up what was free
        with pytest.raises(DeviceError, match="EINVAL: reg: 1 has count=0"):
            await write(hub, b"disable=1")


async def test_a_store_leaves_the_default_type_of_a_cpu_that_is_out_of_step() -> None:
    """Linux writes the pair that changes; NetBSD all of them, and the default type."""
    for spec, bad in ((LINUX, True), (NETBSD, False)):
        async with Hub([spec]) as hub, await hub.open("pc:/dev/mem") as file:
            hub.hardware.add(sick("cpu_out_of_step", cpu=1, registers={0x2FF: 0x806}))
            assert [it.cpu for it in hub.hardware.check_cpus()] == [1]
            if spec is LINUX:
                await write(hub)
            else:
                await file.call_kernel("set", entries=[WRITE_COMBINING])

            assert bool(hub.hardware.check_cpus()) is bad


async def test_netbsd_stores_its_table_at_a_resume_and_is_not_told_what_is_lost() -> None:
    async with Hub([NETBSD]) as hub, await hub.open("pc:/dev/mem") as file:
        await file.call_kernel("set", entries=[WRITE_COMBINING])
        assert (await file.explain(SCREEN)).type == "WC"
        await hub.suspend()
        await hub.resume()
        assert (await file.explain(SCREEN)).type == "WC"
        hub.hardware.add(sick("lost_store", slot=88 + 7))
        gone = [*WRITE_COMBINING[:3], 0, 0]
        assert await file.call_kernel("set", entries=[gone]) == {"done": 1}
        assert (await file.explain(SCREEN)).type == "WC"
        (found,) = hub.hardware.check_cpus()
        assert found.stretches == ((SCREEN, 16 << 20, "UC", "WC"),)


@pytest.mark.parametrize("kernel", ["netbsd-7", "linux-2.6.32", "linux-6.18"])
@pytest.mark.parametrize("cpu", [None, 0, 1])
async def test_a_cpu_that_woke_up_forgetful_once_is_well_after_the_next_sleep(
    kernel: str, cpu: int | None
) -> None:
    """Though these kernels may store no palette, and no firmware sets that."""
    given = {"pat": True} if kernel == "linux-6.18" else {}  # which then does not write it
    spec = MachineSpec(name="pc", arch="amd64", kernel=kernel, kernel_options=given)
    async with Hub([replace(spec, cpu=Cpu(count=2))]) as hub, await hub.open("pc:/dev/mem") as file:
        types = [(await file.explain(it)).type for it in PLACES]
        hub.hardware.add(sick("forgetful_resume", cpu=cpu))
        await hub.suspend()
        await hub.resume()
        hub.hardware.remove("pc-sick-1")
        hub.hardware.reinit()
        assert hub.hardware.check_cpus() == ()
        await hub.suspend()
        await hub.resume()
        assert [(await file.explain(it)).type for it in PLACES] == types
        assert hub.hardware.check_cpus() == ()
        assert {it.get(0x277) for it in hub.kernels.of("pc").state.cpus} <= {None, POWER_ON}


async def test_a_cpu_that_misses_stores_wakes_up_with_the_palette_of_power_on() -> None:
    spec = MachineSpec(name="pc", arch="amd64", cpu=Cpu(count=2))
    async with Hub([spec]) as hub:
        hub.hardware.add(sick("cpu_out_of_step", cpu=1, misses_stores=True))
        await hub.suspend()
        await hub.resume()
        health = hub.machines["pc"].health
        assert health is not None
        assert health.cpus[1][0x277] == POWER_ON


async def test_netbsd_has_no_undo_beside_its_private_ranges() -> None:
    async with Hub([NETBSD]) as hub:
        with pytest.raises(InvalidArgument, match="private ranges end with their process"):
            await hub.open("pc:/dev/mem", undo=True)


async def test_what_no_register_of_the_kernel_can_have_is_refused_by_its_rule() -> None:
    k6 = MachineSpec(name="pc", arch="k6", kernel="linux-6.18")
    async with Hub([k6]) as hub:
        with pytest.raises(NotSupported, match="stores the ranges of K6, Centaur and Cyrix again"):
            hub.hardware.reinit()

        with pytest.raises(InvalidArgument, match="2 registers, and none of number 2"):
            hub.hardware.add(sick("stuck_slot", slot=2))

        hub.hardware.add(sick("stuck_slot", slot=0))
        assert hub.kernels.call("add", base=SCREEN, size=1 << 20, type=1) == 0
        assert hub.kernels.call("add", base=SCREEN, size=1 << 20, type=1) == 0
        assert hub.kernels.call("table")[0][1] == 0
        assert hub.hardware.check_cpus() == ()


async def test_under_xen_the_palette_is_that_of_xen_also_after_a_sleep() -> None:
    xen = {"guest": {"kind": "xenpv", "default": 6}}
    msrs = {0xFE: 0x508, 0x2FF: 0x800, 0x277: 0x0501040600070406}
    spec = replace(LINUX, msrs=msrs, kernel_options=xen)
    async with Hub([spec]) as hub:
        served = hub.kernels.of("pc")
        assert served.boot_log[-1][1] == (
            "x86/PAT: Configuration [0-7]: WB  WT  UC- UC  WB  WT  WC  WP  "
        )
        hub.hardware.suspend()
        hub.hardware.resume()
        assert served.state.msrs[0x277] == msrs[0x277]
        call = hub.kernels.call
        assert call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="WC") == {"got": "WC"}
        with pytest.raises(NotSupported, match="off, absent or a hypervisor's"):
            hub.hardware.reinit()


@pytest.mark.parametrize(
    "xen", [{"guest": {"kind": "xenpv"}}, {"features": ["mtrr", "pat", "xenpv"]}]
)
async def test_a_guest_of_xen_has_its_palette_with_every_mode(xen: dict[str, Any]) -> None:
    async with Hub([replace(LINUX, kernel_options=xen)]) as hub:
        served = hub.kernels.of("pc")
        for _ in range(2):
            assert served.state.msrs[0x277] == 0x0000050100070406
            modes = hub.kernels.call("memtype_table")["modes"]
            assert modes == {it: it for it in ("WB", "WC", "UC-", "UC", "WT", "WP")}
            hub.hardware.suspend()
            hub.hardware.resume()

        assert served.boot_log[-1][1] == (
            "x86/PAT: Configuration [0-7]: WB  WT  UC- UC  WC  WP  UC  UC  "
        )


class SickKernel(LinuxTraffic):
    """Linux on hardware that gets sick and well."""

    def step(self) -> None:
        if self.rng.random() > 0.35:
            super().step()
            return

        hardware, names = self.hub.hardware, [it.sickness.name for it in self.hub.hardware]
        with suppress(DeviceError):
            if self.rng.random() < 0.5:
                hardware.add(random_sickness(self.rng, 8))
            elif names and self.rng.random() < 0.5:
                hardware.remove(self.rng.choice(names))
            else:
                self._power()

    def _power(self) -> None:
        hardware = self.hub.hardware
        if self.rng.random() < 0.5:
            self.rng.choice([hardware.reinit, hardware.check_cpus])()
            return

        hardware.suspend()
        hardware.resume()


@pytest.mark.parametrize("seed", range(4))
def test_the_log_alone_makes_the_sick_machine_again(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = SickKernel(seed, log)
        traffic.hub.hardware.begin()
        traffic.hub.hardware.add(sick("lost_store", register=0x209, times=1))
        traffic.hub.kernels.call("add", base=0xE8000000, size=1 << 20, type=1)
        for number in range(150):
            traffic.step()
            if number % 25 == 24:
                check_rebuilt(path, traffic.machine)

    assert verify(path).ok
    rows = [*read_records(path)]
    assert [fault for row in rows for fault in problems(row)] == []
    assert {row["event"] for row in rows} >= {"hardware.sicken", "hardware.store"}
    assert "firmware" in {row.get("op") for row in rows}


@pytest.mark.parametrize("seed", range(3))
def test_every_fact_of_a_sick_machine_can_be_taken_back(
    monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    traffic = SickKernel(seed)
    traffic.hub.hardware.begin()
    go_and_come_back(monkeypatch, traffic, 100)


@pytest.mark.parametrize("seed", range(3))
def test_a_snapshot_brings_the_sick_machine_back_and_a_replay_its_answers(
    tmp_path: Path, seed: int
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = SickKernel(seed, log)
        traffic.hub.hardware.begin()
        for _ in range(60):
            traffic.step()

        then = traffic.hub.snapshot()
        assert Snapshot.from_bytes(then.to_bytes(), arches=ARCHES) == then
        for _ in range(60):
            traffic.step()

        traffic.hub.restore(then)
        check_rebuilt(path, traffic.machine)

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []


def test_a_machine_that_begins_from_a_log_has_booted_and_is_well(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], log=log)
        hub.begin()
        hub.hardware.add(sick("cpu_out_of_step", cpu=1, registers={0x2FF: 0}))

    found = restore_machines(path, arches=ARCHES).machines["pc"]
    assert found.table is not None
    hub = Hub([LINUX], tables={"pc": found.table})
    hub.begin()
    assert hub.hardware.check_cpus() == ()
