"""The PowerPC driver stores what it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import memhub_powerpc
import strategies
from memhub import abi, errors
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import Cpu
from memhub.plugin.declared import make_driver

if TYPE_CHECKING:
    from memhub.core.drivers.driver import RangeState

WC, WB, WP = abi.MDF_WRITECOMBINE, abi.MDF_WRITEBACK, abi.MDF_WRITEPROTECT
DRIVER = make_driver(memhub_powerpc.DECLARED, Cpu(), {})


def held(*descs: RangeDesc) -> RangeState:
    state = DRIVER.attach({})
    for desc in descs:
        state = state.apply(DRIVER.update(state, desc))

    return state


@given(strategies.range_descs())
def test_any_descriptor_is_stored_with_active_added(desc: RangeDesc) -> None:
    state = held(desc)

    assert len(state.slots) == 8
    assert state.slots[0] == RangeDesc(
        desc.mr_base, desc.mr_len, desc.mr_flags | abi.MDF_ACTIVE, desc.mr_owner
    )


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(0, 2))))
def test_the_table_is_a_list_with_holes(steps: list[tuple[bool, int, int]]) -> None:
    """Against a plain list: a zero length is free, the first match decides."""
    model: list[tuple[int, int]] = [(0, 0)] * 8
    state = DRIVER.attach({})
    for adding, base, length in steps:
        wanted = (base, length)
        free = next((slot for slot, row in enumerate(model) if row[1] == 0), 8)
        same = model.index(wanted) if wanted in model else 8
        fits = free < 8 and free <= same if adding else same < 8
        request = RangeDesc(base, length, WB)
        if not fits:
            with pytest.raises((errors.RangeExists, errors.NoSpace, errors.NoSuchRange)) as caught:
                (DRIVER.update if adding else DRIVER.remove)(state, request)

            exists = adding and same < free
            assert isinstance(caught.value, errors.RangeExists) == exists
            continue

        slot = free if adding else same
        model[slot] = wanted if adding else (0, 0)
        state = state.apply((DRIVER.update if adding else DRIVER.remove)(state, request))
        assert [(row.mr_base, row.mr_len) for row in state.slots] == model


def test_a_full_table_lists_all_eight_slots() -> None:
    with pytest.raises(errors.NoSpace) as caught:
        held(*[RangeDesc(index, 1, WB, owner_bytes(f"p{index}")) for index in range(9)])

    assert [row.owner for row in caught.value.obstacles] == [f"p{index}" for index in range(8)]


def test_types_follow_the_first_slot_that_holds_an_address() -> None:
    """An attribute with no type of its own leaves the default, and hides later slots."""
    state = held(RangeDesc(0, 0x1000, WP), RangeDesc(0, 0x2000, WC))
    types = DRIVER.types(state)

    assert [types.at(at) for at in (0, 0xFFF, 0x1000, 0x2000)] == ["WB", "WB", "WC", "WB"]


def test_a_range_past_the_end_of_the_space_has_its_types_cut_there() -> None:
    types = DRIVER.types(held(RangeDesc((1 << 64) - 0x1000, 0x4000, WC)))

    assert types.at((1 << 64) - 1) == "WC"
