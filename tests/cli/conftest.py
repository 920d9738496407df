"""Run a command in this process, and what it left."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from clirun import Done, Run
from memhub.audit import read_records
from memhub.cli import main
from memhub.cli.demo.run import run_demo
from service.served import served
from shell.kit import MTRR, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Done:
        code = main([str(it) for it in arguments])
        out, err = capsys.readouterr()

        return Done(code, out, err)

    return call


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service of two machines, which commands find by themselves."""
    path = tmp_path / "lab.sock"
    with served(path, MTRR, PAT):
        monkeypatch.setenv("MEMHUB_SOCKET", str(path))
        yield path


@pytest.fixture
def lab() -> Path:
    return ROOT / "configs" / "lab.toml"


@pytest.fixture
def data() -> Path:
    return ROOT / "tests" / "data"


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The audit log of a demo."""
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    run_demo(3, path)

    return path


@pytest.fixture(scope="session")
def end(demo: Path) -> int:
    """The last record before the machines are taken away."""
    detached = (it for it in read_records(demo) if it["event"] == "device.detach")

    return int(next(detached)["seq"]) - 1
