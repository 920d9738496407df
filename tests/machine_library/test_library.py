"""The real machines in the wheel are those of the recorded data, found by name and by oddity."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import pytest

from machines import MACHINES, imported, rows, table_of
from memhub import Hub, machines
from memhub.machines.library import UnknownMachine

if TYPE_CHECKING:
    from collections.abc import Callable


def test_what_ships_is_what_was_recorded() -> None:
    lines = files("memhub.machines").joinpath("open.jsonl").read_text("utf-8").splitlines()
    shipped = [json.loads(line) for line in lines]

    assert shipped == [{key: it[key] for key in shipped[0]} for it in MACHINES]


@pytest.mark.parametrize("recorded", MACHINES, ids=lambda it: it["id"])
def test_a_machine_of_the_library_has_its_recorded_table(recorded: dict[str, object]) -> None:
    assert rows(table_of(machines.load(str(recorded["id"])))) == recorded["table"]


@pytest.mark.parametrize("arch", ["k6", "openbsd-k6"])
async def test_a_driver_of_the_k6_alone_gets_a_k6(arch: str) -> None:
    spec = machines.load("acer-aspire-one", arch=arch)
    assert (spec.cpu.vendor, spec.cpu.phys_bits) == ("AMD", 32)
    async with Hub([spec]) as hub, await hub.open("/dev/mem") as mem:
        assert len(await mem.ranges()) == 2


async def test_a_beginning_of_a_name_is_enough_and_a_machine_can_be_renamed() -> None:
    spec = machines.load("acer-aspire-one", rename="netbook", arch="i386", securelevel=1)
    async with Hub([spec]) as hub:
        assert list(hub.machines) == ["netbook"]

    assert (spec.arch, spec.securelevel) == ("i386", 1)
    assert spec.msrs == machines.load("acer-aspire-one-8-slots-full").msrs


def test_names_and_words_count_in_any_case() -> None:
    assert machines.load("ACER-Aspire") == machines.load("acer-aspire")
    assert machines.search("HOLES") == machines.search("holes") != ()


def test_types_of_the_fixed_ranges_are_told_where_the_text_tells_them() -> None:
    award = machines.describe("award-2g-wt")

    assert "fixed-write-through" in award.kinds
    assert "memory from 0xf0000 to 0xfffff (fixed ranges) is WT" in [
        it.text for it in award.oddities
    ]
    assert award in machines.search("fixed-write-through", "fixed-write-protect")
    assert machines.describe("acer").kinds == ("full", "write-protect")


@pytest.mark.parametrize("ask", [machines.load, machines.describe, machines.search])
@pytest.mark.parametrize("name", [5, None, b"acer"])
def test_what_is_no_text_is_refused(ask: Callable[[Any], object], name: Any) -> None:
    with pytest.raises(TypeError, match=f"^(name|word) {name!r} is not text$"):
        ask(name)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("acer-aspyre-one-8-slots-full", "did you mean 'acer-aspire-one-8-slots-full'?"),
        ("xeon", "several real machines are called 'xeon'…: xeon-e5640-default-wb-40bit, xeon"),
        ("", "`memhub machines` list them"),
        ("\x1b[1m", r"there is no real machine '\x1b[1m'"),
    ],
)
def test_another_name_is_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(UnknownMachine, match=re.escape(words)):
        machines.load(name)


def test_oddities_are_those_of_the_registers() -> None:
    found = {it.name for it in machines.search("holes")}
    marked = {
        it["id"] for it in MACHINES if any("mask has holes" in o for o in imported(it).oddities)
    }

    assert found == marked != set()
    assert {it.name for it in machines.search("full", "write-protect")} == {
        "acer-aspire-one-8-slots-full"
    }
    assert len(machines.search()) == len(MACHINES)
    assert [it.name for it in machines.search("ThinkPad")] == ["ibm-26563cf-768m-no-pat"]


def test_every_kind_that_a_machine_has_is_explained() -> None:
    kinds = {kind for it in machines.search() for kind in it.kinds}

    assert kinds <= set(machines.KINDS)
    assert {"holes", "zero-mask", "misaligned", "duplicate", "full", "tom2"} <= kinds
