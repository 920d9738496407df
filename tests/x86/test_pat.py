"""The page attribute table, and page attributes over MTRR types."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.core.effective.directmap import DirectTypeMap
from memhub.core.effective.typemap import TYPE_OF_CODE, TypeMap
from memhub.x86.mtrr_types import types_from_mtrrs
from memhub.x86.pat import PALETTES, PAT_NAMES, Palette, combine, types_from_pat

PAT_ORDER = ("UC", "UC-", "WC", "WT", "WP", "WB")

# SDM table 11-7 turned on its side: a row for each MTRR type, a column for each PAT type.
SDM = {
    "UC": ("UC", "UC", "WC", "UC", "UC", "UC"),
    "WC": ("UC", "WC", "WC", "UC*", "UC*", "WC"),
    "WT": ("UC", "UC", "WC", "WT", "WP*", "WT"),
    "WP": ("UC", "WC*", "WC", "WT*", "WP", "WP"),
    "WB": ("UC", "UC", "WC", "WT", "WP", "WB"),
}


@pytest.mark.parametrize("mtrr", SDM)
@pytest.mark.parametrize("pat", PAT_ORDER)
def test_every_cell_of_the_table(pat: str, mtrr: str) -> None:
    """All 30 cells, and the five that the manual leaves to the implementation."""
    cell = SDM[mtrr][PAT_ORDER.index(pat)]

    assert combine(pat, mtrr) == (cell.rstrip("*"), cell.endswith("*"))


@pytest.mark.parametrize("mtrr", ["reserved", "undefined"])
@pytest.mark.parametrize("pat", PAT_ORDER)
def test_what_the_mtrrs_leave_open_stays_open_unless_pat_decides_alone(pat: str, mtrr: str) -> None:
    """UC and WC hold over anything; the other rows need to know the MTRR type."""
    expected = pat if pat in {"UC", "WC"} else mtrr

    assert combine(pat, mtrr) == (expected, False)


def test_a_type_that_does_not_exist_is_refused() -> None:
    """Neither side is guessed."""
    with pytest.raises(KeyError):
        combine("WX", "WB")

    with pytest.raises(ValueError, match="WX"):
        combine("WB", "WX")


@pytest.mark.parametrize(
    ("name", "msr"),
    [
        ("power-on", 0x0007040600070406),
        ("freebsd", 0x0001050600070406),
        ("linux", 0x0407050600070106),
    ],
)
def test_a_named_palette_is_the_register_value_of_its_system(name: str, msr: int) -> None:
    """The values of IA32_PAT that hardware, FreeBSD and Linux set."""
    assert PALETTES[name].encode() == msr
    assert Palette.decode(msr) == PALETTES[name]


@given(st.lists(st.sampled_from(sorted(PAT_NAMES.values())), min_size=8, max_size=8))
def test_any_eight_types_survive_the_register(names: list[str]) -> None:
    """PA0 lies in the lowest byte."""
    palette = Palette.of(names)

    assert palette.names == tuple(names)
    assert Palette.decode(palette.encode()) == palette
    assert palette.encode() & 0xFF == palette.entries[0]
    assert all((name in palette) == (name in names) for name in PAT_ORDER)


@pytest.mark.parametrize("byte", [2, 3, 8, 0x80, 0xFF])
def test_a_reserved_entry_is_refused_by_its_index(byte: int) -> None:
    """2, 3 and everything above 7."""
    with pytest.raises(ValueError, match="PA3"):
        Palette.decode(PALETTES["freebsd"].encode() & ~(0xFF << 24) | byte << 24)


def test_a_palette_of_another_size_or_name_is_refused() -> None:
    """Eight entries, by the names of the manual; a register has 64 bits."""
    with pytest.raises(ValueError, match="not 7"):
        Palette.of(["WB"] * 7)

    with pytest.raises(ValueError, match="write-back"):
        Palette.of(["WB"] * 7 + ["write-back"])

    with pytest.raises(ValueError, match="64 bits"):
        Palette.decode(1 << 64)


PAGES = 32
PAGE = 0x1000


def _under(rows: list[tuple[int, int, str]]) -> TypeMap:
    return TypeMap.from_ranges(
        "UC", [(a * PAGE, b * PAGE, name, "m") for a, b, name in rows], end=PAGES * PAGE
    )


def _rows(names: tuple[str, ...]) -> st.SearchStrategy[list[tuple[int, int, str]]]:
    page = st.integers(0, PAGES)

    return st.lists(st.tuples(page, page, st.sampled_from(names)), max_size=6)


@given(under=_rows(TYPE_OF_CODE), over=_rows(PAT_ORDER), default=st.sampled_from(PAT_ORDER))
def test_page_attributes_combine_with_the_mtrr_type_of_each_page(
    under: list[tuple[int, int, str]], over: list[tuple[int, int, str]], default: str
) -> None:
    """Each page: the first range that covers it, or PA0, over what the MTRRs say there."""
    below = _under(under)
    ranges = [(a * PAGE, b * PAGE, name, f"slot {slot}") for slot, (a, b, name) in enumerate(over)]
    types = types_from_pat(below, default, ranges)
    expected = []
    for page in range(PAGES):
        pat = next((name for a, b, name in over if a <= page < b), default)
        expected.append(combine(pat, below.at(page * PAGE)))

    addresses = [page * PAGE for page in range(PAGES)]
    assert [(types.at(a), types.implementation_defined(a)) for a in addresses] == expected
    assert [TYPE_OF_CODE[code] for code in types.of(addresses)] == [name for name, _ in expected]
    found = list(types.segments())
    assert [found[0].base, found[-1].end] == [0, PAGES * PAGE]
    for one, two in pairwise(found):
        assert one.end == two.base
        assert (one.type, one.implementation_defined) != (two.type, two.implementation_defined)

    for part in found:
        for page in range(part.base // PAGE, part.end // PAGE):
            assert expected[page] == (part.type, part.implementation_defined)


def _holed() -> TypeMap:
    """Every second page WB, under 36 bits: more blocks than a list should hold."""
    return types_from_mtrrs({0xFE: 1, 0x2FF: 0xC00, 0x200: 6, 0x201: 0x1800}, 36)


def test_page_attributes_lie_over_an_unlisted_map_too() -> None:
    """The combination is evaluated where the MTRR map is."""
    below = _holed()
    types = types_from_pat(below, "WB", [(0x100000, 0x104000, "WC", "slot 0")])

    assert isinstance(types, DirectTypeMap)
    addresses = [0x100000, 0x103FFF, 0x104000, 0x105000, 0xFFFFFE000, 1 << 36]
    expected = ["WC", "WC", "WB", "UC", "WB", "undefined"]
    assert [types.at(address) for address in addresses] == expected
    assert [TYPE_OF_CODE[code] for code in types.of(addresses)] == expected
    bases = [(part.base, part.type) for part in types.segments(0xFF000, 0x106000)]
    assert bases == [(0xFF000, "UC"), (0x100000, "WC"), (0x104000, "WB"), (0x105000, "UC")]
    assert [name for name in TYPE_OF_CODE if types.has(name)] == ["UC", "WC", "WB"]


def test_implementation_defined_cells_keep_their_mark_over_an_unlisted_map() -> None:
    """PAT UC- over MTRR WP is such a cell."""
    below = types_from_mtrrs({0xFE: 1, 0x2FF: 0x800, 0x200: 5, 0x201: 0x1800}, 36)
    types = types_from_pat(below, "UC-", [])

    assert (types.lookup(0).type, types.lookup(0).implementation_defined) == ("WC", True)
    assert not types.lookup(PAGE).implementation_defined


def test_a_mark_parts_segments_but_is_no_difference() -> None:
    """PAT WT over MTRR WT and WP is WT both times, once by the implementation's choice."""
    below = TypeMap.from_ranges("WT", [(0, PAGE, "WP", "")], end=1 << 36)
    types = types_from_pat(below, "WT", [])

    assert [(part.type, part.implementation_defined) for part in types.segments()] == [
        ("WT", True),
        ("WT", False),
    ]
    assert types.first_difference(TypeMap.from_ranges("WT", [], end=1 << 36)) is None


def test_the_reason_names_the_range_both_types_and_the_register() -> None:
    """A person can see which of the two layers to change."""
    below = types_from_mtrrs(
        {0xFE: 1, 0x2FF: 0x806, 0x200: 0, 0x201: 0xFFFF00800}, 36, in_slots=False
    )
    types = types_from_pat(
        below, "WB", [(0, PAGE, "WC", "slot 3"), (PAGE, 2 * PAGE, "WP", "slot 4")]
    )

    assert types.why(0) == (
        "PAT WC (slot 3) over MTRR UC: WC (SDM table 11-7); MTRR: variable MTRR 0 (UC)"
    )
    assert types.why(1 << 30) == (
        "PAT WB (PA0, no range matches) over MTRR WB: WB (SDM table 11-7); "
        "MTRR: no range matches: default type WB"
    )
    assert "past the end" in types.why(1 << 36)


def test_the_reason_says_where_the_manual_leaves_it_open() -> None:
    """An implementation-defined cell is named as one."""
    below = TypeMap.from_ranges("WC", [], end=1 << 36)
    why = types_from_pat(below, "WT", []).why(0)

    assert "over MTRR WC: UC (SDM table 11-7, implementation-defined)" in why
