"""Linux's `/proc/mtrr`: the variable ranges in use, in either of its line forms.

Source: Linux `arch/x86/kernel/cpu/mtrr/if.c` (mtrr_seq_show), `generic.c` (generic_get_mtrr: the
size printed is the negative of the mask).
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Final

from memhub.config.importers.checks import settle_default
from memhub.config.importers.dmesg import parse_slots
from memhub.config.importers.model import RESERVED_TYPE, Findings, WidthHint, quote
from memhub.config.values import TYPE_WORDS
from memhub.x86.registers import (
    MASK_VALID,
    MAX_VARIABLE,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

_TYPE: Final = r"([a-z-]{2,20}|\?)"
_LINE: Final = re.compile(
    r"\breg ?([0-9]{1,3}): ?base= ?(?:0x)?([0-9a-f]{1,16})"
    r" ?(?:\( ?([0-9]{1,12}) ?([kmg])b? ?\) ?)?, ?size= ?([0-9]{1,12}) ?([kmg])b? ?"
    rf"(?:, ?count= ?[0-9]{{1,9}} ?: ?{_TYPE}|: ?{_TYPE} ?, ?count= ?[0-9]{{1,9}})(?![\w-])",
    re.I,
)
_RELEVANT: Final = re.compile(r"\breg ?[0-9]{1,9} ?:", re.I)
_SHIFTS: Final = {"k": 10, "m": 20, "g": 30}

#: `(base, size, type)` of a listed slot.
_Row = tuple[int, int, int]


def parse_proc_mtrr(lines: Sequence[str], hint: WidthHint) -> Findings:
    """Read the lines of `/proc/mtrr`.

    Args:
        lines: the text; other lines are skipped.
        hint: what is known of the physical address width; the text tells only a lower limit.

    Returns:
        the registers: a default type that fits (see `settle_default`) and fixed ranges disabled,
        which the text does not list; as many variable pairs as a boot log beside it says, else
        eight, or as many as are listed.
    """
    oddities: list[str] = []
    rows: dict[int, _Row] = {}
    counts: dict[int, Counter[_Row]] = {}
    for line in lines:
        if _RELEVANT.search(line):
            _read_line(line, rows, counts, oddities)

    for slot, values in counts.items():
        times = values.total()
        if times > 1:
            other = " with other values: the last counts" if len(values) > 1 else ""
            oddities.append(f"slot {slot} is listed {times} times{other}")

    if not rows:
        return Findings(None, oddities)

    used = max(max(base.bit_length(), (size - 1).bit_length()) for base, size, _ in rows.values())
    bits = hint.settle(used, None, oddities)
    pairs = [VariableMtrr()] * max(parse_slots(lines) or 8, max(rows) + 1)
    for slot, (base, size, kind) in rows.items():
        pairs[slot] = VariableMtrr(base | kind, -size & address_mask(bits) | MASK_VALID)

    registers = MtrrRegisters(
        phys_bits=bits,
        fixed_enabled=False,
        default_type=settle_default(pairs, bits, oddities, "; fixed ranges disabled"),
        variable=tuple(pairs),
    )

    return Findings(registers, oddities)


def _read_line(
    line: str, rows: dict[int, _Row], counts: dict[int, Counter[_Row]], oddities: list[str]
) -> None:
    row = _parse_row(line, oddities)
    if row is None:
        oddities.append(f"line not understood: {quote(line)}")
        return

    slot, values = row
    if not values[1]:
        oddities.append(f"slot {slot} (base {values[0]:#x}) has size zero: taken as disabled")
        return

    counts.setdefault(slot, Counter())[values] += 1
    rows[slot] = values


def _parse_row(line: str, oddities: list[str]) -> tuple[int, _Row] | None:
    match = _LINE.search(line)
    if match is None:
        return None

    slot, base = int(match[1]), int(match[2], 16)
    size = int(match[5]) << _SHIFTS[match[6].lower()]
    word = (match[7] or match[8]).lower()
    kind = RESERVED_TYPE if word == "?" else TYPE_WORDS.get(word)
    if kind is None or slot >= MAX_VARIABLE or (base | size) & 0xFFF:
        return None

    if base.bit_length() > 52 or size > 1 << 52:
        return None

    if match[3]:
        shift = _SHIFTS[match[4].lower()]
        if base >> shift != int(match[3]):
            what = f"{match[3]}{match[4]}B"
            oddities.append(f"slot {slot}: base {base:#x} is not {what}: the base counts")

    return slot, (base, size, kind)
