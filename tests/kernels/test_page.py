"""docs/kernels.md is true: its example prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()


EXAMPLES = re.findall(
    r"<!-- (\w+) -->\n```python\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", PAGE, re.DOTALL
)


def test_both_kernels_have_an_example() -> None:
    assert [name for name, _, _ in EXAMPLES] == ["linux", "netbsd"]


@pytest.mark.parametrize(("code", "printed"), [it[1:] for it in EXAMPLES], ids=lambda it: it[:20])
def test_an_example_prints_what_the_page_shows(
    code: str, printed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == printed
