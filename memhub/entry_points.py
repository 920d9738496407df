"""Entry points of the distributions that are installed, read once for as long as they stay.

To find those of a group, every file `entry_points.txt` is read, and each command asks for several
groups.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint, EntryPoints

#: How many groups are kept; memhub has fewer.
_GROUPS: Final = 16


class Found(NamedTuple):
    """An entry point.

    Attributes:
        point: the entry point.
        source: the distribution that ships it.
        version: the distribution's version, where there is one.
    """

    point: EntryPoint
    source: str
    version: str


def find_points(group: str) -> tuple[Found, ...]:
    """The entry points of a group, by name.

    Args:
        group: its name.
    """
    return _find_points(group, _look_at_path())


def _look_at_path() -> tuple[object, ...]:
    """What changes where a distribution comes or goes: where they are found, and those folders."""
    return (*map(id, sys.meta_path), *((it, *_look_at(it)) for it in sys.path))


def _look_at(path: str) -> tuple[int, ...]:
    try:
        found = os.stat(path or os.curdir)  # noqa: PTH116 - many, and a Path takes longer to make
    except OSError:
        return ()

    return found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=_GROUPS)
def _find_points(group: str, state: tuple[object, ...]) -> tuple[Found, ...]:
    points = sorted(_read_all(state).select(group=group), key=lambda it: (it.name, it.value))
    # each look at a distribution reads and parses its file anew
    givers = {point.dist: _name_distribution(point.dist) for point in points}

    return tuple(Found(point, *givers[point.dist]) for point in points)


@lru_cache(maxsize=1)
def _read_all(_state: tuple[object, ...]) -> EntryPoints:
    return cast("EntryPoints", metadata.entry_points())  # before 3.12 a class that selects alike


def _name_distribution(dist: Distribution | None) -> tuple[str, str]:
    """Its name and version."""
    if dist is None:
        return "an unknown distribution", ""

    told = dist.metadata

    return told["Name"], told["Version"]
