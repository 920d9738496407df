"""The memory type range registers and their decoded value."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.x86.registers import (
    FIXED_END,
    FIXED_MSRS,
    FIXED_RANGES,
    MAX_VARIABLE,
    TYPE_BYTES,
    UC,
    WB,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
    encode_fixed,
    fixed_index,
    variable_mtrr,
)

DATA = Path(__file__).parent.parent / "data"
U64 = st.integers(0, (1 << 64) - 1)


def test_the_fixed_ranges_tile_the_first_mebibyte() -> None:
    """88 ranges follow one another without a gap, eight to a register."""
    reached = 0
    for base, length in FIXED_RANGES:
        assert base == reached
        reached += length

    assert reached == FIXED_END
    assert len(FIXED_RANGES) == 8 * len(FIXED_MSRS) == 88


def test_the_fixed_registers_have_the_numbers_of_the_manual() -> None:
    """One 64K register, two 16K, eight 4K."""
    assert (
        *(0x250, 0x258, 0x259),
        *(0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F),
    ) == FIXED_MSRS


@pytest.mark.parametrize("index", range(88))
def test_first_and_last_byte_of_a_fixed_range_find_its_index(index: int) -> None:
    """The index of an address is that of the range that holds it."""
    base, length = FIXED_RANGES[index]

    assert fixed_index(base) == fixed_index(base + length - 1) == index


def test_fixed_types_lie_lowest_range_in_the_lowest_byte() -> None:
    """0x268 holds 0xc0000-0xc7fff, 4 KiB a byte."""
    types = bytearray(88)
    types[fixed_index(0xC1000)] = WB

    assert encode_fixed(bytes(types))[0x268] == WB << 8


@given(
    phys_bits=st.integers(32, 52),
    log=st.integers(12, 51),
    block=U64,
    kind=st.sampled_from(sorted(TYPE_BYTES.values())),
    inside=U64,
)
def test_a_pair_matches_its_block_and_nothing_beside(
    phys_bits: int, log: int, block: int, kind: int, inside: int
) -> None:
    """First and last byte match, the neighbours do not, unless the block is all there is."""
    log = min(log, phys_bits)
    length = 1 << log
    base = block % (1 << phys_bits - log) * length
    pair = variable_mtrr(base, length, kind, phys_bits)

    assert (pair.valid, pair.type, pair.holes(phys_bits)) == (True, kind, 0)
    assert (pair.base | pair.mask) >> phys_bits == 0
    for address in (base, base + length - 1, base + inside % length):
        assert pair.matches(address, phys_bits)

    for address in (base - 1, base + length):
        if 0 <= address < 1 << phys_bits:
            assert not pair.matches(address, phys_bits)


@pytest.mark.parametrize(
    ("base", "length", "kind"),
    [(0, 0x800, 6), (0, 0x3000, 6), (0, 0, 6), (0x1000, 0x2000, 6), (0, 0x1000, 0x100)],
)
def test_a_block_that_no_pair_covers_is_refused(base: int, length: int, kind: int) -> None:
    """Short, uneven or misaligned blocks, and types that are no byte."""
    with pytest.raises(ValueError, match="0x"):
        variable_mtrr(base, length, kind, 36)


def test_an_invalid_pair_matches_nothing() -> None:
    """The valid bit is bit 11 of the mask."""
    assert not VariableMtrr(0, 0).matches(0, 36)
    assert VariableMtrr(0, 0x800).matches(0xABCDEF, 36)


@pytest.mark.parametrize(
    ("mask", "holes"),
    [
        (0xFFFF00000, 0),
        (0xFFFE00000, 0),
        (0xBFFF00000, 0x400000000),
        (0, 0),
        (0x7FFF00000, 1 << 35),
    ],
)
def test_holes_are_the_ignored_bits_above_a_counting_one(mask: int, holes: int) -> None:
    """A mask without a hole is ones, then zeros; a mask of zero ignores all bits evenly."""
    assert VariableMtrr(6, mask | 0x800).holes(36) == holes


@given(
    st.builds(
        MtrrRegisters,
        phys_bits=st.integers(32, 52),
        fixed_supported=st.booleans(),
        write_combining=st.booleans(),
        enabled=st.booleans(),
        fixed_enabled=st.booleans(),
        default_type=st.integers(0, 255),
        fixed_types=st.binary(min_size=88, max_size=88),
        variable=st.lists(st.builds(VariableMtrr, U64, U64), max_size=MAX_VARIABLE).map(tuple),
    )
)
def test_encoding_and_decoding_lose_nothing(registers: MtrrRegisters) -> None:
    """The value and the registers say the same."""
    assert MtrrRegisters.decode(registers.encode(), registers.phys_bits) == registers


def test_recorded_register_states_survive_a_round_trip() -> None:
    """Each register of a recorded state reads the same after decoding and encoding."""
    with gzip.open(DATA / "effective-mtrr.open.jsonl.gz") as lines:
        for line in lines:
            state = json.loads(line)
            msrs = {int(msr, 0): value for msr, value in state["msr"].items()}
            encoded = MtrrRegisters.decode(msrs, state["cpu"]["phys_bits"]).encode()

            assert {msr: encoded.get(msr, 0) for msr in msrs} == msrs


def test_absent_registers_read_as_zero() -> None:
    """A machine without MTRRs has no pairs, and they are off."""
    registers = MtrrRegisters.decode({}, 36)

    assert registers.variable == ()
    assert (registers.enabled, registers.fixed_supported, registers.fixed_active) == (False,) * 3
    assert registers.default_type == UC


def test_a_count_that_would_run_into_other_registers_is_cut() -> None:
    """MTRRcap can say 255; numbers are left for 40 pairs."""
    assert MtrrRegisters.decode({0xFE: 0xFF}, 36).variable_count == MAX_VARIABLE


@pytest.mark.parametrize(
    "fields",
    [
        {"fixed_types": bytes(87)},
        {"variable": (VariableMtrr(),) * (MAX_VARIABLE + 1)},
        {"default_type": 256},
    ],
)
def test_a_value_that_no_register_holds_is_refused(fields: dict[str, object]) -> None:
    """Construction checks what encoding would have to cut."""
    with pytest.raises(ValueError, match=r"not|more than"):
        MtrrRegisters(phys_bits=36, **fields)  # type: ignore[arg-type]


def test_the_address_mask_ends_at_the_physical_width() -> None:
    """Bits 12 to 35 on a 36-bit CPU."""
    assert address_mask(36) == 0xFFFFFF000
