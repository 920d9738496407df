"""The tables of the planner's page, counted from the recorded questions and peers' answers."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest

from memhub.planner import plan_registers
from planner.test_yardstick import QUESTIONS, wanted_of

PAGE = Path(__file__).parents[2] / "docs" / "planner.md"
FAMILIES = {
    "machine": "real machines",
    "cleanup": "Linux cleanup",
    "e820": "e820 maps",
    "small": "small random maps",
    "ladder": "hard maps",
}
PEERS = {"edk2": "EDK2", "edk2_2017": "EDK2 of 2017", "coreboot": "coreboot", "linux": "Linux"}


def least_of_memhub(question: dict[str, Any]) -> int:
    plan = plan_registers(wanted_of(question), default=None, types=question["types"])

    return len(plan.registers)


def least_of(question: dict[str, Any], peer: str) -> int | None:
    """The registers of a peer's right answer, with the better default; None if there is none."""
    if peer == "firmware":
        count: int = question["firmware"]["count"]
        return count

    answers = question["peers"].get(peer, {})
    found = [answers] if peer == "linux" else [answers.get(default, {}) for default in ("UC", "WB")]
    counts = [it["count"] for it in found if it.get("count") is not None and not it.get("wrong")]

    return min(counts, default=None)


def slots_used(family: str) -> list[str]:
    """A row: questions that everybody in it answers, and the registers of each planner in all."""
    questions = [it for it in QUESTIONS if it["family"] == family]
    asked = [peer for peer in PEERS if any(least_of(it, peer) is not None for it in questions)] + [
        "firmware"
    ] * (family in {"machine", "cleanup"})
    both = [it for it in questions if all(least_of(it, peer) is not None for peer in asked)]
    sums = {peer: sum(least_of(it, peer) or 0 for it in both) for peer in asked}
    cells = [sums.get(peer, "") for peer in (*PEERS, "firmware")]

    return [
        FAMILIES[family],
        str(len(both)),
        str(sum(map(least_of_memhub, both))),
        *map(str, cells),
    ]


def wasteful_machines() -> list[list[str]]:
    """The machines whose firmware takes more registers than their map needs, the worst first."""
    rows = []
    for question in QUESTIONS:
        used = question["firmware"]["count"] if question["family"] == "machine" else 0
        needed = least_of_memhub(question) if used else 0
        if used > needed:
            others = [least_of(question, peer) for peer in ("edk2", "coreboot")]
            name = question["id"].removeprefix("machine/")
            rows.append([name, *map(str, (used, needed)), *(str(it or "none") for it in others)])

    return sorted(rows, key=lambda it: (int(it[2]) - int(it[1]), it[0]))


def row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_page_has_the_slots_that_each_planner_uses(family: str) -> None:
    assert row(slots_used(family)) in PAGE.read_text(encoding="utf-8").splitlines()


def test_the_page_has_each_machine_whose_firmware_wastes_registers() -> None:
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    begin = lines.index("| machine | firmware | needed | EDK2 | coreboot |") + 2
    found = list(takewhile(lambda it: it.startswith("|"), lines[begin:]))

    assert found == [row(cells) for cells in wasteful_machines()]
