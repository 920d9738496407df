"""The recorded answers of real drivers and the states of real machines, as values.

The formats are described in `data/README.md`.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.abi import U64_MAX, RangeDesc, owner_bytes
from memhub.core.drivers.driver import Cpu

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DATA = Path(__file__).parent / "data"

#: `(base, length, flags, owner up to its first NUL)`, as a trace has it.
Row = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True)
class Trace:
    """One scenario: a machine as firmware left it, and what its driver answered, step by step."""

    id: str
    cpu: Cpu
    msrs: Mapping[int, int]
    supported: bool
    table: tuple[Row, ...]
    steps: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True, slots=True)
class RealMachine:
    """One real machine; `msrs` is None where its text does not tell the registers."""

    id: str
    format: str
    text: str
    cpu: Cpu
    msrs: Mapping[int, int] | None
    table: tuple[Row, ...]
    types: tuple[tuple[int, str], ...]


def row(desc: RangeDesc) -> Row:
    """A descriptor as traces have it."""
    return (desc.mr_base, desc.mr_len, desc.mr_flags, desc.owner)


def request(step: Mapping[str, Any]) -> RangeDesc:
    """The descriptor that a `set` step hands in.

    A few PowerPC steps name numbers above 64 bits: the C structure kept their low bits.
    """
    return RangeDesc(
        step["base"] & U64_MAX,
        step["len"] & U64_MAX,
        step["flags"],
        owner_bytes(step["owner"]),
    )


def registers(msrs: Mapping[str, int]) -> dict[int, int]:
    """The registers by number."""
    return {int(number, 16): value for number, value in msrs.items()}


def load(driver: str) -> Iterator[Trace]:
    """The scenarios of `i386`, `x86`, `k6` or `powerpc`."""
    with gzip.open(DATA / f"freebsd-{driver}.open.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            yield _trace(json.loads(line))


def machines() -> Iterator[RealMachine]:
    """The real machines."""
    with (DATA / "machines.open.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            yield _machine(json.loads(line))


def _trace(raw: Mapping[str, Any]) -> Trace:
    cpu = raw["cpu"]

    return Trace(
        id=raw["id"],
        cpu=Cpu(
            vendor=cpu["vendor"],
            signature=cpu.get("id", 0),
            phys_bits=cpu["phys_bits"],
            mtrr=cpu.get("mtrr", False),
        ),
        msrs=registers(raw["msr"]),
        supported=raw["supported"],
        table=_rows(raw["table"]),
        steps=tuple(raw["steps"]),
    )


def _machine(raw: Mapping[str, Any]) -> RealMachine:
    return RealMachine(
        id=raw["id"],
        format=raw["format"],
        text=raw["text"],
        cpu=Cpu(phys_bits=raw["phys_bits"]),
        msrs=registers(raw["msr"]) if "msr" in raw else None,
        table=_rows(raw["table"]),
        types=tuple((address, name) for address, name in raw.get("types", ())),
    )


def _rows(rows: list[list[Any]]) -> tuple[Row, ...]:
    return tuple((base, length, flags, owner) for base, length, flags, owner in rows)
