"""docs/faults.md is true: its example runs, its rules load, and it names all that a rule has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from machines import one_machine
from memhub import FaultRule, Sickness, load_config
from memhub.core.fault_rules import ACTIONS, OPERATION_WORDS
from memhub.core.sickness import MOMENTS, SICK_ACTIONS

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", [0, 1])
def test_an_example_runs_and_prints_what_it_says(
    capsys: pytest.CaptureFixture[str], number: int
) -> None:
    code = blocks("python")[number]
    exec(compile(code, "example", "exec"), {"__name__": "example"})
    lines = capsys.readouterr().out.splitlines()

    assert lines
    assert all(f"# {line}\n" in code for line in lines)


def test_the_rules_of_the_page_load(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(one_machine("") + "".join(blocks("toml")))

    assert load_config(path).faults == (
        FaultRule("errno", op="set", base=0xD0000000, length=32 << 20, errno="ENOSPC", times=2),
        Sickness(
            action="firmware_rewrite", machine="pc", registers={0x2FF: 0xC00}, moment="resume"
        ),
    )


def test_the_page_names_every_action_operation_and_field() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))

    assert {*ACTIONS, *OPERATION_WORDS} <= named
    assert {*SICK_ACTIONS, *MOMENTS} <= named
    for rule in (FaultRule, Sickness):
        assert {it.name for it in fields(rule)} - {"action", "name"} <= named
