"""Layers of addresses and masks, against counting them out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from memhub.core.effective.layers import blocks, flatten, matching, next_border, product

SIZE = 40
PLACE = st.integers(0, SIZE)
ROWS = st.lists(st.tuples(PLACE, PLACE, st.integers(0, 3)), max_size=8)


def _spread(starts: list[int], values: list[object]) -> list[object]:
    """A layer, one value an address."""
    ends = [*starts[1:], SIZE]

    return [value for a, b, value in zip(starts, ends, values, strict=True) for _ in range(a, b)]


@given(ROWS)
def test_the_earlier_row_wins_wherever_rows_overlap(rows: list[tuple[int, int, int]]) -> None:
    """Each address: the first row that holds it, else the default."""
    starts, values = flatten(rows, -1)
    expected = [
        next((value for a, b, value in rows if a <= address < b), -1) for address in range(SIZE)
    ]

    assert starts[0] == 0
    assert starts == sorted(set(starts))
    assert _spread(starts, [*values]) == expected


@given(ROWS, ROWS)
def test_a_product_combines_the_two_values_of_each_address(
    one: list[tuple[int, int, int]], two: list[tuple[int, int, int]]
) -> None:
    """Address by address."""
    first, second = flatten(one, -1), flatten(two, -2)
    starts, values = product(first, second, lambda a, b: (a, b))
    expected = zip(_spread(first[0], [*first[1]]), _spread(second[0], [*second[1]]), strict=True)

    assert _spread(starts, [*values]) == list(expected)


@st.composite
def _masks(draw: st.DrawFn) -> tuple[int, int, int]:
    bits = draw(st.integers(1, 9))
    mask = draw(st.integers(0, (1 << bits) - 1))

    return draw(st.integers(0, (1 << bits) - 1)) & mask, mask, bits


@given(_masks())
def test_blocks_and_matching_list_what_a_mask_matches(case: tuple[int, int, int]) -> None:
    """Holes or none, together the blocks are the matching addresses, once each."""
    value, mask, bits = case
    count, length = blocks(value, mask, bits)
    starts = matching(value, mask, bits)

    assert len(starts) == count
    assert [start + offset for start in starts for offset in range(length)] == [
        address for address in range(1 << bits) if address & mask == value
    ]


@given(_masks())
def test_the_next_border_is_where_matching_changes(case: tuple[int, int, int]) -> None:
    """From every address."""
    value, mask, bits = case
    end = 1 << bits
    hit = [address & mask == value for address in range(end)]
    for address in range(end):
        later = (other for other in range(address + 1, end) if hit[other] != hit[address])

        assert next_border(address, value, mask, bits) == next(later, end)


def test_a_value_outside_its_mask_matches_nothing() -> None:
    """No address has a bit that the mask cleared."""
    assert blocks(0b10, 0b01, 2) == (0, 0)
