"""Entry points of the distributions that are installed, read once for as long as they stay.

To find those of a group, every file `entry_points.txt` is read, and each command asks for several
groups.
"""

from __future__ import annotations

import os
import sys
import time
from functools import lru_cache
from importlib import metadata
from typing import TYPE_CHECKING, Final, NamedTuple, cast

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint, EntryPoints

#: How many groups are kept; memhub has fewer.
_GROUPS: Final = 16
#: Nanoseconds after which what was written into a folder is taken as complete.
_SETTLED_NS: Final = 2_000_000_000


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
    folders = [_look_at(path) for path in sys.path]
    changed = max((it[-1] for it in folders if it), default=0)
    if time.time_ns() - changed < _SETTLED_NS:  # a distribution may be half written
        return _select(cast("EntryPoints", metadata.entry_points()), group)

    return _find_points(group, (*map(id, sys.meta_path), *zip(sys.path, folders, strict=True)))


def _look_at(path: str) -> tuple[int, ...]:
    """What changes in a folder where a distribution comes or goes."""
    try:
        found = os.stat(path or os.curdir)  # noqa: PTH116 - many, and a Path takes longer to make
    except OSError:
        return ()

    return found.st_dev, found.st_ino, found.st_mtime_ns


@lru_cache(maxsize=_GROUPS)
def _find_points(group: str, state: tuple[object, ...]) -> tuple[Found, ...]:
    return _select(_read_all(state), group)


@lru_cache(maxsize=1)
def _read_all(_state: tuple[object, ...]) -> EntryPoints:
    return cast("EntryPoints", metadata.entry_points())  # before 3.12 a class that selects alike


def _select(known: EntryPoints, group: str) -> tuple[Found, ...]:
    points = sorted(known.select(group=group), key=lambda it: (it.name, it.value))
    # each look at a distribution reads and parses its file anew
    givers = {point.dist: _name_distribution(point.dist) for point in points}

    return tuple(Found(point, *givers[point.dist]) for point in points)


def _name_distribution(dist: Distribution | None) -> tuple[str, str]:
    """Its name and version."""
    if dist is None:
        return "an unknown distribution", ""

    told = dist.metadata

    return told["Name"], told["Version"]
