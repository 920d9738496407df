"""What the MTRR driver reads at attach and what its requests write."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import memhub
import memhub_i386
from memhub import abi, errors
from memhub.abi import RangeDesc
from memhub.core.drivers.driver import RangeState
from mtrrcases import (
    ENABLED,
    GIB,
    LABEL,
    MIB,
    UC,
    VALID,
    WB,
    WC,
    WITH_FIXED,
    WP,
    busy,
    driver,
    firmware,
    pair,
    sets,
)

if TYPE_CHECKING:
    from types import FrameType


@pytest.mark.parametrize("vendor", ["Intel", "AMD", "Centaur"])
@pytest.mark.parametrize("signature", [0x6F0, 0xF12, 0x10F00, 0x206A7])
def test_i386_serves_family_6_and_15_of_three_vendors(vendor: str, signature: int) -> None:
    ranges = driver(memhub_i386.I386, vendor=vendor, signature=signature)

    assert len(ranges.attach(firmware(fixed=6)).slots) == 96


@pytest.mark.parametrize(
    "cpu",
    [
        {"vendor": "Cyrix", "signature": 0x600},
        {"vendor": "AMD", "signature": 0x58C},
        {"vendor": "Intel", "signature": 0x543},
        {"vendor": "Intel", "signature": 0x6F0, "mtrr": False},
    ],
)
def test_i386_refuses_any_other_cpu(cpu: dict[str, object]) -> None:
    with pytest.raises(errors.NotSupported) as caught:
        driver(memhub_i386.I386, **cpu).attach(firmware(fixed=6))

    assert caught.value.code is abi.Errno.EOPNOTSUPP


def test_the_newer_driver_asks_for_the_cpuid_bit_alone() -> None:
    assert driver(vendor="Cyrix", signature=0x543).attach(firmware()).slots
    with pytest.raises(errors.NotSupported, match="CPUID"):
        driver(mtrr=False).attach(firmware())


def test_disabled_mtrrs_leave_no_slots() -> None:
    assert driver().attach({**firmware(fixed=6), 0x2FF: 0x400}).slots == ()
    assert driver().attach({}).slots == ()


def test_fixed_slots_need_support_and_enablement() -> None:
    counts = {
        (cap, default): len(driver().attach({0xFE: cap, 0x2FF: default}).slots)
        for cap in (0x008, 0x108)
        for default in (ENABLED, WITH_FIXED)
    }

    assert counts == {
        (0x008, ENABLED): 8,
        (0x008, WITH_FIXED): 8,
        (0x108, ENABLED): 8,
        (0x108, WITH_FIXED): 96,
    }


def test_a_mask_with_holes_is_bogus_and_its_extent_is_the_hull_of_what_it_matches() -> None:
    holes = 0xF_FFF0_0000 & ~(1 << 28)
    ranges = driver()
    state = ranges.attach(firmware((0x8000_0000 | 6, holes | VALID)))

    assert state.slots[0].mr_flags & abi.MDF_BOGUS
    assert ranges.extent(state, 0) == (0x8000_0000, 0x9010_0000)
    assert ranges.extent(state, 1) == (0, 0)
    types = ranges.types(state)
    seen = [types.at(at) for at in (0x8000_0000, 0x8010_0000, 0x9000_0000, 0x9010_0000)]
    assert seen == ["WB", "UC", "WB", "UC"]


def test_a_mask_of_zero_shows_the_whole_space() -> None:
    state = driver(phys_bits=40).attach(firmware((6, VALID)))

    assert str(state.slots[0]) == "0x0/0x10000000000 BIOS write-back set-by-firmware active"


# ---- what a request writes ------------------------------------------------------------------


def test_a_widened_fixed_update_names_every_slot_it_wrote() -> None:
    ranges = driver()
    state = ranges.attach(firmware(fixed=6))
    change = ranges.update(state, RangeDesc(0x7E000, 0x2000, WC, LABEL))
    assert change.wrote == (7,)
    change = ranges.update(state, RangeDesc(0xA0000, 0x20000, WC, LABEL))
    assert change.wrote == tuple(range(16, 24))
    change = ranges.update(state, RangeDesc(0, MIB, WB, LABEL))
    assert change.wrote == tuple(range(88))
    assert not change.msrs


def test_taking_a_range_over_with_the_same_values_writes_it_and_changes_nothing() -> None:
    ranges = driver()
    request = RangeDesc(GIB, GIB, WB, LABEL)
    state = sets(ranges.attach(firmware()), ranges, request)
    change = ranges.update(state, request)

    assert (change.wrote, change.slots, change.msrs) == ((0,), {}, {})


def test_taking_over_an_own_range_takes_eight_calls_in_two_files() -> None:
    """Most requests go this way; `abi` makes the descriptor and is not counted as a file."""
    ranges = driver()
    root = Path(memhub.__file__).parent
    state = sets(ranges.attach(firmware(fixed=6)), ranges, RangeDesc(GIB, GIB, WC, LABEL))
    request = RangeDesc(GIB, GIB, UC, LABEL)
    called: list[Path] = []

    def profile(frame: FrameType, event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(root):
            called.append(path.relative_to(root))

    earlier = sys.getprofile()
    sys.setprofile(profile)
    try:
        change = ranges.update(state, request)
    finally:
        sys.setprofile(earlier)

    assert change.wrote == (88,)
    assert {path.as_posix() for path in called} == {
        "abi.py",
        "x86/mtrr_codec.py",
        "x86/mtrr_driver.py",
    }
    assert len(called) <= 8


def test_a_removed_slot_reads_back_as_the_whole_space_inactive_and_can_be_removed_again() -> None:
    ranges = driver(phys_bits=39)
    state = ranges.attach(firmware(pair(GIB, GIB, 6, 39)))
    state = state.apply(ranges.remove(state, RangeDesc(GIB, GIB)))

    assert str(state.slots[0]) == "0x0/0x8000000000 - uncacheable set-by-firmware"
    assert ranges.remove(state, RangeDesc(0, 1 << 39)).wrote == (0,)


def test_address_bits_that_the_cpu_has_not_vanish() -> None:
    ranges = driver(phys_bits=36)
    state = ranges.attach(firmware())
    state = sets(state, ranges, RangeDesc(1 << 40 | GIB, GIB, WC, LABEL))

    assert (state.slots[0].mr_base, state.slots[0].mr_len) == (GIB, GIB)


def test_restoring_a_firmware_range_brings_its_registers_back() -> None:
    ranges = driver()
    first = ranges.attach(firmware(pair(GIB, GIB, 6)))
    state = sets(first, ranges, RangeDesc(GIB, GIB, UC, LABEL))
    change = ranges.restore(state, {0: first.slots[0]})

    assert state.apply(change) == first
    assert change.wrote == (0,)


def test_restoring_brings_back_a_type_that_no_descriptor_can_name() -> None:
    """Type bytes 2 and 3 both read as UNKNOWN, so only the register of then can tell."""
    ranges = driver()
    first = ranges.attach(firmware(pair(GIB, GIB, 3), fixed=2))
    state = sets(first, ranges, RangeDesc(GIB, GIB, UC | abi.MDF_FORCE, LABEL))
    state = sets(state, ranges, RangeDesc(0, 0x20000, UC | abi.MDF_FORCE, LABEL))

    back = {slot: row for slot, row in enumerate(first.slots) if row != state.slots[slot]}
    again = state.apply(ranges.restore(state, back, first.msrs))

    assert list(back) == [0, 1, 88]
    assert again == first


def test_busy_marks_are_never_stored() -> None:
    ranges = driver()
    free = ranges.attach(firmware(pair(GIB, GIB, 6), fixed=6))
    for state in (free, RangeState(free.slots, free.msrs)):
        marked = busy(state, 3, 24, 88)
        for request in (RangeDesc(0xC0000, 0x1000, WP, LABEL), RangeDesc(4 * GIB, GIB, WC, LABEL)):
            assert ranges.update(marked, request) == ranges.update(state, request)


def test_types_are_those_of_the_registers_default_type_included() -> None:
    ranges = driver()
    state = ranges.attach(firmware(pair(GIB, GIB, 1), fixed=5, default=6))
    types = ranges.types(state)

    assert [types.at(at) for at in (0, MIB, GIB, 2 * GIB)] == ["WP", "WB", "WC", "WB"]
