"""Effective memory types: maps of simple ranges, and of MTRR states."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.core.effective.lookup import CHUNK
from memhub.core.effective.typemap import CODE_OF_TYPE, TYPE_OF_CODE, Segment, TypeMap

SIZE = 48
Row = tuple[int, int, str]
PLACE = st.integers(0, SIZE + 4)
ROWS = st.lists(st.tuples(PLACE, PLACE, st.sampled_from(TYPE_OF_CODE)), max_size=8)
TYPES = st.sampled_from(TYPE_OF_CODE)


def _map(default: str, rows: list[Row]) -> TypeMap:
    named = [(a, b, name, f"row {number}") for number, (a, b, name) in enumerate(rows)]

    return TypeMap.from_ranges(default, named, end=SIZE)


def _expected(default: str, rows: list[Row]) -> list[tuple[str, str]]:
    none = (default, f"no range matches: default type {default}")

    return [
        next(((name, f"row {n}") for n, (a, b, name) in enumerate(rows) if a <= address < b), none)
        for address in range(SIZE)
    ]


def _check_segments(found: list[Segment], lo: int, hi: int) -> None:
    """They tile `[lo, hi)`, and neighbours differ."""
    assert (found[0].base, found[-1].end) == (lo, hi)
    for one, two in pairwise(found):
        assert one.end == two.base
        assert (one.type, one.implementation_defined) != (two.type, two.implementation_defined)


@given(TYPES, ROWS)
def test_every_address_has_the_type_and_reason_of_its_first_row(
    default: str, rows: list[Row]
) -> None:
    """Scalars and arrays agree with looking through the rows one by one."""
    types = _map(default, rows)
    expected = _expected(default, rows)
    names = [name for name, _ in expected]

    assert [(types.at(a), types.why(a)) for a in range(SIZE)] == expected
    assert [TYPE_OF_CODE[code] for code in types.of(range(SIZE))] == names
    assert {name for name in TYPE_OF_CODE if types.has(name)} == set(names)
    assert types.lookup(0).type == names[0]


@given(TYPES, ROWS, PLACE, PLACE)
def test_segments_tile_a_window_and_neighbours_differ(
    default: str, rows: list[Row], lo: int, hi: int
) -> None:
    """Any window; what lies past the end of the space has no segment."""
    found = list(_map(default, rows).segments(lo, hi))
    hi = min(hi, SIZE)
    if lo >= hi:
        assert found == []
        return

    _check_segments(found, lo, hi)
    spread = [part.type for part in found for _ in range(part.base, part.end)]
    assert spread == [name for name, _ in _expected(default, rows)[lo:hi]]


@given(TYPES, ROWS, TYPES, ROWS, PLACE, PLACE)
def test_the_first_difference_is_the_lowest_address_that_differs(
    default: str, rows: list[Row], other_default: str, others: list[Row], lo: int, hi: int
) -> None:
    """In any window, both ways round."""
    one, two = _map(default, rows), _map(other_default, others)
    left, right = _expected(default, rows), _expected(other_default, others)
    window = range(lo, min(hi, SIZE))
    expected = next((a for a in window if left[a][0] != right[a][0]), None)

    assert one.first_difference(two, lo, hi) == expected
    assert two.first_difference(one, lo, hi) == expected
    assert one.first_difference(one, lo, hi) is None


def test_past_the_end_of_the_space_nothing_is_defined() -> None:
    """Address bits that the CPU has not."""
    types = TypeMap.from_ranges("WB", [(0x1000, 1 << 40, "UC", "hole")], end=1 << 36)

    assert (types.at((1 << 36) - 1), types.at(1 << 36), types.at(1 << 63)) == (
        *("UC", "undefined", "undefined"),
    )
    assert types.why(1 << 36) == "0x1000000000 is past the end of the address space (0x1000000000)"
    assert [TYPE_OF_CODE[code] for code in types.of([0, 1 << 36])] == ["WB", "undefined"]
    assert not types.has("undefined")
    assert list(types.segments())[-1] == Segment(0x1000, 1 << 36, "UC")


def test_the_whole_of_64_bits_is_a_space() -> None:
    """Without an end, the last address of all has a type."""
    types = TypeMap.from_ranges("UC", [(1 << 63, 1 << 64, "WB", "top")])
    top = (1 << 64) - 1

    assert (types.at(top), types.why(top)) == ("WB", "top")
    assert TYPE_OF_CODE[types.of(np.array([top], dtype=np.uint64))[0]] == "WB"
    assert [part.end for part in types.segments()] == [1 << 63, 1 << 64]


@pytest.mark.parametrize(
    ("default", "rows"),
    [("WX", []), ("UC", [(0, 1, "wb", "")]), ("UC", [(-1, 1, "WB", "")])],
)
def test_what_is_no_type_or_no_address_is_refused(default: str, rows: list[Any]) -> None:
    """Types have the manual's names."""
    with pytest.raises(ValueError, match="type"):
        TypeMap.from_ranges(default, rows)


def test_arrays_keep_their_shape() -> None:
    """Any shape, none at all included."""
    types = TypeMap.from_ranges("WB", [(0, 16, "UC", "")])

    assert types.of(np.arange(24, dtype=np.uint64).reshape(2, 3, 4)).shape == (2, 3, 4)
    assert types.of(np.zeros(0, dtype=np.uint64)).shape == (0,)
    assert types.of(5).shape == ()
    assert types.of(5) == CODE_OF_TYPE["UC"]


@pytest.mark.parametrize("top", [1 << 30, 1 << 50], ids=["page table", "binary search"])
@pytest.mark.parametrize("beyond", [False, True], ids=["inside", "past the end"])
def test_long_arrays_agree_with_single_look_ups(top: int, beyond: bool) -> None:
    """More addresses than one chunk, by either way of finding them, borders among them."""
    rows = [(base, base + 0x3000, "WC", "") for base in range(0, top, top // 64)]
    types = TypeMap.from_ranges("WB", rows, end=1 << 52)
    wanted = np.random.default_rng(7).integers(0, top + top // 8, 3 * CHUNK, dtype=np.uint64)
    edges = [edge + step for base, end, *_ in rows for edge in (base, end) for step in (-1, 0)]
    wanted[100 : 100 + len(edges) - 1] = edges[1:]
    if beyond:
        wanted[CHUNK + 5] = 1 << 52

    codes = types.of(wanted)

    for index in [*range(100 + len(edges)), *range(CHUNK, 3 * CHUNK, 97), CHUNK + 5]:
        assert TYPE_OF_CODE[codes[index]] == types.at(int(wanted[index]))


def test_a_map_of_one_type_serves_long_arrays() -> None:
    """No border at all, and a border at every byte."""
    assert set(TypeMap.from_ranges("WB", []).of(np.zeros(CHUNK, np.uint64))) == {6}
    odd = TypeMap.from_ranges("WB", [(1, 2, "UC", "")])
    assert odd.of(np.arange(CHUNK, dtype=np.uint64))[:3].tolist() == [6, 0, 6]


def test_answers_are_values() -> None:
    """A segment cannot be changed behind somebody's back."""
    segment = next(iter(TypeMap.from_ranges("UC", []).segments()))

    with pytest.raises(FrozenInstanceError):
        segment.type = "WB"  # type: ignore[misc]
