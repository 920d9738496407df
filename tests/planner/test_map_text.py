"""Maps as people write them; what is wrong is named with its rule."""

from __future__ import annotations

import re

import pytest

from memhub.planner import ANY, FIXED, NoPlan, Want, WantedMap, find_difference, plan_registers
from memhub.planner.fewest import Register
from memhub.planner.map_text import MapError, parse_map, parse_stretch, parse_type

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("line", "stretch"),
    [
        ("0-2G WB", (0, 2 * GIB, "WB")),
        ("0xe0000000+256M write-combine", (0xE0000000, 0xF0000000, "WC")),
        ("0xe0000000+256M=wc", (0xE0000000, 0xF0000000, "WC")),
        ("  4096 - 8192   any ", (4096, 8192, ANY)),
        ("1T+0x1000 Uncacheable", (1 << 40, (1 << 40) + 4096, "UC")),
    ],
)
def test_a_stretch(line: str, stretch: tuple[int, int, str]) -> None:
    assert parse_stretch(line) == stretch


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("0-2G", "is not a stretch: give START-END or BASE+LENGTH and a type"),
        ("0..2G WB", "is not a stretch"),
        ("0-2G WX", "'WX' is not a memory type"),
        ("-1-2G WB", "is not a stretch"),
        ("9" * 300 + "-1 WB", "is not a stretch"),
    ],
)
def test_what_is_no_stretch_is_named(line: str, says: str) -> None:
    with pytest.raises(MapError, match=re.escape(says)):
        parse_stretch(line)


def test_a_map_has_comments_and_names_its_bad_line() -> None:
    assert parse_map("# RAM\n0-1G WB  # low\n\n") == [(0, GIB, "WB")]
    with pytest.raises(MapError, match="line 2: 'nonsense'"):
        parse_map("0-1G WB\nnonsense")


@pytest.mark.parametrize("line", ["2G-1G WB", "0+0 WB", "4K-4K UC"])
def test_a_stretch_without_bytes_is_named_with_its_line(line: str) -> None:
    with pytest.raises(MapError, match=f"^line 2: '{line[:2]}.* has no bytes: its end 0x"):
        parse_map(f"0-1T WB\n{line}\n")


def test_words_of_memcontrol_are_types() -> None:
    words = ["uncacheable", "write-combine", "write-through", "write-protect", "write-back"]
    assert [parse_type(it) for it in words] == ["UC", "WC", "WT", "WP", "WB"]


def test_later_ranges_replace_earlier_ones() -> None:
    wanted = WantedMap.of_ranges(
        32, [(0, 2 * GIB, "WB"), (GIB, 2 * GIB, "UC"), (GIB, GIB + MIB, "WC")], otherwise="UC"
    )

    assert wanted.wants == (
        Want(0, MIB, FIXED),
        Want(MIB, GIB, "WB"),
        Want(GIB, GIB + MIB, "WC"),
        Want(GIB + MIB, 4 * GIB, "UC"),
    )


@pytest.mark.parametrize(
    ("wants", "says"),
    [
        ([(0, 1 << 31, "WB")], "the map ends at 0x80000000, and the space at 0x100000000"),
        ([(4096, 1 << 32, "WB")], "does not go on at 0x0"),
        ([(0, 1 << 32, "XX")], "'XX' is not one of UC, WC"),
        ([(0, 100, "WB"), (100, 1 << 32, "UC")], "not made of whole pages"),
    ],
)
def test_a_map_that_is_none_is_refused(wants: list[tuple[int, int, str]], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        WantedMap(32, tuple(Want(*it) for it in wants))


@pytest.mark.parametrize("bounds", [(GIB, GIB), (0, 1 << 40), (-1, GIB)])
def test_a_range_outside_of_the_space_is_refused(bounds: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="is not a range of a space that ends at 0x100000000"):
        WantedMap.of_ranges(32, [(*bounds, "WB")])


@pytest.mark.parametrize("tom2", [GIB, 4 * GIB + 1, 32 * GIB, -1])
def test_tom2_lies_in_the_space_above_4_gib(tom2: int) -> None:
    with pytest.raises(ValueError, match=r"is not a page from 0x100000000 to 0x200000000"):
        WantedMap.of_ranges(33, [(GIB, 2 * GIB, "WB")], tom2=tom2)


def test_a_type_that_no_register_may_have_cannot_be_planned() -> None:
    wanted = WantedMap.of_ranges(32, [(0, GIB, "WC")], fixed=False)
    with pytest.raises(NoPlan, match="no registers of the types WB give this map"):
        plan_registers(wanted, types=["WB"])
    with pytest.raises(ValueError, match="type 'ZZ' is not one of"):
        plan_registers(wanted, types=["ZZ"])


def test_the_checker_finds_what_is_wrong() -> None:
    wanted = WantedMap.of_ranges(32, [(0, GIB, "WB")], otherwise="UC", fixed=False)
    half = [Register(0, GIB // 2, "WB")]

    assert find_difference(wanted, "UC", [Register(0, GIB, "WB")]) is None
    assert find_difference(wanted, "UC", half) == "0x20000000-0x40000000 is UC where WB is wanted"
    mixed = [Register(0, GIB, "WB"), Register(0, 4096, "WC")]
    assert find_difference(wanted, "UC", mixed) == "0x0-0x1000 is clash where WB is wanted"
    with pytest.raises(ValueError, match="no register covers 0x1000/0x2000"):
        find_difference(wanted, "UC", [Register(4096, 8192, "WB")])


def test_two_thousand_ranges_are_planned() -> None:
    ranges = [(it * 3 * MIB, it * 3 * MIB + MIB, "WB") for it in range(2000)]
    wanted = WantedMap.of_ranges(40, ranges, otherwise="UC", fixed=False)
    plan = plan_registers(wanted)

    assert find_difference(wanted, plan.default, plan.registers) is None
