"""The PAT architecture: any whole pages, one attribute a page."""

from __future__ import annotations

from typing import Any

import pytest

from memhub import abi, errors
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import Change, Cpu, RangeDriver, RangeState
from memhub_amd64 import AMD64

PAGE = 4096
UC, WC = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE
WT, WB, WP = abi.MDF_WRITETHROUGH, abi.MDF_WRITEBACK, abi.MDF_WRITEPROTECT
#: Every address WB under the MTRRs, so that page attributes alone decide.
ALL_WB = {0xFE: 0, 0x2FF: 0x806}


def _driver(**options: Any) -> RangeDriver:
    assert AMD64.driver is not None

    return AMD64.driver(Cpu(phys_bits=36), options)


def _attach(**options: Any) -> tuple[RangeDriver, RangeState]:
    driver = _driver(**options)

    return driver, driver.attach(ALL_WB)


def _desc(base: int, length: int, flags: int, owner: str = "me") -> RangeDesc:
    return RangeDesc(base, length, flags, owner_bytes(owner))


def _with(driver: RangeDriver, state: RangeState, *rows: RangeDesc) -> RangeState:
    for desc in rows:
        state = state.apply(driver.update(state, desc))

    return state


def _flag(state: RangeState, slot: int, flag: int) -> RangeState:
    """The state as the driver sees it with one more flag on a slot."""
    held = state.slots[slot]
    marked = RangeDesc(held.mr_base, held.mr_len, held.mr_flags | flag, held.mr_owner)

    return state.with_slots((*state.slots[:slot], marked, *state.slots[slot + 1 :]))


HOLE = {"base": 0xA0000, "length": 0x60000, "type": "UC"}


@pytest.mark.parametrize(
    ("palette", "attributes"),
    [
        ("power-on", {UC, WT, WB}),
        ("freebsd", {UC, WC, WT, WB, WP}),
        ("linux", {UC, WC, WT, WB, WP}),
        (["WB"] * 8, {WB}),
        (["WB"] * 7 + ["UC-"], {WB, UC}),
    ],
)
def test_attributes_are_those_that_the_palette_holds(palette: Any, attributes: set[int]) -> None:
    """Uncacheable is UC, or UC- where that is all there is."""
    driver, state = _attach(palette=palette)
    for attribute in (UC, WC, WT, WB, WP):
        if attribute in attributes:
            assert driver.update(state, _desc(0, PAGE, attribute)).wrote == (0,)
        else:
            with pytest.raises(errors.InvalidRange, match="the palette has no"):
                driver.update(state, _desc(0, PAGE, attribute))


@pytest.mark.parametrize(
    ("base", "length", "flags", "reason"),
    [
        (1, PAGE, WB, "whole pages"),
        (0, PAGE + 1, WB, "whole pages"),
        (PAGE, 0, WB, "length 0"),
        (0, (1 << 36) + PAGE, WB, "36 physical address bits"),
        (1 << 36, PAGE, WB, "36 physical address bits"),
        ((1 << 64) - PAGE, PAGE, WB, "36 physical address bits"),
        (0, PAGE, 0, "not exactly one"),
        (0, PAGE, WB | WC, "not exactly one"),
        (0, PAGE, abi.MDF_UNKNOWN, "not exactly one"),
        (0, PAGE, WB | 1 << 6, "not exactly one"),
    ],
)
def test_a_malformed_range_is_refused(base: int, length: int, flags: int, reason: str) -> None:
    """EINVAL, and the reason names the rule; busy or not."""
    driver, state = _attach(ranges=[{"base": PAGE, "length": PAGE, "type": "WB"}])
    with pytest.raises(errors.InvalidRange, match=reason):
        driver.update(_flag(state, 0, abi.MDF_BUSY), _desc(base, length, flags))


@pytest.mark.parametrize(
    ("base", "length"), [(3 * PAGE, 5 * PAGE), (0, 1 << 36), ((1 << 36) - PAGE, PAGE)]
)
def test_any_whole_pages_make_a_range(base: int, length: int) -> None:
    """No power of two, no alignment to the length; the last page is a page."""
    driver, state = _attach()
    state = _with(driver, state, _desc(base, length, WT | abi.MDF_FORCE | abi.MDF_FIRMWARE))

    assert state.slots[0] == _desc(base, length, abi.MDF_ACTIVE | WT)


