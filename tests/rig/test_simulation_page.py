"""docs/simulation.md is true: each example prints what stands below it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "simulation.md").read_text()
EXAMPLES = re.findall(
    r"<!-- ([a-z ]+) -->\n```python\n(.*?)```\n.*?<!-- output -->\n```text\n(.*?)```",
    PAGE,
    re.DOTALL,
)


def test_the_page_has_examples() -> None:
    assert [name for name, _, _ in EXAMPLES] == ["virtual time", "simulation", "explore"]


@pytest.mark.parametrize(("code", "output"), [it[1:] for it in EXAMPLES], ids=lambda it: it[:9])
def test_an_example_prints_what_the_page_shows(
    code: str, output: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == output
