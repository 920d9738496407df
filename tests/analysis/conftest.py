"""Logs to ask questions of: made by hubs, and written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from analysis.logs import write_log
from analysis.pages import Page, read_page
from cli.conftest import run as run
from memhub.analysis import Analysis, pack
from memhub.analysis.pictures.report import collect
from memhub.cli.demo.run import run_demo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit log of a demo."""
    path = tmp_path_factory.mktemp("demo") / "a.jsonl"
    run_demo(3, path)

    return path


@pytest.fixture(scope="session")
def packed(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's log as a packed set."""
    out = tmp_path_factory.mktemp("packed")
    pack([demo], out)

    return out


@pytest.fixture(scope="session")
def asked(packed: Path) -> Iterator[Analysis]:
    """The demo's log, open for questions."""
    with Analysis([packed]) as log:
        yield log


@pytest.fixture(scope="session")
def page(asked: Analysis) -> Page:
    """The report on the demo's log."""
    return read_page(collect(asked, "demo"))


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Iterable[dict[str, Any]]], Path]:
    """Write records by hand as a log that verifies."""

    def write(records: Iterable[dict[str, Any]]) -> Path:
        return write_log(tmp_path / "hand.jsonl", records)

    return write