@pytest.mark.parametrize("slot", [0, 31, 32, 63, 64, 69])
def test_a_range_in_any_slot_of_a_table_is_seen(slot: int) -> None:
    """Alone in a table that is not a multiple of any block, after slots that became free."""
    driver, state = _attach(slots=70)
    held = _desc(PAGE, PAGE, WT | abi.MDF_ACTIVE)
    state = state.with_slots((*state.slots[:slot], held, *state.slots[slot + 1 :]))

    assert driver.update(state, _desc(PAGE, PAGE, WB)).wrote == (slot,), "taken over"
    with pytest.raises(errors.InvalidRange, match=f"slot {slot}"):
        driver.update(state, _desc(0, 2 * PAGE, WB))


def test_an_exact_match_is_taken_over() -> None:
    """Same slot, new type and owner; firmware's mark goes, a fixed slot stays fixed."""
    driver, state = _attach(ranges=[{**HOLE, "fixed": True}])
    change = driver.update(state, _desc(0xA0000, 0x60000, WC))

    assert change == Change(
        (0,), {0: _desc(0xA0000, 0x60000, abi.MDF_ACTIVE | abi.MDF_FIXACTIVE | WC)}
    )


def test_writing_what_is_there_already_still_takes_the_slot() -> None:
    """It is written, and nothing differs; the mark of another's claim is no difference."""
    driver, state = _attach()
    state = _with(driver, state, _desc(0, PAGE, WC))

    assert driver.update(state, _desc(0, PAGE, WC)) == Change((0,))


def test_a_busy_slot_is_not_taken_over_even_by_force() -> None:
    """EBUSY, before EACCES is looked at."""
    driver, state = _attach()
    state = _with(driver, state, _desc(0, PAGE, WC, "them"))
    busy = _flag(state, 0, abi.MDF_BUSY | abi.MDF_UNKNOWN)
    with pytest.raises(errors.RangeBusy) as caught:
        driver.update(busy, _desc(0, PAGE, WB | abi.MDF_FORCE))

    (obstacle,) = caught.value.obstacles
    assert (obstacle.kind, obstacle.slot, obstacle.owner) == ("claim", 0, "them")


def test_a_slot_of_unknown_type_is_taken_over_by_force_alone() -> None:
    """EACCES without MDF_FORCE."""
    driver, state = _attach()
    state = _flag(_with(driver, state, _desc(0, PAGE, WC)), 0, abi.MDF_UNKNOWN)
    with pytest.raises(errors.AccessDenied, match="force"):
        driver.update(state, _desc(0, PAGE, WB))

    assert driver.update(state, _desc(0, PAGE, WB | abi.MDF_FORCE)).wrote == (0,)


def test_overlap_with_the_same_type_is_allowed() -> None:
    """Several descriptors may cover a page, as long as they agree."""
    driver, state = _attach()
    state = _with(driver, state, _desc(0, 4 * PAGE, WC), _desc(2 * PAGE, 4 * PAGE, WC))

    assert [slot.mr_base for slot in state.slots[:2]] == [0, 2 * PAGE]


def test_overlap_with_another_type_is_refused_and_names_all_of_them() -> None:
    """WB and UC too: a page has one attribute. Busy neighbours are no reason to say EBUSY."""
    driver, state = _attach()
    state = _with(driver, state, _desc(0, PAGE, WB, "one"), _desc(2 * PAGE, PAGE, WC, "two"))
    with pytest.raises(errors.InvalidRange, match="overlaps slot 0") as caught:
        driver.update(_flag(state, 0, abi.MDF_BUSY), _desc(0, 3 * PAGE, UC))

    found = [(o.kind, o.slot, o.type, o.owner) for o in caught.value.obstacles]
    assert found == [
        *(("overlap", 0, "write-back", "one"), ("overlap", 1, "write-combine", "two")),
    ]


def test_taking_over_one_of_two_that_overlap_may_not_part_them() -> None:
    """The other one still gives the shared pages its type."""
    driver, state = _attach()
    state = _with(driver, state, _desc(0, 2 * PAGE, WC), _desc(PAGE, 2 * PAGE, WC))
    with pytest.raises(errors.InvalidRange, match="overlaps slot 1"):
        driver.update(state, _desc(0, 2 * PAGE, WB))


