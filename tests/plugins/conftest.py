"""What the tests of plugins share."""

from __future__ import annotations

import pytest

from warm import use_warm_interpreters


@pytest.fixture(autouse=True)
def warm_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what an interpreter of the conformance kit takes to import memhub."""
    use_warm_interpreters(monkeypatch)
