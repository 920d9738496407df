"""The K6 driver keeps its kernel's quirks."""

from __future__ import annotations

import pytest

import memhub_k6
from memhub import abi, errors
from memhub.abi import RangeDesc, owner_bytes
from memhub.core.drivers.driver import Cpu, RangeDriver, RangeState
from memhub.plugin.declared import make_driver

UC, WC = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE
K128 = 0x20000
LABEL = owner_bytes("test")
K6_3 = Cpu(vendor="AMD", signature=0x58C, phys_bits=32, mtrr=False)


def driver(cpu: Cpu = K6_3) -> RangeDriver:
    return make_driver(memhub_k6.DECLARED, cpu, {})


def held(*descs: RangeDesc) -> RangeState:
    ranges = driver()
    state = ranges.attach({})
    for desc in descs:
        state = state.apply(ranges.update(state, desc))

    return state


def test_a_request_takes_the_first_free_slot_with_the_callers_flags_never_active() -> None:
    request = RangeDesc(0xE0000000, 0x4000000, WC | abi.MDF_FORCE, LABEL)

    assert held(request).slots == (request, RangeDesc(0, 0))


@pytest.mark.parametrize("flags", [0, WC | UC])
def test_no_attribute_or_both_are_accepted_and_take_a_slot(flags: int) -> None:
    assert held(RangeDesc(0, K128, flags)).slots[0].mr_flags == flags


def test_base_and_length_need_no_common_alignment_and_bits_above_4_gib_pass() -> None:
    request = RangeDesc((1 << 40) + K128, 0x4000000, WC)

    assert held(request).slots[0] == request


@pytest.mark.parametrize(
    ("base", "length", "words"),
    [
        (0x10000, K128, "base 0x10000 is not a multiple of 0x20000"),
        (0, 0x10000, "length 0x10000 is not a power of two of at least 0x20000"),
        (0, 3 * K128, "length 0x60000 is not a power of two"),
    ],
)
def test_what_the_register_cannot_hold_is_einval(base: int, length: int, words: str) -> None:
    with pytest.raises(errors.InvalidRange, match=words):
        held(RangeDesc(base, length, WC))


def test_any_other_flag_is_eopnotsupp_after_the_range_is_checked() -> None:
    with pytest.raises(errors.NotSupported, match="write-back"):
        held(RangeDesc(0, K128, abi.MDF_WRITEBACK))

    with pytest.raises(errors.InvalidRange):
        held(RangeDesc(1, K128, abi.MDF_WRITEBACK))


def test_a_duplicate_is_eexist_only_where_no_free_slot_comes_first() -> None:
    first, second = RangeDesc(0, K128, WC), RangeDesc(K128, K128, WC)
    ranges, state = driver(), held(first, second)
    with pytest.raises(errors.RangeExists) as caught:
        ranges.update(state, second)

    assert [(row.kind, row.slot) for row in caught.value.obstacles] == [("overlap", 1)]
    state = state.apply(ranges.remove(state, first))
    assert ranges.update(state, second).wrote == (0,)


def test_a_full_table_is_enospc_and_lists_both_slots() -> None:
    with pytest.raises(errors.NoSpace) as caught:
        held(*[RangeDesc(index * K128, K128, WC, LABEL) for index in range(3)])

    assert [(row.slot, row.owner) for row in caught.value.obstacles] == [(0, "test"), (1, "test")]


def test_remove_clears_all_eight_owner_bytes_and_finds_free_slots_too() -> None:
    ranges, state = driver(), held(RangeDesc(0, K128, WC, LABEL))
    assert state.apply(ranges.remove(state, RangeDesc(0, K128))).slots[0] == RangeDesc(0, 0)
    assert ranges.remove(state, RangeDesc(0, 0)).slots == {}
    with pytest.raises(errors.NoSuchRange, match=r"slot 0 0x0/0x20000 .* overlaps it"):
        ranges.remove(state, RangeDesc(0, 2 * K128))


def test_restore_puts_descriptors_back_where_they_were() -> None:
    ranges = driver()
    first = held(RangeDesc(0, K128, WC, LABEL))
    state = first.apply(ranges.remove(first, RangeDesc(0, K128)))

    assert state.apply(ranges.restore(state, {0: first.slots[0]})) == first


@pytest.mark.parametrize(
    "cpu",
    [
        Cpu(vendor="Intel", signature=0x58C),
        Cpu(vendor="AMD", signature=0x612),
        Cpu(vendor="AMD", signature=0x580),
        Cpu(vendor="AMD", signature=0x587),
        Cpu(vendor="AMD", signature=0x570),
    ],
)
def test_other_cpus_are_not_served(cpu: Cpu) -> None:
    with pytest.raises(errors.NotSupported, match="0x588"):
        driver(cpu).attach({})


def test_attach_reads_both_halves_of_uwccr() -> None:
    low = 0xE0000000 | 0x7FFF << 2 | 2
    high = 0x80000000 | 0x7FFE << 2 | 1
    slots = driver().attach({memhub_k6.MSR_UWCCR: high << 32 | low}).slots

    assert slots == (RangeDesc(0xE0000000, K128, WC), RangeDesc(0x80000000, 2 * K128, UC))


def test_attach_misreads_lengths_above_256_kib_as_the_kernel_does() -> None:
    half_mib = 0xE0000000 | 0x7FFC << 2 | 2

    assert driver().attach({memhub_k6.MSR_UWCCR: half_mib}).slots[0].mr_len == 0x60000


def test_types_follow_the_slots_over_write_back() -> None:
    state = held(RangeDesc(0, K128, WC), RangeDesc(4 * K128, K128, WC | UC))
    ranges = driver()
    types = ranges.types(state)
    seen = [types.at(at) for at in (0, K128 - 1, K128, 4 * K128, 5 * K128)]

    assert seen == ["WC", "WC", "WB", "UC", "WB"]
    assert ranges.extent(state, 0) == (0, K128)
    assert ranges.extent(ranges.attach({}), 0) == (0, 0)
