"""What `coherent`, `bus` and `[machines.NAME.caches]` say of a machine, both ways."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

from memhub.config.values import boolean, parse_integer
from memhub.core.cache_limits import BOUNDS, CacheLimits, check_limit
from memhub.core.spec_rules import bus_kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.config.reader import Table
    from memhub.core.spec import MachineSpec


def read_caches(table: Table) -> dict[str, Any]:
    """The fields of a MachineSpec that say whether memory is coherent, of a machine's table."""
    coherent = table.take("coherent", boolean, True)
    found: dict[str, Any] = {"coherent": coherent, "bus": table.take("bus", bus_kind, "snooping")}
    row = table.table("caches")
    for key in ("bus", "caches"):
        if coherent and key in table:
            table.wrong(key, "says nothing of a coherent machine: give 'coherent = false' too")

    if row is not None:
        limits: dict[str, Any] = {
            field.name: row.take(field.name, partial(_read_limit, field.name), field.default)
            for field in fields(CacheLimits)
        }
        row.finish()
        found["caches"] = CacheLimits(**limits) if row.sound else CacheLimits()

    return found


def _read_limit(name: str, value: object) -> Any:  # noqa: ANN401 - a number or a boolean
    return check_limit(name, parse_integer(value) if name in BOUNDS else boolean(value))


def coherence_lines(spec: MachineSpec, show: Callable[[Any], str]) -> Iterator[str]:
    """The lines of a machine's table; none where memory is coherent."""
    if not spec.coherent:
        yield "coherent = false  # attributes act: see docs/memory.md"
        yield f"bus = {show(spec.bus)}  # whether devices find what CPUs have in their caches"


def limit_lines(spec: MachineSpec, show: Callable[[Any], str]) -> Iterator[str]:
    """The lines of its table `caches`; none where memory is coherent."""
    if not spec.coherent:
        for field in fields(CacheLimits):
            yield f"{field.name} = {show(getattr(spec.caches, field.name))}"
