"""What the tests of the conformance kit share."""

from __future__ import annotations

import pytest

from warm import use_warm_interpreters


@pytest.fixture
def cold_interpreters() -> None:
    """For a test in which the kit has to start interpreters itself."""


@pytest.fixture(autouse=True)
def warm_interpreters(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what an interpreter takes to import memhub."""
    if "cold_interpreters" not in request.fixturenames:
        use_warm_interpreters(monkeypatch)
