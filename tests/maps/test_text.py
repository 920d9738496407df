"""A map in text: one line for each piece, 80 columns, letters beside colours; and the strip."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maps.map_strategies import address_maps, few, map_of, shipped
from memhub.core.effective.strip import LETTERS
from memhub.folding import cells
from memhub.machines import load, pc
from memhub.maps import AddressMap, map_text
from memhub.maps.strip import strip_of
from memhub.maps.text import map_lines, size_text

if TYPE_CHECKING:
    from memhub.core.spec import MachineSpec


@pytest.mark.parametrize("spec", shipped(), ids=lambda it: it.name)
def test_each_piece_is_a_line_with_its_address_and_letters(spec: MachineSpec) -> None:
    it = map_of(spec)
    lines = map_text(it, 400).splitlines()

    assert lines[0].startswith(spec.name)
    for line, piece in zip(lines[2:], it.pieces, strict=True):
        words = line.split()
        assert int(words[0], 16) == piece.base
        letters = [LETTERS[name] for name in piece.types] or ["-"]
        assert set(words[2].upper()) == set(letters)


@few
@given(address_maps())
def test_a_bar_is_never_longer_for_a_smaller_piece(it: AddressMap) -> None:
    bars = {}
    for (line, _), piece in zip(list(map_lines(it, 400))[2:], it.pieces, strict=False):
        if not piece.also:
            bars[piece.length] = len(line[1][0])
            assert set(line[1][0]) == {LETTERS.get(piece.type or "", "-")}

    ordered = [bars[length] for length in sorted(bars)]
    assert ordered == sorted(ordered)


def test_an_ordinary_machine_is_understood_at_a_glance() -> None:
    assert map_text(map_of(pc())) == (
        "pc  i386, 36 address bits, 89 of 96 slots in use\n"
        "     ADDRESS   SIZE              TYPE WHAT      SLOTS\n"
        "         0x0   640K BBBB         WB   RAM       WB fixed 0-15, WB 88 BIOS\n"
        "     0xa0000   128K UUU          UC   hole      UC fixed 16-23, WB 88 BIOS\n"
        "     0xc0000   256K PPPP         WP   ROM       WP fixed 24-87, WB 88 BIOS\n"
        "    0x100000  1023M BBBBBBBBB    WB   RAM       WB 88 BIOS\n"
        "  0x40000000    63G UUUUUUUUUUUU UC   hole\n"
    )


def test_a_reduced_text_says_so() -> None:
    text = map_text(map_of(load("nehalem")), 6)

    assert "of 19 pieces are shown one by one" in text
    assert "summed up" not in map_text(map_of(load("nehalem")))


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (1, "1"), (4096, "4K"), (640 << 10, "640K"), (2037 << 20, "1.99G"), (1 << 52, "4P"),
        (3134976 << 10, "2.99G"), (0xFFFFF, "1M"), ((1 << 40) - (1 << 30), "1023G"), (0, "0"),
        (7680 << 30, "7.5T"), (1792 << 20, "1.75G"), (1006 << 20, "1006M"),
        ((1 << 60) - 1, "1024P"),
    ],
)  # fmt: skip
def test_a_size_has_the_largest_unit_and_five_characters_at_most(count: int, text: str) -> None:
    assert size_text(count) == text
    assert len(text) <= 5


@few
@given(address_maps(), st.sampled_from([16, 32]))
def test_a_strip_covers_the_space_in_cells_that_all_machines_share(
    it: AddressMap, cells: int
) -> None:
    zones = strip_of(it, cells)
    flat = [cell for zone in zones for cell in zone]
    assert (flat[0].base, flat[-1].end) == (0, it.end)
    assert all(one.end == other.base for one, other in pairwise(flat))
    limits = [0, 1 << 20, 4 << 30]
    assert [zone[0].base for zone in zones] == [low for low in limits if low < it.end]
    whole = {cell[:2] for zone in strip_of(it._replace(end=1 << 52), cells) for cell in zone}
    assert {cell[:2] for cell in flat[:-1]} <= whole
    for cell in flat:
        within = [p for p in it.pieces if p.base < cell.end and cell.base < p.end]
        types = {name for p in within for name in p.types or (None,)}
        assert cell.type in types
        assert cell.busy == any(p.busy for p in within)
        assert cell.letter.islower() == (len(types) > 1 and cell.letter.isalpha())


@pytest.mark.parametrize("spec", shipped(), ids=lambda it: it.name)
def test_no_line_is_wider_than_asked_and_all_is_still_there(spec: MachineSpec) -> None:
    it = map_of(spec)
    told = {word for word in map_text(it).split() if any(map(str.isdigit, word)) and len(word) < 20}
    for columns in (33, 40, 60, 80):
        narrow = map_text(it, columns=columns)
        assert max(map(cells, narrow.splitlines())) <= columns
        assert told <= set(narrow.split())


@few
@given(address_maps(), st.integers(20, 100))
def test_any_map_fits_any_width_with_a_bar_for_each_piece(it: AddressMap, columns: int) -> None:
    lines = [line for line, _ in map_lines(it, 400, columns)]
    bars = [line[1][0] for line in lines[2:] if len(line) > 3 and str(line[0]).lstrip()[:2] == "0x"]

    assert len(bars) == len(it.pieces)
    assert all(bars)
    assert max(map(cells, map_text(it, 400, columns).splitlines())) <= columns


@pytest.mark.parametrize("columns", [19, 0, -1])
def test_a_width_that_no_line_fits_is_refused(columns: int) -> None:
    with pytest.raises(ValueError, match=f"columns {columns} is below 20"):
        map_text(map_of(pc()), columns=columns)


def test_a_line_escapes_what_moves_the_cursor() -> None:
    it = map_of(load("acer"))
    evil = AddressMap("a\x1b[2J", "b", it.end, 8, it.pieces)

    assert "\x1b" not in map_text(evil)
