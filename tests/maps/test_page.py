"""docs/maps.md is true: its commands print what it shows, and its picture is the one they draw."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from memhub.cli import main
from pages.page_blocks import DOCS

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

PAGE = (DOCS / "maps.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
(PYTHON,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN, PRINTED = re.findall(r"<!-- output -->\n```text\n(.*?)```", PAGE, re.DOTALL)


def run(line: str) -> None:
    assert main(shlex.split(line)[1:]) == 0


def test_the_command_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run(SHELL[0])

    assert capsys.readouterr().out == SHOWN


def test_the_code_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    made: dict[str, object] = {"__name__": "example"}
    exec(compile(PYTHON, "example", "exec"), made)

    assert capsys.readouterr().out == PRINTED
    ElementTree.fromstring(str(made["figure"]))


def test_the_picture_is_the_one_that_the_commands_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in SHELL[1].splitlines():
        run(line)

    assert (tmp_path / "maps.svg").read_bytes() == (DOCS / "maps.svg").read_bytes()
