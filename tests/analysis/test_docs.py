"""docs/analysis.md is true: each command prints what stands below it, each snippet runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from memhub.analysis import lint
from memhub.analysis.columns import ADDED
from memhub.analysis.views import NAMES

if TYPE_CHECKING:
    from clirun import Run

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"
TEXT = PAGE.read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```sh\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def folder(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "audit.jsonl").symlink_to(demo)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    return tmp_path


@pytest.mark.parametrize(
    ("commands", "output"), EXAMPLES, ids=[it[0].split()[2] for it in EXAMPLES]
)
def test_a_command_prints_what_stands_below_it(
    run: Run, folder: Path, commands: str, output: str
) -> None:
    lines = [shlex.split(line) for line in commands.splitlines()]
    assert {line[0] for line in lines} == {"memhub"}

    assert "".join(run(*line[1:]).out for line in lines) == output


def test_every_question_has_a_command() -> None:
    shown = {line.split()[2] for commands, _ in EXAMPLES for line in commands.splitlines()}

    assert shown == {
        "occupancy", "contention", "leaks", "hijacks", "flapping", "slots", "lint", "sql", "pack",
    }  # fmt: skip


def test_the_python_runs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    exec(code, {})

    assert "wayland" in capsys.readouterr().out


def test_the_plugin_adds_its_rule() -> None:
    (code,) = re.findall(r"```python plugin\n(.*?)```", TEXT, re.DOTALL)
    module = ModuleType("memhub_rules")
    exec(code, module.__dict__)
    book = lint.load_rules(plugins=[("docs", module)], installed=False)
    row: dict[str, Any] = {"process": "X", "base": 0x1000, "held_ns": 7200 * 10**9}

    assert book.failures == ()
    assert book.rules["long-claim"].say(row) == "X held 0x1000 for 7200 s"


def test_every_view_and_added_column_is_described() -> None:
    views = TEXT.partition("| view |")[2].partition("\n\n")[0]
    columns = TEXT.partition("| column of `records` |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)`", views, re.MULTILINE) == list(NAMES)
    assert re.findall(r"^\| `(\w+)` \| ([\w\[\]]+) \| (.*) \|$", columns, re.MULTILINE) == [
        (name, kind, meaning) for name, (kind, meaning) in ADDED.items()
    ]
