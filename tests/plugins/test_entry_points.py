"""Entry points are read once, and again when a distribution came or went."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from typing import TYPE_CHECKING

from memhub.entry_points import find_points

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GROUP = "memhub.tried"


def install(folder: Path, name: str, *points: str) -> Path:
    info = folder / f"{name}-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
    lines = "".join(f"{point} = {name}_module\n" for point in points)
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}")

    return info


def found() -> list[tuple[str, str, str, str]]:
    return [(it.point.name, it.point.value, *it[1:]) for it in find_points(GROUP)]


def test_points_are_told_by_name_with_their_distribution(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "vax", "b", "a")
    monkeypatch.syspath_prepend(tmp_path)
    assert found() == [("a", "vax_module", "vax", "1.5"), ("b", "vax_module", "vax", "1.5")]


def test_what_is_installed_or_removed_while_memhub_runs_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()

    assert found() == []
    monkeypatch.syspath_prepend(tmp_path / "one")
    vax = install(tmp_path / "one", "vax", "a")
    assert [it[0] for it in found()] == ["a"]
    install(tmp_path / "two", "mips", "m")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "two")])
    assert [it[0] for it in found()] == ["a", "m"]
    shutil.rmtree(vax)
    assert [it[0] for it in found()] == ["m"]


def test_a_folder_that_is_the_current_one_is_seen_to_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        install(tmp_path / folder, folder, folder)

    monkeypatch.setattr(sys, "path", ["", *sys.path])
    for folder in ("one", "two"):
        monkeypatch.chdir(tmp_path / folder)
        assert [it[0] for it in found()] == [folder]


def test_several_groups_are_one_reading(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.syspath_prepend(tmp_path)  # a path that nobody has asked about
    readings = []
    read = metadata.entry_points

    def count() -> object:
        readings.append(1)
        return read()

    monkeypatch.setattr(metadata, "entry_points", count)
    assert len(find_points("memhub")) >= 7
    assert len(find_points("memhub.kernels")) >= 2
    assert find_points("memhub.kernels") is find_points("memhub.kernels")
    assert len(readings) == 1
