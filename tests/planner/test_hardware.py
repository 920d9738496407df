"""What is planned for an architecture is what its driver grants, and gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub import MachineSpec, load_arches
from memhub.abi import (
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
    RangeDesc,
)
from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.ranges.plannable import Hardware, NotPlannable, read_hardware
from memhub.core.ranges.range_table import RangeTable
from memhub.core.requests import SetRange
from memhub.planner import NoPlan, WantedMap, plan_least_loss, plan_registers
from memhub.plugin import Cpu
from memhub.plugin.declared import DeclaredArch, make_arch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.planner.fewest import Register
    from memhub.plugin import Arch

ARCHES = load_arches()
FLAGS = {
    "UC": MDF_UNCACHEABLE,
    "WC": MDF_WRITECOMBINE,
    "WT": MDF_WRITETHROUGH,
    "WP": MDF_WRITEPROTECT,
    "WB": MDF_WRITEBACK,
}
MTRRS = ["i386", "amd64-mtrr", "dragonfly", "openbsd-amd64", "openbsd-i386"]
MIB, GIB = 1 << 20, 1 << 30
#: MTRRs that are enabled, 10 of them, and nothing else.
BARE = {0xFE: 0x50A, 0x2FF: 0xC00}


def hardware_of(name: str) -> Hardware:
    return read_hardware(MachineSpec(name="pc", arch=name), ARCHES[name])


@pytest.mark.parametrize("name", MTRRS)
def test_mtrrs_are_what_is_planned_with(name: str) -> None:
    found = hardware_of(name)
    assert found[:4] == (("UC", "WC", "WT", "WP", "WB"), 36, 8, True)
    assert frozenset(("UC", "WB")) not in found.apart
    assert {frozenset(("UC", "WC")), frozenset(("WC", "WB"))} <= found.apart


def test_a_machine_has_its_own_registers_and_width() -> None:
    spec = MachineSpec(name="pc", arch="i386", cpu=Cpu(phys_bits=40), msrs=BARE)
    assert read_hardware(spec, ARCHES["i386"])[1:3] == (40, 10)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("arm64", "it has no ranges"),
        ("amd64", "one of its ranges covers any whole pages"),
        ("powerpc", "one of its ranges covers any whole pages"),
        ("k6", "its shortest range has 0x20000 bytes, and 0x1000 are planned with"),
    ],
)
def test_what_cannot_be_planned_for_says_which_rule_differs(name: str, why: str) -> None:
    with pytest.raises(NotPlannable, match=why):
        hardware_of(name)


def sparc(**more: Any) -> Arch:
    """An architecture without registers, whose ranges are aligned blocks."""
    types = {"write-back": "WB", "uncacheable": "UC"}

    return make_arch(
        DeclaredArch(
            name="sparc", summary="blocks", slots=4, types=types, power_of_two=True, **more
        )
    )


def test_a_declared_architecture_has_the_default_type_that_it_has() -> None:
    found = read_hardware(MachineSpec(name="s", arch="sparc"), sparc(default_type="WT"))
    assert found == Hardware(("UC", "WB"), 36, 4, False, frozenset({frozenset(("UC", "WB"))}), "WT")
    assert hardware_of("i386").default is None


def test_ranges_that_mix_otherwise_than_mtrrs_are_not_planned_for() -> None:
    both = ("uncacheable", "write-back")
    arch = sparc(overlaps={"uncacheable": both, "write-back": both}, winner="attribute")
    with pytest.raises(NotPlannable, match="WB inside UC is WB, and UC is planned with"):
        read_hardware(MachineSpec(name="s", arch="sparc"), arch)


BOUNDS = st.integers(1, 16).map(lambda it: it * 64 * MIB)
RANGES = st.lists(
    st.tuples(BOUNDS, BOUNDS, st.sampled_from(sorted(FLAGS)))
    .filter(lambda it: it[0] != it[1])
    .map(lambda it: (*sorted(it[:2]), it[2])),
    min_size=1,
    max_size=4,
)


@given(RANGES, st.integers(1, 6), st.sampled_from(MTRRS))
def test_the_driver_grants_what_is_planned_and_gives_the_map(
    ranges: list[tuple[int, int, str]], slots: int, name: str
) -> None:
    spec = MachineSpec(name="pc", arch=name, msrs=BARE)
    found = read_hardware(spec, ARCHES[name])
    wanted = WantedMap.of_ranges(36, ranges, otherwise="UC")
    plan = plan_registers(wanted, default="UC", types=found.types, apart=found.apart)
    table = RangeTable.attach(spec, ARCHES[name])
    assert table is not None
    asked = AskedDriver.make(spec, ARCHES[name])
    assert asked is not None

    if len(plan.registers) <= found.slots:
        assert _types_after(asked, table, plan.registers) == [it[2] for it in wanted.wants[1:]]

    try:
        lossy = plan_least_loss(wanted, slots, default="UC", types=found.types, apart=found.apart)
    except NoPlan:
        return

    assert len(lossy.registers) <= slots
    _types_after(asked, table, lossy.registers)


def _types_after(
    driver: AskedDriver, table: RangeTable, registers: Iterable[Register]
) -> list[str]:
    """Nothing is refused; the types of the stretches above the fixed ranges."""
    state = table.state
    for base, size, type_ in registers:
        state = driver.plan_set(state, SetRange(0, 0, RangeDesc(base, size, FLAGS[type_]))).after

    return [it.type for it in driver.types(state).segments() if it.end > MIB]
