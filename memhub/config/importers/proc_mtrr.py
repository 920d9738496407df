"""Linux's `/proc/mtrr`: the variable ranges in use, in either of its line forms.

Source: Linux `arch/x86/kernel/cpu/mtrr/if.c` (mtrr_seq_show), `generic.c` (generic_get_mtrr: the
size printed is the negative of the mask).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memhub.config.importers.model import RESERVED_TYPE, Findings, WidthHint
from memhub.config.values import TYPE_WORDS
from memhub.core.effective.mtrr import (
    MASK_VALID,
    MAX_VARIABLE,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINE: Final = re.compile(
    r"\s*reg\s*(?P<slot>\d{1,3}):\s*base=\s*(?:0x)?(?P<base>[0-9a-f]+)"
    r"\s*(?:\(\s*(?P<shown>\d+)\s*(?P<shown_unit>[kmg])b?\s*\))?\s*,"
    r"\s*size=\s*(?P<size>\d+)\s*(?P<unit>[kmg])b?\s*"
    r"(?:,\s*count=\s*\d+\s*:\s*(?P<new>[a-z?-]+)|:\s*(?P<old>[a-z?-]+)\s*,\s*count=\s*\d+)\s*",
    re.I,
)
_RELEVANT: Final = re.compile(r"\s*reg\s*\d+\s*:.*", re.I)
_SHIFTS: Final = {"k": 10, "m": 20, "g": 30}

#: `(base, size, type)` of a listed slot.
_Row = tuple[int, int, int]


def parse_proc_mtrr(lines: Iterable[str], hint: WidthHint) -> Findings:
    """Read the lines of `/proc/mtrr`.

    Args:
        lines: the text; foreign lines are skipped.
        hint: what is known of the physical address width; the text tells only its least.

    Returns:
        the registers: UC by default and fixed ranges disabled, of which the text has nothing;
        eight variable pairs, or as many as are listed.
    """
    oddities: list[str] = []
    rows: dict[int, _Row] = {}
    for line in lines:
        if _RELEVANT.fullmatch(line):
            _read(line, rows, oddities)

    if not rows:
        return Findings(None, oddities)

    used = max(max(base.bit_length(), (size - 1).bit_length()) for base, size, _ in rows.values())
    bits = hint.settle(used, None, oddities)
    oddities.append(
        "assumed: default type uncacheable, fixed ranges disabled (/proc/mtrr tells neither)"
    )
    pairs = [VariableMtrr()] * max(8, max(rows) + 1)
    for slot, (base, size, kind) in rows.items():
        pairs[slot] = VariableMtrr(base | kind, -size & address_mask(bits) | MASK_VALID)

    registers = MtrrRegisters(phys_bits=bits, fixed_enabled=False, variable=tuple(pairs))

    return Findings(registers, oddities)


def _read(line: str, rows: dict[int, _Row], oddities: list[str]) -> None:
    row = _row(line, oddities)
    if row is None:
        oddities.append(f"line not understood: {line.strip()!r}")
        return

    slot, values = row
    if not values[1]:
        oddities.append(f"slot {slot} (base {values[0]:#x}) has size zero: taken as disabled")
        return

    if rows.get(slot, values) != values:
        oddities.append(f"slot {slot} is listed twice with other values: the last counts")

    rows[slot] = values


def _row(line: str, oddities: list[str]) -> tuple[int, _Row] | None:
    match = _LINE.fullmatch(line)
    if match is None:
        return None

    slot, base = int(match["slot"]), int(match["base"], 16)
    size = int(match["size"]) << _SHIFTS[match["unit"].lower()]
    word = (match["new"] or match["old"]).lower()
    kind = RESERVED_TYPE if word == "?" else TYPE_WORDS.get(word)
    if kind is None or slot >= MAX_VARIABLE or (base | size) & 0xFFF:
        return None

    if base.bit_length() > 52 or size > 1 << 52:
        return None

    if match["shown"]:
        shift = _SHIFTS[match["shown_unit"].lower()]
        if base >> shift != int(match["shown"]):
            what = f"{match['shown']}{match['shown_unit']}B"
            oddities.append(f"slot {slot}: base {base:#x} is not {what}: the base counts")

    return slot, (base, size, kind)
