"""docs/kernels.md is true: its example prints what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "kernels.md").read_text()


def test_the_example_prints_what_the_page_shows(capsys: pytest.CaptureFixture[str]) -> None:
    ((code, printed),) = re.findall(
        r"```python\n(.*?)```\n\n<!-- output -->\n```text\n(.*?)```", PAGE, re.DOTALL
    )
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert capsys.readouterr().out == printed
