"""Effective types of MTRR states, recorded and made up."""

from __future__ import annotations

import gzip
import json
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memhub.core.effective.directmap import COMPARED, DirectTypeMap
from memhub.core.effective.typemap import TYPE_OF_CODE, Segment, TypeMap
from memhub.x86.mtrr_types import MtrrRules, types_from_mtrrs
from memhub.x86.registers import FIXED_RANGES, MtrrRegisters

if TYPE_CHECKING:
    from collections.abc import Iterator

DATA = Path(__file__).parent.parent / "data"


def _states() -> Iterator[tuple[str, dict[int, int], int, list[tuple[int, str]]]]:
    with gzip.open(DATA / "effective-mtrr.open.jsonl.gz") as lines:
        rows = [(json.loads(line), "cpu") for line in lines]

    with (DATA / "machines.open.jsonl").open("rb") as lines:
        rows += [(json.loads(line), "") for line in lines]

    for row, cpu in rows:
        if "msr" in row and "types" in row:
            width = row[cpu]["phys_bits"] if cpu else row["phys_bits"]
            msrs = {int(msr, 0): value for msr, value in row["msr"].items()}
            yield row["id"], msrs, width, [(address, name) for address, name in row["types"]]


def _unlisted(msrs: dict[int, int], phys_bits: int) -> DirectTypeMap:
    """The same state, evaluated at every look-up."""
    registers = MtrrRegisters.decode(msrs, phys_bits)
    rules = MtrrRules(registers, first_variable_slot=None, in_slots=True)

    return DirectTypeMap(rules, end=1 << phys_bits)


def test_recorded_states_resolve_as_they_did() -> None:
    """Each recorded address, alone and in an array, listed and unlisted: no difference."""
    states = list(_states())
    assert len(states) > 150

    for name, msrs, phys_bits, recorded in states:
        expected = [kind for _, kind in recorded]
        addresses = [address for address, _ in recorded]
        for types in (types_from_mtrrs(msrs, phys_bits), _unlisted(msrs, phys_bits)):
            assert [types.at(address) for address in addresses] == expected, name
            assert [TYPE_OF_CODE[code] for code in types.of(addresses)] == expected, name
            assert all(types.has(kind) for kind in expected), name


BITS = 21
PAGE = 0x1000
KIND = st.sampled_from([0, 1, 4, 5, 6, 6, 4, 2, 0xFF])
PAGE_BITS = st.integers(0, (1 << BITS - 12) - 1).map(lambda page: page << 12)


@st.composite
def _registers(draw: st.DrawFn) -> dict[int, int]:
    """A CPU of 21 address bits, small enough to look at each of its 512 pages."""
    masks = st.builds(int.__and__, PAGE_BITS, st.sampled_from([-1, 0x101000, 0x3000, 0]))
    pairs = draw(st.lists(st.tuples(PAGE_BITS, KIND, masks, st.booleans()), max_size=5))
    junk = draw(st.sampled_from([0, 1 << 40]))
    fixed = draw(st.lists(KIND, min_size=88, max_size=88))
    msrs = MtrrRegisters(phys_bits=BITS, fixed_types=bytes(fixed)).encode()
    msrs[0xFE] = len(pairs) | draw(st.sampled_from([0, 0x100]))
    msrs[0x2FF] = draw(st.sampled_from([0, 0x400, 0x800, 0x800, 0xC00])) | draw(KIND)
    for index, (base, kind, mask, valid) in enumerate(pairs):
        msrs[0x200 + 2 * index] = base | kind | junk
        msrs[0x201 + 2 * index] = mask | valid << 11 | junk

    return msrs


NAMES = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"}


