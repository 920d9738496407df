"""Loading a configuration file from its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from machines import ARCHES
from memhub.config import HubConfig, load_config

if TYPE_CHECKING:
    from pathlib import Path

Load = Callable[[str], HubConfig]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Write the text to `hub.toml` in the test's own folder, and load it."""

    def load(toml: str) -> HubConfig:
        path = tmp_path / "hub.toml"
        path.write_text(toml, encoding="utf-8")

        return load_config(path, arches=ARCHES)

    return load