def test_without_a_free_slot_the_owners_are_named() -> None:
    """ENOSPC, with who holds what; a conflict is told first."""
    driver, state = _attach(slots=1, ranges=[HOLE])
    with pytest.raises(errors.NoSpace, match="all 1 slots") as caught:
        driver.update(state, _desc(0, PAGE, WB))

    assert [(o.slot, o.owner) for o in caught.value.obstacles] == [(0, "BIOS")]
    with pytest.raises(errors.InvalidRange):
        driver.update(state, _desc(0xA0000, PAGE, WB))


def test_removing_empties_the_slot() -> None:
    """Nothing of it stays, the owner included."""
    driver, state = _attach(ranges=[HOLE])

    assert driver.remove(state, _desc(0xA0000, 0x60000, 0)) == Change((0,), {0: RangeDesc(0, 0)})


def test_refusals_to_remove_come_in_order() -> None:
    """ENOENT before EPERM before EBUSY; an empty slot is no range of length 0."""
    driver, state = _attach(ranges=[{**HOLE, "fixed": True}, {**HOLE, "base": 0, "length": PAGE}])
    busy = _flag(_flag(state, 0, abi.MDF_BUSY), 1, abi.MDF_BUSY)
    for base, length in ((0xA0000, PAGE), (0, 0)):
        with pytest.raises(errors.NoSuchRange):
            driver.remove(busy, _desc(base, length, 0))

    with pytest.raises(errors.NotPermitted, match="slot 0"):
        driver.remove(busy, _desc(0xA0000, 0x60000, 0))

    with pytest.raises(errors.RangeBusy, match="slot 1"):
        driver.remove(busy, _desc(0, PAGE, 0))


def test_restoring_puts_earlier_descriptors_back_without_the_busy_mark() -> None:
    """Undo on close, for the slots that differ."""
    driver, before = _attach(ranges=[HOLE])
    after = _with(driver, before, _desc(0xA0000, 0x60000, WC), _desc(0, PAGE, WB))
    back = {0: _flag(before, 0, abi.MDF_BUSY).slots[0], 1: before.slots[1], 2: before.slots[2]}
    change = driver.restore(_flag(after, 0, abi.MDF_BUSY), back)

    assert change.wrote == (0, 1, 2)
    assert set(change.slots) == {0, 1}
    assert after.apply(change) == before


@pytest.mark.parametrize("fixed", [False, True])
def test_restoring_gives_way_to_a_later_type_for_the_same_pages(fixed: bool) -> None:
    """Someone else's range of another type stands; a fixed slot is not emptied for it."""
    driver, before = _attach(ranges=[{**HOLE, "fixed": fixed}])
    mine = _with(driver, before, _desc(0xA0000, 0x60000, WC))
    after = _with(driver, mine, _desc(0xA0000, PAGE, WC, "them"))
    change = driver.restore(after, {0: before.slots[0]})

    assert after.apply(change).slots[0] == (mine.slots[0] if fixed else RangeDesc(0, 0))


def test_page_attributes_lie_over_the_mtrrs() -> None:
    """Write-combining holds over a UC MTRR; a page without a descriptor uses PA0."""
    driver = _driver(palette="freebsd")
    state = driver.attach({0xFE: 1, 0x2FF: 0x806, 0x200: 0xC0000000, 0x201: 0xFC0000800})
    state = _with(driver, state, _desc(0xC0000000, 3 * PAGE, WC), _desc(PAGE, PAGE, UC))
    types = driver.types(state)
    wanted = [0, PAGE, 2 * PAGE, 0xC0000000, 0xC0003000]

    assert [types.at(address) for address in wanted] == ["WB", "UC", "WB", "WC", "UC"]
    assert types.why(0xC0000000) == (
        "PAT WC (slot 0) over MTRR UC: WC (SDM table 11-7); MTRR: variable MTRR 0 (UC)"
    )


def test_uncacheable_of_a_palette_without_uc_is_overridden_by_mtrr_wc() -> None:
    """UC- gives way to a write-combining MTRR, which tells it from UC."""
    driver = _driver(palette=["WB"] * 7 + ["UC-"])
    state = driver.attach({0xFE: 0, 0x2FF: 0x801})

    assert driver.types(_with(driver, state, _desc(0, PAGE, UC))).at(0) == "WC"


def test_pa0_is_the_type_of_every_page_without_a_descriptor() -> None:
    """A palette that starts with WT makes memory write-through."""
    driver, state = _attach(palette=["WT", "WB", "UC", "UC", "UC", "UC", "UC", "UC"])

    assert driver.types(state).at(0) == "WT"
