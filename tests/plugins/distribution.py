"""Distributions of other people, put into a folder as an installer does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def install(site: Path, name: str, entry: str, source: str, group: str = "memhub") -> None:
    """Put a distribution with one module and one entry point into `site`."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    module = f"loader_{name.replace('-', '_')}"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{entry} = {module}\n")
    (site / f"{module}.py").write_text(source)
