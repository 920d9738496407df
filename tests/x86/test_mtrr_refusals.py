"""Every refusal of the MTRR driver says what stood in the way, in the kernel's order."""

from __future__ import annotations

import pytest

import memhub_amd64_mtrr
import memhub_i386
from memhub import abi, errors
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import RangeState
from mtrrcases import (
    GIB,
    LABEL,
    MIB,
    UC,
    WB,
    WC,
    WP,
    WT,
    busy,
    driver,
    firmware,
    pair,
    sets,
)


@pytest.mark.parametrize(
    ("base", "length", "flags", "words"),
    [
        (GIB, 0, WB, "length 0x0 is not a power of two"),
        (GIB, 0x800, WB, "length 0x800 is not a power of two of at least 0x1000"),
        (GIB, 0x3000, WB, "length 0x3000 is not a power of two"),
        (0x1001, 0x1000, WB, "base 0x1001 is not a multiple of the length 0x1000"),
        (0x3000, 0x2000, WB, "base 0x3000 is not a multiple of the length 0x2000"),
        (GIB, GIB, 0, r"no attribute \(0x0\): give exactly one of"),
        (GIB, GIB, WB | WC, r"write-combine write-back \(0xa\)"),
        (GIB, GIB, abi.MDF_UNKNOWN, r"unknown \(0x20\)"),
        (GIB, GIB, WB | 1 << 20, r"\(0x100008\)"),
        ((1 << 64) - 4096, 4096, WB, "ends where 64-bit addresses do"),
    ],
)
def test_a_malformed_request_is_einval_with_the_value_and_the_rule(
    base: int, length: int, flags: int, words: str
) -> None:
    ranges = driver()
    with pytest.raises(errors.InvalidRange, match=words):
        ranges.update(ranges.attach(firmware(fixed=6)), RangeDesc(base, length, flags, LABEL))


def test_a_conflict_names_the_other_range_and_both_types() -> None:
    ranges = driver()
    state = ranges.attach(firmware((0, 0), pair(GIB, GIB, 1)))
    with pytest.raises(errors.InvalidRange) as caught:
        ranges.update(state, RangeDesc(0, 4 * GIB, WB, LABEL))

    assert caught.value.obstacles == (
        errors.Obstacle(
            kind="overlap", slot=1, base=GIB, length=GIB, type="write-combine", owner="BIOS"
        ),
    )
    assert "0x0/0x100000000 as write-back" in caught.value.reason
    assert "slot 1 0x40000000/0x40000000 (write-combine, owner BIOS)" in caught.value.reason


@pytest.mark.parametrize("held", [UC, WC, WT, WB, WP])
@pytest.mark.parametrize("wanted", [UC, WC, WT, WB, WP])
def test_only_equal_types_and_write_back_with_uncacheable_may_overlap(
    held: int, wanted: int
) -> None:
    ranges = driver()
    state = sets(ranges.attach(firmware()), ranges, RangeDesc(GIB, GIB, held, LABEL))
    request = RangeDesc(GIB, 4096, wanted, LABEL)
    if held == wanted or {held, wanted} == {WB, UC}:
        assert ranges.update(state, request).wrote == (1,)
    else:
        with pytest.raises(errors.InvalidRange):
            ranges.update(state, request)


def test_a_range_of_unknown_type_conflicts_in_both_drivers_forced_or_not() -> None:
    for arch in (memhub_i386.I386, memhub_amd64_mtrr.AMD64_MTRR):
        ranges = driver(arch)
        state = ranges.attach(firmware(pair(GIB, GIB, 2)))
        for flags in (WB, UC, WB | abi.MDF_FORCE):
            with pytest.raises(errors.InvalidRange, match="unknown"):
                ranges.update(state, RangeDesc(GIB, 4096, flags, LABEL))


