"""Texts as people really have them, and what an import made of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from machines import ARCHES
from memhub.config import import_dump
from memhub.x86.registers import MtrrRegisters

if TYPE_CHECKING:
    from memhub.config import Imported
    from memhub.core.effective.typemap import TypeMap

FIELD = Path(__file__).parent / "data" / "field"
GIB = 1 << 30


def field(name: str, **options: Any) -> Imported:
    return import_dump((FIELD / name).read_text(), **options)


def text_of(name: str) -> str:
    return (FIELD / name).read_text()


def types_of(imported: Imported, arch: str = "amd64-mtrr") -> TypeMap:
    make = ARCHES[arch].driver
    assert make is not None
    driver = make(imported.spec.cpu, {})

    return driver.types(driver.attach(imported.spec.msrs))


def registers(imported: Imported) -> MtrrRegisters:
    return MtrrRegisters.decode(imported.spec.msrs, imported.spec.cpu.phys_bits)


def named(imported: Imported, *words: str) -> list[str]:
    return [odd for odd in imported.oddities if all(word in odd for word in words)]