def _model(msrs: dict[int, int], address: int) -> str:
    """The manual's rules for one address, register by register."""
    default = msrs[0x2FF]
    if not default >> 11 & 1:
        return "UC"

    if default >> 10 & 1:
        for index, (base, length) in enumerate(FIXED_RANGES):
            if base <= address < base + length:
                msr = (0x250, 0x258, 0x259, *range(0x268, 0x270))[index // 8]
                return NAMES.get(msrs[msr] >> 8 * (index % 8) & 0xFF, "reserved")

    hits = []
    for pair in range(msrs[0xFE] & 0xFF):
        base, mask = msrs[0x200 + 2 * pair], msrs[0x201 + 2 * pair]
        counting = mask >> 12 & (1 << BITS - 12) - 1
        if mask >> 11 & 1 and (address >> 12) & counting == base >> 12 & counting:
            hits.append(base & 0xFF)

    if not hits:
        return NAMES.get(default & 0xFF, "reserved")

    if hits.count(hits[0]) == len(hits):
        return NAMES.get(hits[0], "reserved")

    if 0 in hits:
        return "UC"

    return "WT" if sorted(set(hits)) == [4, 6] else "undefined"


def _check_segments(found: list[Segment], lo: int, hi: int) -> None:
    """They tile `[lo, hi)`, and neighbours differ."""
    assert (found[0].base, found[-1].end) == (lo, hi)
    for one, two in pairwise(found):
        assert one.end == two.base
        assert (one.type, one.implementation_defined) != (two.type, two.implementation_defined)


@given(_registers())
@example({0xFE: 1, 0x2FF: 0x806, 0x200: 0x3001, 0x201: 0x155800})
def test_any_register_state_resolves_as_the_rules_say(msrs: dict[int, int]) -> None:
    """Every page of a small space, masks with holes, of zero and with bits too many included."""
    pages = range(0, 1 << BITS, PAGE)
    expected = [_model(msrs, page) for page in pages]
    for types in (types_from_mtrrs(msrs, BITS), _unlisted(msrs, BITS)):
        assert [types.at(page) for page in pages] == expected
        assert [types.at(page + PAGE - 1) for page in pages] == expected
        assert [TYPE_OF_CODE[code] for code in types.of(pages)] == expected
        found = list(types.segments())
        _check_segments(found, 0, 1 << BITS)
        assert [s.type for s in found for _ in range(s.base, s.end, PAGE)] == expected


@given(_registers(), _registers(), PAGE_BITS, PAGE_BITS)
@example(
    {0xFE: 2, 0x2FF: 0x800, 0x200: 1, 0x201: 0x800, 0x202: 4, 0x203: 0x800},
    {0xFE: 0, 0x2FF: 0},
    0,
    PAGE,
)
def test_states_differ_first_where_their_types_do(
    one: dict[int, int], two: dict[int, int], lo: int, hi: int
) -> None:
    """Listed or not, on either side."""
    window = range(lo, hi, PAGE)
    expected = next((a for a in window if _model(one, a) != _model(two, a)), None)

    for left in (types_from_mtrrs(one, BITS), _unlisted(one, BITS)):
        for right in (types_from_mtrrs(two, BITS), _unlisted(two, BITS)):
            assert left.first_difference(right, lo, hi) == expected


@pytest.mark.parametrize(
    ("kinds", "name"),
    [
        ([6, 6, 6], "WB"),
        ([6, 4, 6], "WT"),
        ([4, 6, 4, 4], "WT"),
        ([6, 1, 4], "undefined"),
        ([1, 5], "undefined"),
        ([5, 5], "WP"),
        ([6, 1, 4, 0], "UC"),
        ([0, 3, 6], "UC"),
        ([3, 3], "reserved"),
        ([3, 7], "undefined"),
        ([3, 6], "undefined"),
    ],
)
def test_overlaps_resolve_by_the_set_of_types(kinds: list[int], name: str) -> None:
    """Masks of zero match everything; order and number do not matter."""
    for order in (kinds, kinds[::-1]):
        msrs = {0xFE: len(order), 0x2FF: 0x800}
        for index, kind in enumerate(order):
            msrs |= {0x200 + 2 * index: kind, 0x201 + 2 * index: 0x800}

        assert types_from_mtrrs(msrs, 36).at(1 << 30) == name
        assert _unlisted(msrs, 36).at(1 << 30) == name


# Every second page WB under 36 bits: 8 million blocks.
HOLED = {0xFE: 2, 0x2FF: 0x800, 0x200: 6, 0x201: 0x1800}


def test_a_mask_with_too_many_blocks_is_evaluated_instead() -> None:
    """Nothing is listed, and stretches come one by one."""
    types = types_from_mtrrs(HOLED, 36)

    assert isinstance(types, DirectTypeMap)
    assert list(islice(types.segments(), 2)) == [
        *(Segment(0, PAGE, "WB"), Segment(PAGE, 2 * PAGE, "UC")),
    ]
    assert types.at(1 << 36) == "undefined"
    assert types.why(2 * PAGE) == "variable slot 0 (WB)"
    assert not types.lookup(0).implementation_defined
    assert (types.has("WB"), types.has("WP"), types.has("WX")) == (True, False, False)
    assert next(types.segments(1 << 36, 1 << 37), None) is None


def test_comparing_unlisted_maps_ends_by_assuming_a_difference() -> None:
    """A refusal too many is better than one too few; narrow windows stay exact."""
    one, two = types_from_mtrrs(HOLED, 36), types_from_mtrrs(HOLED, 36)

    assert one.first_difference(two) == COMPARED * PAGE
    assert one.first_difference(two, 0, 64 * PAGE) is None
    assert one.first_difference(one) is None
    assert one.first_difference(TypeMap.from_ranges("WB", [], end=1 << 36)) == PAGE


def test_an_unlisted_map_has_no_list() -> None:
    """Asking for one is a mistake in the program."""
    with pytest.raises(TypeError, match="no list"):
        types_from_mtrrs(HOLED, 36).layer()


def _pair(number: int, base: int, length: int, kind: int) -> dict[int, int]:
    return {0x200 + 2 * number: base | kind, 0x201 + 2 * number: -length & 0xFFFFFF000 | 0x800}


OVERLAPS = {
    0xFE: 0x508,
    0x2FF: 0xC06,
    **_pair(0, 0, 1 << 32, 6),
    **_pair(2, 0xC0000000, 1 << 30, 0),
    **_pair(3, 0x10000000, 1 << 28, 4),
    **_pair(4, 0x20000000, 1 << 28, 1),
    **_pair(5, 0x40000000, 1 << 28, 6),
    **_pair(6, 0x200000000, 1 << 28, 3),
    0x259: 0x0300000000000000,
}


@pytest.mark.parametrize(
    ("address", "name", "why"),
    [
        (0xA0123, "UC", "fixed range 0xa0000-0xa3fff (slot 16): UC"),
        (0xBFFFF, "reserved", "fixed range 0xbc000-0xbffff (slot 23): reserved type 0x3"),
        (0x100000, "WB", "variable slot 88 (WB)"),
        (0xC0000000, "UC", "variable slots 88 (WB) and 90 (UC): UC wins"),
        (0x10000000, "WT", "variable slots 88 (WB) and 91 (WT): WT wins"),
        (
            0x20000000,
            "undefined",
            "variable slots 88 (WB) and 92 (WC): the architecture leaves this overlap undefined",
        ),
        (0x40000000, "WB", "variable slots 88 (WB) and 93 (WB): same type"),
        (0x200000000, "reserved", "variable slot 94 (reserved type 0x3)"),
        (0x300000000, "WB", "no range matches: default type WB"),
    ],
)
def test_the_reason_names_the_slots_that_decide(address: int, name: str, why: str) -> None:
    """In FreeBSD's slot numbers, which memcontrol(8) lists."""
    answer = types_from_mtrrs(OVERLAPS, 36).lookup(address)

    assert (answer.type, answer.why) == (name, why)


def test_without_fixed_slots_variable_ones_count_from_zero() -> None:
    """The fixed ranges take slots only if they are supported and enabled."""
    types = types_from_mtrrs(OVERLAPS | {0x2FF: 0x806}, 36)

    assert types.why(0xA0000) == "variable slot 0 (WB)"
    assert types_from_mtrrs(OVERLAPS, 36, first_variable_slot=8).why(1 << 20) == (
        "variable slot 8 (WB)"
    )


def test_fixed_ranges_that_are_enabled_but_not_announced_still_decide() -> None:
    """Hardware looks at the enable bit alone; the driver shows no slots for them."""
    types = types_from_mtrrs(OVERLAPS | {0xFE: 8}, 36)

    assert types.lookup(0xA0000).why == "fixed range 0xa0000-0xa3fff: UC"
    assert types.why(1 << 20) == "variable slot 0 (WB)"


def test_registers_that_are_no_slots_are_named_as_registers() -> None:
    """Where another table holds the slots."""
    types = types_from_mtrrs(OVERLAPS, 36, in_slots=False)

    assert types.why(0xC0000000) == "variable MTRRs 0 (WB) and 2 (UC): UC wins"
    assert types.why(0) == "fixed range 0x0-0xffff: UC"


@pytest.mark.parametrize("more", [{}, {0x20E: 0x1006, 0x20F: 0x1800}], ids=["listed", "direct"])
def test_registers_are_numbered_where_slots_are_not_asked_for(more: dict[int, int]) -> None:
    """Also where a mask has too many holes for a list."""
    types = types_from_mtrrs(OVERLAPS | more, 36)

    assert isinstance(types, DirectTypeMap) == bool(more)
    assert types.why(0xC0000000) == "variable slots 88 (WB) and 90 (UC): UC wins"
    assert types.why(0xC0000000, registers=True) == "variable MTRRs 0 (WB) and 2 (UC): UC wins"
    assert types.lookup(0, registers=True).why == "fixed range 0x0-0xffff: UC"


def test_disabled_mtrrs_make_everything_uncacheable() -> None:
    """Whatever the other registers say, and with no registers at all."""
    types = types_from_mtrrs(OVERLAPS | {0x2FF: 0x406}, 36)

    assert types.lookup(1 << 30).why == "MTRRs disabled: all memory is UC"
    assert list(types.segments()) == [Segment(0, 1 << 36, "UC")]
    assert list(types_from_mtrrs({}, 36).segments()) == [Segment(0, 1 << 36, "UC")]


def test_tom2_is_the_default_from_4_gib_on_listed_or_not() -> None:
    """Beside a range, at its borders, one by one, many at once and by stretches."""
    gib = 1 << 30
    msrs = {0xFE: 1, 0x2FF: 0x800, 0x200: 5 * gib, 0x201: 0xFC0000800}
    tom2 = 8 * gib + (8 << 20)
    listed = types_from_mtrrs(msrs, 36, tom2=tom2)
    rules = MtrrRules(
        MtrrRegisters.decode(msrs, 36), first_variable_slot=None, in_slots=True, tom2=tom2
    )
    expected = [
        Segment(0, 4 * gib, "UC"),
        Segment(4 * gib, 5 * gib, "WB"),
        Segment(5 * gib, 6 * gib, "UC"),
        Segment(6 * gib, tom2, "WB"),
        Segment(tom2, 1 << 36, "UC"),
    ]
    edges = [it.base for it in expected] + [it.end - 1 for it in expected]
    wanted = [it.type for it in expected] * 2

    for types in (listed, DirectTypeMap(rules, end=1 << 36)):
        assert list(types.segments()) == expected
        assert [types.at(it) for it in edges] == wanted
        assert [TYPE_OF_CODE[code] for code in types.of(edges)] == wanted
        assert types.has("WB")