def test_a_full_table_lists_every_variable_slot_and_its_owner() -> None:
    ranges = driver()
    state = ranges.attach(firmware(pair(GIB, GIB, 6), fixed=6, count=2))
    state = sets(state, ranges, RangeDesc(2 * GIB, GIB, WC, owner_bytes("drm")))
    with pytest.raises(errors.NoSpace) as caught:
        ranges.update(state, RangeDesc(4 * GIB, GIB, WC, LABEL))

    assert [(row.slot, row.owner) for row in caught.value.obstacles] == [(88, "BIOS"), (89, "drm")]
    assert "slot 88 by BIOS, slot 89 by drm" in caught.value.reason


def test_a_cpu_without_variable_slots_says_so() -> None:
    ranges = driver()
    with pytest.raises(errors.NoSpace, match="no slot that could hold 0x40000000/0x40000000"):
        ranges.update(ranges.attach(firmware(fixed=6, count=0)), RangeDesc(GIB, GIB, WC, LABEL))


@pytest.mark.parametrize("span", [(0xC0000, 0x1000), (GIB, GIB)])
def test_an_unknown_type_gives_way_to_force_alone(span: tuple[int, int]) -> None:
    ranges = driver()
    state = ranges.attach(firmware(pair(GIB, GIB, 2), fixed=3))
    slot = 24 if span[0] < MIB else 88
    with pytest.raises(errors.AccessDenied, match="MDF_FORCE") as caught:
        ranges.update(state, RangeDesc(*span, WB, LABEL))

    assert [(row.kind, row.slot) for row in caught.value.obstacles] == [("unknown", slot)]
    assert ranges.update(state, RangeDesc(*span, WB | abi.MDF_FORCE, LABEL)).wrote == (slot,)


def test_an_exact_match_is_busy_before_it_is_unknown() -> None:
    ranges = driver()
    state = busy(ranges.attach(firmware(pair(GIB, GIB, 2))), 0)
    for flags in (WB, WB | abi.MDF_FORCE):
        with pytest.raises(errors.RangeBusy) as caught:
            ranges.update(state, RangeDesc(GIB, GIB, flags, LABEL))

        assert [(row.kind, row.slot) for row in caught.value.obstacles] == [("claim", 0)]


def test_a_conflict_in_a_lower_slot_comes_before_a_busy_match_and_behind_it_is_not_seen() -> None:
    ranges = driver()
    low, high = pair(0, 2 * GIB, 4), pair(GIB, GIB, 6)
    request = RangeDesc(GIB, GIB, WB, LABEL)
    with pytest.raises(errors.InvalidRange):
        ranges.update(busy(ranges.attach(firmware(low, high)), 1), request)

    with pytest.raises(errors.RangeBusy):
        ranges.update(busy(ranges.attach(firmware(high, low)), 0), request)

    assert ranges.update(ranges.attach(firmware(high, low)), request).wrote == (0,)


def test_remove_prefers_enoent_then_eperm_then_ebusy() -> None:
    ranges = driver()
    state = busy(ranges.attach(firmware(pair(GIB, GIB, 6), fixed=6)), 24, 88)
    with pytest.raises(errors.NoSuchRange, match=r"slot 88 .* overlaps it") as absent:
        ranges.remove(state, RangeDesc(GIB, GIB // 2))

    assert [row.slot for row in absent.value.obstacles] == [88]
    with pytest.raises(errors.NotPermitted, match="fixed range") as fixed:
        ranges.remove(state, RangeDesc(0xC0000, 0x1000))

    assert [(row.kind, row.slot) for row in fixed.value.obstacles] == [("fixed", 24)]
    with pytest.raises(errors.RangeBusy):
        ranges.remove(state, RangeDesc(GIB, GIB))


def test_a_refused_request_leaves_the_state_as_it_was() -> None:
    ranges = driver()
    state = ranges.attach(firmware(pair(GIB, GIB, 2), fixed=6))
    copy = RangeState(tuple(state.slots), dict(state.msrs))
    for request in (RangeDesc(GIB, 4096, WC, LABEL), RangeDesc(0, 1, WC)):
        with pytest.raises(errors.DeviceError):
            ranges.update(state, request)

    assert state == copy
