"""The recorded questions: registers that are right, and as few as was proved."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import orjson
import pytest

from memhub.planner import (
    NoPlan,
    Want,
    WantedMap,
    find_difference,
    plan_least_loss,
    plan_registers,
)
from memhub.planner.check import effective_stretches

FILE = Path(__file__).parents[1] / "data" / "planner" / "planner.open.jsonl.gz"
QUESTIONS: list[dict[str, Any]] = [
    orjson.loads(line) for line in gzip.decompress(FILE.read_bytes()).splitlines()
]


def wanted_of(question: dict[str, Any]) -> WantedMap:
    wants = tuple(Want(*it) for it in question["wanted"])

    return WantedMap(question["width"], wants, question["tom2"])


def test_all_questions_are_there() -> None:
    assert len(QUESTIONS) == 412


@pytest.mark.parametrize("default", ["UC", "WB", None])
def test_each_answer_is_right_and_least(default: str | None) -> None:
    for question in QUESTIONS:
        wanted = wanted_of(question)
        least = question["exact"][default or "free"]["count"]
        try:
            plan = plan_registers(wanted, default=default, types=question["types"])
        except NoPlan:
            assert least is None, question["id"]
            continue

        assert len(plan.registers) == least, question["id"]
        assert find_difference(wanted, plan.default, plan.registers) is None, question["id"]
        assert {it.type for it in plan.registers} <= set(question["types"]), question["id"]


def test_what_does_not_fit_loses_least() -> None:
    asked = 0
    for question in QUESTIONS:
        if "least_loss" not in question:
            continue

        asked += 1
        wanted = wanted_of(question)
        plan = plan_least_loss(wanted, question["slots"], types=question["types"])

        assert plan.lost == question["least_loss"]["bytes"], question["id"]
        assert len(plan.registers) <= question["slots"]
        lost = 0
        for start, end, want, got in effective_stretches(wanted, plan.default, plan.registers):
            if want != "-" and (got == "clash" or want not in ("*", got)):
                assert got == "UC", question["id"]
                lost += end - start

        assert lost == plan.lost, question["id"]

    assert asked == 99
