"""Circles of imports: between modules, and between the rooms that they lie in."""

from __future__ import annotations

from collections import defaultdict
from graphlib import CycleError, TopologicalSorter
from itertools import takewhile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from source_rules import Source


def circle(found: Iterable[Source]) -> list[str]:
    """Modules that import each other in a circle, for types too; the first such circle."""
    known = {source.module: source for source in found}
    graph = {
        module: {_known_part(name, known) for _, name in source.imports()} - {module, ""}
        for module, source in known.items()
    }
    return _circle_in(graph)


def circle_of_rooms(found: Iterable[Source]) -> list[str]:
    """Rooms that import each other in a circle, at any depth; the first such circle.

    A module that lies beside a room counts as a room of its own.
    """
    known = {source.module: source for source in found}
    inside: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for module, source in known.items():
        for other in {_known_part(name, known) for _, name in source.imports()} - {""}:
            house, here, there = _part_ways(module.split("."), other.split("."))
            if here and there:
                inside[house][here].add(there)

    return next(filter(None, map(_circle_in, inside.values())), [])


def _part_ways(one: list[str], other: list[str]) -> tuple[str, str, str]:
    """The package that two modules share, and the part of each that lies in it, or nothing."""
    pairs = zip(one, other, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    parts = (*one, "")[shared], (*other, "")[shared]

    return ".".join(one[:shared]), *parts


def _circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """The first circle of a graph, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])

    return []


def _known_part(name: str, known: Iterable[str]) -> str:
    """The module that a dotted name leads to, or nothing."""
    while name and name not in known:
        name = name.rpartition(".")[0]

    return name
