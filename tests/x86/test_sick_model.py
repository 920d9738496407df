"""Sick hardware against a kernel that writes one register after the other, CPU by CPU."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import Cpu, DeviceError, Hub, MachineSpec, Sickness
from memhub.abi import RangeDesc
from memhub.clock import ManualClock
from memhub.core.files import Principal
from memhub.core.health.health import Health
from memhub.core.requests import Open, SetRange
from memhub.engine.lifecycle import open_file
from mtrrcases import MIB, UC, WB, WC, WP, WT, firmware, pair
from ownership.rig import ARCHES
from x86.kernel_cpus import FIXED, Fault, Kernel

CPUS = 3
OWNERS = (b"one".ljust(8, b"\0"), bytes(8))
FORCE = 1 << 31
ACTS = ["update"] * 5 + ["remove", "sick", "sick", "cure", "power"]

blocks = st.sampled_from(
    [(0, 64 << 10), (0xA0000, 0x20000), (0xC8000, 0x1000), (0xF0000, 0x10000)]
    + [(at * 16 * MIB, size * 16 * MIB) for size in (1, 2, 4) for at in range(0, 8, size)]
)
#: Registers and what a CPU takes in each; the fixed ones only where there are fixed ranges.
VARIABLE = [
    *((it, value) for it in range(0x200, 0x208, 2) for value in (0, 0x1000006, 0x2000001)),
    *((it, value) for it in range(0x201, 0x208, 2) for value in (0, 0xFFE000800, 0xF0F000800)),
    *((0x2FF, value) for value in (0, 0x806, 0xC00)),
]
FIXED_TOO = [
    *VARIABLE,
    *((it, value) for it in (0x250, 0x259, 0x26F) for value in (0, 0x0506040100)),
]
times = st.sampled_from([None, 1, 2])
cpus = st.sampled_from([None, 0, 1, 2])


@st.composite
def sicknesses(draw: st.DrawFn, slots: int) -> Sickness:
    slot = draw(st.integers(0, slots - 1))
    action = draw(
        st.sampled_from(
            [
                "cpu_out_of_step",
                "lost_store",
                "mask_holes",
                "firmware_rewrite",
                "forgetful_resume",
                "stuck_slot",
            ]
        )
    )
    pairs = st.sampled_from(FIXED_TOO if slots > 4 else VARIABLE)
    registers = st.lists(pairs, min_size=1, max_size=3).map(dict)
    said: dict[str, Any] = {"action": action}
    if action == "cpu_out_of_step":
        said |= {"cpu": draw(st.sampled_from([1, 2])), "registers": draw(registers)}
        said["misses_stores"] = draw(st.booleans())
    elif action == "lost_store":
        said |= {"cpu": draw(cpus), "times": draw(times)}
        said |= draw(st.sampled_from([{"slot": slot}, {"register": 0x201}, {"register": 0x2FF}]))
    elif action == "mask_holes":
        said |= {"slot": slots - 1 - slot % 4, "holes": 1 << draw(st.integers(12, 35))}
        said["cpu"] = draw(cpus)
    elif action == "firmware_rewrite":
        said |= {"registers": draw(registers), "cpu": draw(cpus)}
        said["moment"] = draw(st.sampled_from(["now", "set", "resume"]))
        said["times"] = None if said["moment"] == "now" else draw(times)
    elif action == "forgetful_resume":
        said |= {"cpu": draw(cpus), "reinit": draw(st.booleans()), "times": draw(times)}
    else:
        said["slot"] = slot

    return Sickness(**said)


class Twins:
    """A machine of a hub, and the kernel that says what must become of it."""

    def __init__(self, arch: str, msrs: dict[int, int]) -> None:
        spec = MachineSpec(name="pc", arch=arch, msrs=msrs, cpu=Cpu(count=CPUS))
        self.hub = Hub([spec], arches=ARCHES, clock=ManualClock())
        self.hub.hardware.begin()
        self.kernel = Kernel(msrs, CPUS)
        who = Principal(1, "one")
        self.handle = open_file(self.hub.engine, Open(who, "/dev/mem"))
        self.machine = self.hub.machines["pc"]

    def update(self, base: int, length: int, flags: int, owner: bytes) -> None:
        told = self._ask(SetRange(self.handle, 0, RangeDesc(base, length, flags, owner)))
        assert told == self.kernel.update(base, length, flags, owner)

    def remove(self, base: int, length: int) -> None:
        told = self._ask(SetRange(self.handle, 1, RangeDesc(base, length)))
        assert told == self.kernel.remove(base, length)

    def _ask(self, request: SetRange) -> str | None:
        try:
            self.hub.engine.submit(request)
        except DeviceError as error:
            return error.code.name

        return None

    def sicken(self, sickness: Sickness) -> None:
        active = self.hub.hardware.add(sickness)
        it = active.sickness
        bits: dict[int, int] = {}
        if it.register is not None:
            bits = {it.register: (1 << 64) - 1}
        elif it.slot is not None and it.slot < self.kernel.low:
            bits = {FIXED[it.slot // 8]: 0xFF << 8 * (it.slot % 8)}
        elif it.slot is not None:
            number = 0x200 + 2 * (it.slot - self.kernel.low)
            bits = dict.fromkeys((number, number + 1), (1 << 64) - 1)
            if it.holes is not None:
                bits = {number + 1: it.holes}

        self.kernel.sicken(
            Fault(
                it.name,
                it.action,
                it.cpu,
                bits,
                dict(it.registers),
                it.moment,
                it.times,
                it.misses_stores,
                it.reinit,
            )
        )

    def cure(self, number: int) -> None:
        if self.kernel.faults:
            fault = self.kernel.faults.pop(number % len(self.kernel.faults))
            self.hub.hardware.remove(fault.name)

    def reinit(self) -> None:
        self.hub.hardware.reinit()
        struck = set[str]()
        self.kernel.reinit(struck)
        self.kernel.count(struck)

    def sleep(self) -> None:
        self.hub.hardware.suspend()
        self.hub.hardware.resume()
        self.kernel.resume()

    def compare(self) -> None:
        assert self.machine.table is not None
        state, health = self.machine.table.state, self.machine.health or Health()
        rows = [(it.mr_base, it.mr_len, it.mr_flags, it.mr_owner) for it in state.slots]
        assert rows == [(it.base, it.length, it.flags, it.owner) for it in self.kernel.table]
        for cpu, expected in enumerate(self.kernel.cpus):
            found = health.file_of(cpu, state.msrs)
            assert {k: v for k, v in found.items() if v} == {k: v for k, v in expected.items() if v}

        told = [it.cpu for it in self.hub.hardware.check_cpus() if it.cpu]
        assert told == self.kernel.out_of_step()


@pytest.mark.parametrize("arch", ["i386", "amd64-mtrr"])
@pytest.mark.parametrize("fixed", [6, None], ids=["fixed", "variable"])
@given(data=st.data())
def test_every_register_of_every_cpu_is_what_the_kernel_leaves(
    arch: str, fixed: int | None, data: st.DataObject
) -> None:
    odd = (0x40000006, 0xFB0000800)  # a mask with a hole, as firmware left it
    pairs = [pair(0, 64 * MIB, 6), odd] if data.draw(st.booleans()) else []
    twins = Twins(arch, firmware(*pairs, fixed=fixed, count=4, default=6))
    slots = twins.kernel.low + 4
    twins.compare()
    for _ in range(data.draw(st.integers(1, 12))):
        act = data.draw(
            st.sampled_from(["update"] * 5 + ["remove", "sick", "sick", "cure", "power"])
        )
        if act == "update":
            flags = data.draw(st.sampled_from([UC, WC, WT, WB, WP]))
            flags |= data.draw(st.sampled_from([0, FORCE]))
            owner = data.draw(st.sampled_from(OWNERS))
            twins.update(*data.draw(blocks), flags, owner)
        elif act == "remove":
            twins.remove(*data.draw(blocks))
        elif act == "sick":
            twins.sicken(data.draw(sicknesses(slots)))
        elif act == "cure":
            twins.cure(data.draw(st.integers(0, 9)))
        else:
            data.draw(st.sampled_from([twins.reinit, twins.sleep]))()

        twins.compare()
