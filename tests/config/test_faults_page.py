"""docs/faults.md is true: its example runs, its rules load, and it names all that a rule has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from machines import one_machine
from memhub import FaultRule, load_config
from memhub.core.fault_rules import ACTIONS, OPERATION_WORDS

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "faults.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)

    return str(found)


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    code = block("python")
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out.strip() in code


def test_the_rules_of_the_page_load(tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(one_machine("") + block("toml"))

    assert load_config(path).faults == (
        FaultRule("errno", op="set", base=0xD0000000, length=32 << 20, errno="ENOSPC", times=2),
    )


def test_the_page_names_every_action_operation_and_field() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE))

    assert {*ACTIONS, *OPERATION_WORDS} <= named
    assert {it.name for it in fields(FaultRule)} - {"action", "name"} <= named
