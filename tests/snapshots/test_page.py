"""docs/snapshots.md is true: its example runs, and it names what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from memhub.core.restored import RestoreCause
from memhub.service.server.snapshots import FILE_MAX

if TYPE_CHECKING:
    import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "snapshots.md").read_text()


def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "example", "exec"), {"__name__": "example"})

    assert (tmp_path / "pc.snapshot").read_bytes().startswith(b"memhub-snapshot 1 ")


def test_the_page_names_the_causes_and_the_limit() -> None:
    assert {f"`{cause}`" for cause in get_args(RestoreCause)} <= set(re.findall(r"`\w+`", PAGE))
    assert f"{FILE_MAX >> 20} MiB" in PAGE
