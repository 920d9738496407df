"""The kernel writes and re-reads every register at each success; the driver answers alike.

`round_trip` says it once more, from the register manual and bit by bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

import strategies
from memhub import abi, errors
from memhub.abi import RangeDesc
from memhub.core.drivers.driver import Change, RangeState
from mtrrcases import (
    MIB,
    UC,
    VALID,
    WB,
    WC,
    WP,
    WT,
    driver,
    firmware,
    pair,
)

if TYPE_CHECKING:
    from collections.abc import Mapping


TYPE_OF_BYTE = {0: UC, 1: WC, 4: WT, 5: WP, 6: WB}


def round_trip(
    rows: list[RangeDesc], msrs: dict[int, int], phys_bits: int, fixed: bool
) -> list[RangeDesc]:
    """Write every register from every slot and read all of them back; `msrs` is changed."""
    room = list(range(12, phys_bits))
    after = []
    for slot, row in enumerate(rows):
        flags = {1 << bit for bit in range(32) if row.mr_flags >> bit & 1}
        attribute = sum(flag for flag in flags if flag < 1 << 24)
        byte = next((key for key, value in TYPE_OF_BYTE.items() if value == attribute), None)
        flags = {flag for flag in flags if flag >= 1 << 24}
        base, length = row.mr_base, row.mr_len
        if fixed and slot < 88:
            number = [0x250, 0x258, 0x259, *range(0x268, 0x270)][slot // 8]
            octets = bytearray(msrs.get(number, 0).to_bytes(8, "little"))
            if byte is not None:
                octets[slot % 8] = byte

            msrs[number] = int.from_bytes(octets, "little")
            flags |= {TYPE_OF_BYTE.get(octets[slot % 8], abi.MDF_UNKNOWN), abi.MDF_ACTIVE}
        else:
            number = 0x200 + 2 * (slot - (88 if fixed else 0))
            old = msrs.get(number, 0) % 256
            low = high = 0
            if abi.MDF_ACTIVE in flags:
                low = sum(1 << bit for bit in room if base >> bit & 1)
                low += old if byte is None else byte
                high = sum(1 << bit for bit in room if not (length - 1) >> bit & 1) + VALID

            msrs[number], msrs[number + 1] = low, high
            flags.add(TYPE_OF_BYTE.get(low % 256, abi.MDF_UNKNOWN))
            base = sum(1 << bit for bit in room if low >> bit & 1)
            length = 1 + 0xFFF + sum(1 << bit for bit in room if not high >> bit & 1)
            if length.bit_count() != 1 or base % length:
                flags.add(abi.MDF_BOGUS)

        owner = row.mr_owner
        if abi.MDF_ACTIVE in flags and owner[0] == 0:
            owner = b"BIOS\0" + owner[5:]

        after.append(RangeDesc(base, length, sum(flags), owner))

    return after


def registers(phys_bits: int) -> st.SearchStrategy[dict[int, int]]:
    """What firmware may leave: sound pairs, masks with holes, reserved bits, dead leftovers."""
    u64 = st.integers(0, abi.U64_MAX)
    byte = st.sampled_from((0, 1, 4, 5, 6, 2, 0x1E, 0xFF))
    sound = st.builds(
        lambda span, kind: pair(span[0], span[1], kind, phys_bits),
        strategies.power_of_two_ranges(phys_bits=phys_bits),
        byte,
    )
    askew = sound.map(lambda row: (row[0] ^ 0x1000, row[1]))
    dead = st.tuples(u64, st.just(0))
    pairs = st.lists(sound | askew | dead | st.just((0, 0)) | st.tuples(u64, u64), max_size=8)
    kinds = st.none() | byte

    return st.builds(
        lambda rows, fixed, count: firmware(*rows, fixed=fixed, count=count),
        pairs,
        kinds,
        st.integers(0, 8),
    )


def requests(phys_bits: int) -> st.SearchStrategy[tuple[str, RangeDesc]]:
    """UPDATE or REMOVE of ranges that crowd together, some of them below 1 MiB."""
    spans = st.one_of(
        strategies.power_of_two_ranges(phys_bits=phys_bits),
        strategies.power_of_two_ranges(phys_bits=24, min_length=1 << 20),
        strategies.power_of_two_ranges(phys_bits=20),
        st.just((0, 1 << phys_bits)),
        st.just((1 << 63, 1 << 63)),
        st.just(((1 << 64) - 4096, 4096)),
    )
    kinds = strategies.attributes() | strategies.flags()

    return st.tuples(
        st.sampled_from(("update", "update", "remove")),
        st.builds(
            lambda span, flags, owner: RangeDesc(span[0], span[1], flags, owner),
            spans,
            kinds,
            strategies.owners() | st.just(b"\0even777"),
        ),
    )


def check_against_round_trip(
    state: RangeState, change: Change, written: Mapping[int, RangeDesc], phys_bits: int
) -> None:
    fixed = bool(state.slots) and bool(state.slots[0].mr_flags & abi.MDF_FIXACTIVE)
    rows = [written.get(slot, row) for slot, row in enumerate(state.slots)]
    msrs = dict(state.msrs)
    expected = round_trip(rows, msrs, phys_bits, fixed)
    after = state.apply(change)

    assert list(after.slots) == expected
    assert {key: value for key, value in after.msrs.items() if value} == {
        key: value for key, value in msrs.items() if value
    }
    assert {s for s, row in enumerate(expected) if row != state.slots[s]} == set(change.slots)
    assert all(state.msrs.get(key, 0) != value for key, value in change.msrs.items())


def written_by(
    operation: str, state: RangeState, change: Change, desc: RangeDesc
) -> dict[int, RangeDesc]:
    """What the request itself puts into its slots, before any register is written."""
    rows = {}
    for slot in change.wrote:
        row = state.slots[slot]
        attribute = desc.mr_flags & abi.MDF_ATTRMASK
        if operation == "remove":
            flags = row.mr_flags & ~abi.MDF_ACTIVE
            rows[slot] = RangeDesc(row.mr_base, row.mr_len, flags, b"\0" + row.mr_owner[1:])
        elif row.mr_flags & abi.MDF_FIXACTIVE:
            flags = row.mr_flags & ~(abi.MDF_ATTRMASK | abi.MDF_FIRMWARE) | attribute
            rows[slot] = RangeDesc(row.mr_base, row.mr_len, flags, desc.mr_owner)
        else:
            flags = abi.MDF_ACTIVE | attribute
            rows[slot] = RangeDesc(desc.mr_base, desc.mr_len, flags, desc.mr_owner)

    return rows


@given(st.data(), st.sampled_from((32, 36, 39, 52)))
def test_what_a_request_touches_is_all_that_the_whole_round_trip_changes(
    data: st.DataObject, phys_bits: int
) -> None:
    ranges = driver(phys_bits=phys_bits)
    state = ranges.attach(data.draw(registers(phys_bits)))
    before: list[RangeState] = []
    steps = st.tuples(requests(phys_bits), st.none() | st.integers(1, 8))
    for (operation, drawn), known in data.draw(st.lists(steps, max_size=12)):
        desc = drawn
        if known and len(state.slots) >= known:
            held = state.slots[-known]
            desc = RangeDesc(held.mr_base, held.mr_len, drawn.mr_flags, drawn.mr_owner)

        try:
            change = getattr(ranges, operation)(state, desc)
        except errors.DeviceError:
            continue

        written = written_by(operation, state, change, desc)
        check_against_round_trip(state, change, written, phys_bits)
        unmarked = RangeState(state.slots, state.msrs)
        assert state.apply(change) == unmarked.apply(getattr(ranges, operation)(unmarked, desc))
        before.append(state)
        state = state.apply(change)
        assert state.settled

    for earlier in before[-3:]:
        slots = {s: row for s, row in enumerate(earlier.slots) if row != state.slots[s]}
        check_against_round_trip(state, ranges.restore(state, slots), slots, phys_bits)


@given(st.data(), st.sampled_from((32, 36, 52)))
def test_a_state_is_settled_at_attach_only_if_the_round_trip_leaves_it_alone(
    data: st.DataObject, phys_bits: int
) -> None:
    msrs = data.draw(registers(phys_bits))
    state = driver(phys_bits=phys_bits).attach(msrs)
    after = dict(msrs)
    fixed = bool(state.slots) and bool(state.slots[0].mr_flags & abi.MDF_FIXACTIVE)
    rows = round_trip(list(state.slots), after, phys_bits, fixed)
    same = {k: v for k, v in after.items() if v} == {k: v for k, v in msrs.items() if v}

    assert state.settled == (same and rows == list(state.slots))


@given(registers(36), st.data())
def test_no_address_outside_a_slots_extent_is_decided_by_it(
    msrs: dict[int, int], data: st.DataObject
) -> None:
    ranges = driver(phys_bits=36)
    state = ranges.attach(msrs)
    variable = [slot for slot, row in enumerate(state.slots) if row.mr_base >= MIB or slot >= 88]
    for slot in variable:
        index = slot - (88 if len(state.slots) >= 88 else 0)
        base, mask = msrs.get(0x200 + 2 * index, 0), msrs.get(0x201 + 2 * index, 0)
        lo, hi = ranges.extent(state, slot)
        address = data.draw(strategies.u64()) % (1 << 36)
        bits = mask & ((1 << 36) - 4096)
        matches = bool(mask & VALID) and address & bits == base & bits

        assert lo <= address < hi or not matches
        assert lo == hi or (lo & bits == base & bits and (hi - 1) & bits == base & bits)
