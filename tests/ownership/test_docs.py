"""The examples of `docs/ownership.md` run, and print what stands below them."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Any

import anyio
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "ownership.md"
TEXT = PAGE.read_text(encoding="utf-8")
HOLE = "    ...  # the example\n"

(SETUP,) = re.findall(r"```python setup\n(.*?)```", TEXT, re.DOTALL)
EXAMPLES = re.findall(
    r"^## ([^\n]+)\n|```python\n(.*?)```\n\n```text\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE
)


def examples() -> list[Any]:
    """Each example with its output, named by its section."""
    found, section = [], ""
    for heading, code, output in EXAMPLES:
        section = heading or section
        if code:
            found.append(pytest.param(code, output, id=section.lower().replace(" ", "-")))

    return found


def test_every_rule_has_an_example() -> None:
    sections = re.findall(r"^## (.+)$", TEXT, re.MULTILINE)
    shown = {example.id for example in examples()}

    assert len(re.findall(r"```python\n", TEXT)) == len(examples())
    assert [s for s in sections if s.lower().replace(" ", "-") not in shown] == [
        "When the log fails"
    ]
    assert [int(s[0]) for s in sections if s[0].isdigit()] == list(range(1, 9))


@pytest.mark.parametrize(("code", "output"), examples())
async def test_an_example_prints_what_stands_below_it(code: str, output: str) -> None:
    printed: list[str] = []
    names: dict[str, Any] = {"print": lambda *words: printed.append(" ".join(map(str, words)))}
    assert HOLE in SETUP
    body = SETUP.replace(HOLE, textwrap.indent(code, "    "))
    exec("async def example():\n" + textwrap.indent(body, "    "), names)
    with anyio.fail_after(10):
        await names["example"]()

    assert printed == output.splitlines()
