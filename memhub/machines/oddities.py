"""What is odd about a machine's registers and memory, each with a word to search for."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.config.importers.checks import find_slow_memory
from memhub.config.importers.faults import name_faults
from memhub.x86.registers import FIXED_RANGES, TYPE_NAMES, WB, WC, WP, WT, MtrrRegisters

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.config import Imported

#: The word of each kind, and what it says.
KINDS: Final = {
    "holes": "a mask ignores bits though lower ones count",
    "zero-mask": "a mask of zero matches every address",
    "misaligned": "a base has bits that its mask does not cover",
    "reserved-type": "a type byte that the architecture does not define",
    "duplicate": "two slots hold the same range",
    "overlap": "ranges overlap where no type is defined",
    "disabled": "the ranges are off: there are no slots",
    "full": "no slot is free",
    "default-write-back": "what no range covers is write-back",
    "write-combine": "firmware has set a write-combining range",
    "write-through": "firmware has set a write-through range",
    "write-protect": "firmware has set a write-protected range",
    "fixed-write-combine": "firmware has write-combining memory below 1 MiB",
    "fixed-write-through": "firmware has write-through memory below 1 MiB",
    "fixed-write-protect": "firmware has write-protected memory below 1 MiB",
    "slow-ram": "some of the RAM is not write-back",
    "tom2": "AMD's TOM2 makes memory above 4 GiB write-back",
    "cpus-differ": "the kernel found different settings on the CPUs",
}

_TYPE_KINDS: Final = {WC: "write-combine", WT: "write-through", WP: "write-protect"}


class Oddity(NamedTuple):
    """One thing that is odd about a machine.

    Attributes:
        kind: a word of `KINDS`.
        text: a sentence with the values.
    """

    kind: str
    text: str


def find_oddities(imported: Imported) -> Iterator[Oddity]:
    """What is odd about an imported machine: faults first, then what a rig may look for."""
    spec = imported.spec
    registers = MtrrRegisters.decode(spec.msrs, spec.cpu.phys_bits)
    for fault in name_faults(registers):
        yield Oddity(*fault)

    if registers.enabled:
        yield from _find_slot_oddities(registers)

    if registers.fixed_active:  # a text that does not tell them has them off
        yield from _find_fixed_oddities(registers)

    for text in find_slow_memory(spec.memory, registers, spec.cpu.tom2):
        yield Oddity("slow-ram", text)

    if spec.cpu.tom2:
        end = spec.cpu.tom2
        yield Oddity("tom2", f"memory from 4 GiB to {end:#x} (TOM2) is write-back by default")

    for text in imported.oddities:
        if text.startswith("the CPUs differ"):
            yield Oddity("cpus-differ", text)


def _find_slot_oddities(registers: MtrrRegisters) -> Iterator[Oddity]:
    pairs = registers.variable
    if pairs and all(pair.valid for pair in pairs):
        yield Oddity("full", f"all {len(pairs)} variable slots are in use: none is free")

    if registers.default_type == WB:
        yield Oddity("default-write-back", "the default type is write-back")

    for slot, pair in enumerate(pairs):
        if pair.valid and pair.type in _TYPE_KINDS:
            base, mask = pair.base & ~0xFFF, pair.mask & ~0xFFF
            where = f"slot {slot} (base {base:#x}, mask {mask:#x})"
            yield Oddity(_TYPE_KINDS[pair.type], f"{where} is {TYPE_NAMES[pair.type]}")


def _find_fixed_oddities(registers: MtrrRegisters) -> Iterator[Oddity]:
    for kind, ranges in groupby(zip(registers.fixed_types, FIXED_RANGES, strict=True), _type_of):
        if kind in _TYPE_KINDS:
            spans = [span for _, span in ranges]
            first, last = spans[0][0], sum(spans[-1]) - 1
            where = f"memory from {first:#x} to {last:#x} (fixed ranges)"
            yield Oddity(f"fixed-{_TYPE_KINDS[kind]}", f"{where} is {TYPE_NAMES[kind]}")


def _type_of(fixed: tuple[int, tuple[int, int]]) -> int:
    return fixed[0]
