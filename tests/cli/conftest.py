"""Run a command in this process, and what it left."""

from __future__ import annotations

from pathlib import Path

import pytest

from clirun import Done, Run
from memhub.cli import main

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> Done:
        code = main([str(it) for it in arguments])
        out, err = capsys.readouterr()

        return Done(code, out, err)

    return call


@pytest.fixture
def lab() -> Path:
    return ROOT / "configs" / "lab.toml"


@pytest.fixture
def data() -> Path:
    return ROOT / "tests" / "data"
