"""docs/planner.md is true: its examples print what it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

    from clirun import Run

PAGE = (Path(__file__).parents[2] / "docs" / "planner.md").read_text()
(SHELL, SHOWN), (PYTHON, PRINTED) = re.findall(
    r"```(?:sh|python)\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", PAGE, re.DOTALL
)


def test_the_command_prints_what_the_page_shows(run: Run, tmp_path: Path) -> None:
    wanted = tmp_path / "map"
    wanted.write_text("\n".join(shlex.split(SHELL.partition("|")[0])[2:]))

    assert SHELL.endswith("| memhub plan -\n")
    assert run("plan", wanted).out == SHOWN


def test_the_code_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == PRINTED
