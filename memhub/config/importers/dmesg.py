"""A Linux or Xen boot log: the MTRR state that the kernel prints, and the PAT.

Source: Linux `arch/x86/kernel/cpu/mtrr/generic.c` (print_mtrr_state), `mtrr.c`
(mtrr_attrib_to_str), `arch/x86/mm/pat/memtype.c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memhub.config.importers.checks import settle_default
from memhub.config.importers.model import RESERVED_TYPE, Findings, WidthHint, quote
from memhub.config.values import TYPE_WORDS
from memhub.x86.registers import (
    FIXED_COUNT,
    FIXED_RANGES,
    MASK_VALID,
    MAX_VARIABLE,
    UC,
    MtrrRegisters,
    VariableMtrr,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_DEFAULT: Final = re.compile(r"\bMTRR default type: ?(\S{0,40})$", re.I)
_FIXED: Final = re.compile(r"\bMTRR fixed ranges (enabled|disabled):?$", re.I)
_VARIABLE: Final = re.compile(r"\bMTRR variable ranges (enabled|disabled):?$", re.I)
_ROW: Final = re.compile(r"(?<![0-9a-z])([0-9a-f]{5})-([0-9a-f]{5}) ([a-z-]{2,40}|\?)$", re.I)
_PAIR: Final = re.compile(
    r"(?<![0-9a-z])([0-9]{1,4}) base ([0-9a-f]{1,16}) mask ([0-9a-f]{1,16}) (\S{1,40})$", re.I
)
_FREE: Final = re.compile(r"(?<![0-9a-z])([0-9]{1,4}) disabled$", re.I)
_BROKEN: Final = re.compile(r"(?<![0-9a-z])[0-9]{1,4} (?:base|mask)\b", re.I)
_BROKEN_HEAD: Final = re.compile(r"\bMTRR (?:default|fixed|variable)\b", re.I)
_TOM2: Final = re.compile(r"\bTOM2: ?(?:0x)?([0-9a-f]{1,16}) ?(?:aka\b|\(WB\)$)", re.I)
_MAP: Final = re.compile(
    r"\bMTRR map: [0-9]{1,4} entr.{0,80}built from ([0-9]{1,3}) variable MTRR", re.I
)
_PAT_NEW: Final = re.compile(
    r"\bPAT:? configuration \[0-7\]: ?((?:[a-z]{2}-? ){7}[a-z]{2}-?)$", re.I
)
_PAT_OLD: Final = re.compile(
    r"\bPAT enabled: cpu [0-9]{1,4}, old 0x[0-9a-f]{1,16}, new (0x[0-9a-f]{1,16})\b", re.I
)
#: What may be between a stamp and a message on the first line of a block, and not on others.
_TAG: Final = re.compile(r"(?:x86/)?mtrr: ?$", re.I)
_CHANGING: Final = re.compile(r"[0-9\s]+")
_PAT_NAMES: Final = {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB", 7: "UC-"}


@dataclass(slots=True)
class _Log:
    default: int | None = None
    enabled: bool | None = None
    fixed_enabled: bool | None = None
    rows: list[tuple[int, int, int]] = field(default_factory=list)
    pairs: dict[int, VariableMtrr] = field(default_factory=dict)
    digits: int = 0
    tom2: int = 0
    shape: str | None = None
    oddities: list[str] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        return self.default is None and self.enabled is None and not self.pairs

    def read(self, line: str) -> None:
        if match := _FIXED.search(line):
            self.fixed_enabled = match[1].lower() == "enabled"
        elif match := _VARIABLE.search(line):
            self.enabled = match[1].lower() == "enabled"
            self.shape = shape(line[: match.start()])
        elif self.fixed_enabled is not None and (match := _ROW.search(line)):
            kind = self._parse_type(match[3], line)
            if kind is not None:
                self.rows.append((int(match[1], 16), int(match[2], 16) + 1, kind))
        elif match := _PAIR.search(line):
            self._take_pair(match, line)
        elif self._is_next(match := _FREE.search(line), line) and match:
            self._keep_pair(int(match[1]), VariableMtrr(), line)
        elif match := _TOM2.search(line):
            self.tom2 = int(match[1], 16) & (1 << 52) - 1
        elif self._is_next(_BROKEN.search(line), line) or _BROKEN_HEAD.search(line):
            self._note_oddity(line)

    def _is_next(self, match: re.Match[str] | None, line: str) -> bool:
        """Whether a short line has the same prefix as the rows of the block."""
        return match is not None and self.shape == shape(line[: match.start()])

    def _take_pair(self, match: re.Match[str], line: str) -> None:
        base, mask = int(match[2], 16), int(match[3], 16)
        kind = self._parse_type(match[4], line)
        if kind is None:
            return

        if max(base, mask).bit_length() > 52 or (base | mask) & 0xFFF:
            self._note_oddity(line)
            return

        self.digits = max(self.digits, len(match[2]), len(match[3]))
        self._keep_pair(int(match[1]), VariableMtrr(base | kind, mask | MASK_VALID), line)

    def _keep_pair(self, slot: int, pair: VariableMtrr, line: str) -> None:
        if slot >= MAX_VARIABLE:
            self._note_oddity(line)
            return

        if self.pairs.get(slot, pair) != pair:
            self.oddities.append(f"slot {slot} is listed twice with other values: the last counts")

        self.pairs[slot] = pair

    def _parse_type(self, word: str, line: str) -> int | None:
        kind = RESERVED_TYPE if word == "?" else TYPE_WORDS.get(word.lower())
        if kind is None:
            self._note_oddity(line)

        return kind

    def _note_oddity(self, line: str) -> None:
        self.oddities.append(f"line not understood: {quote(line)}")


def parse_dmesg(lines: Iterable[str], hint: WidthHint) -> Findings:
    """Read the MTRR lines of a boot log.

    Args:
        lines: the log, without time stamps; other lines are skipped.
        hint: what is known of the physical address width; the masks tell it too.

    Returns:
        the registers that the log describes, or none where it has no MTRR lines. Of several
        boots in one log the last one counts.
    """
    log = _Log()
    for line in lines:
        if match := _DEFAULT.search(line):
            before, log = log, _Log()
            if not before.empty:
                log.oddities.append("the log holds more than one boot: the last one counts")

            kind = RESERVED_TYPE if match[1] == "?" else TYPE_WORDS.get(match[1].lower())
            if kind is None:
                log.oddities.append(f"line not understood: {quote(line)}")

            log.default = kind
        else:
            log.read(line)

    registers = None if log.empty else _make_registers(log, hint)

    return Findings(registers, log.oddities, tom2=log.tom2)


def parse_map(lines: Iterable[str], hint: WidthHint) -> Findings:
    """Read what a kernel from 6.5 on prints instead of the registers.

    Args:
        lines: the log; other lines are skipped.
        hint: what is known of the physical address width; the log does not tell it.

    Returns:
        registers that are on and otherwise not known: as many variable ranges as the log says,
        none in use. None where the log has no such line.
    """
    found = parse_slots(lines)
    if found is None:
        return Findings()

    why = f"the kernel (6.5 or later) names {found} variable ranges and prints none"
    oddities = [f"{why}: boot it with mtrr=debug, or add /proc/mtrr to the text"]
    pairs = (VariableMtrr(),) * found
    bits = hint.settle(hint.memory, None, oddities)
    registers = MtrrRegisters(
        phys_bits=bits,
        fixed_supported=False,
        fixed_enabled=False,
        default_type=settle_default(pairs, bits, oddities, "; fixed ranges disabled"),
        variable=pairs,
    )

    return Findings(registers, oddities)


def parse_slots(lines: Iterable[str]) -> int | None:
    """How many variable ranges a kernel from 6.5 on counts; None without such a line."""
    found: int | None = None
    for line in lines:
        if match := _MAP.search(line):
            found = min(int(match[1]), MAX_VARIABLE)

    return found


def shape(prefix: str) -> str:
    """The text before a message without digits and blanks: it is the same on every line."""
    return _CHANGING.sub("", _TAG.sub("", prefix.rstrip()))


def parse_pat(lines: Iterable[str]) -> tuple[str, ...]:
    """The eight PAT entries of the log's last PAT line, as names; empty where there is none."""
    found: tuple[str, ...] = ()
    for line in lines:
        if match := _PAT_NEW.search(line):
            names = tuple(match[1].upper().split())
            found = names if {*names} <= {*_PAT_NAMES.values()} else found
        elif match := _PAT_OLD.search(line):
            entries = int(match[1], 16).to_bytes(8, "little")
            found = tuple(_PAT_NAMES.get(entry & 7, "UC") for entry in entries)

    return found


def _make_registers(log: _Log, hint: WidthHint) -> MtrrRegisters:
    bits, variable = _address_width(log, hint), _variable_ranges(log)
    if log.default is None:
        log.default = settle_default(variable, bits, log.oddities)

    return MtrrRegisters(
        phys_bits=bits,
        fixed_supported=log.fixed_enabled is not None,
        fixed_enabled=bool(log.fixed_enabled),
        fixed_types=bytes(FIXED_COUNT) if log.fixed_enabled is None else _fixed_types(log),
        enabled=log.enabled is not False,
        default_type=log.default,
        variable=variable,
    )


def _address_width(log: _Log, hint: WidthHint) -> int:
    """The kernel prints as many digits as the CPU's addresses need: 9 for 33 to 36 bits.

    A mask that reaches into the first digit tells the width; where none does, firmware left the top
    bits out of every mask, and the largest width with so many digits is the most likely one.
    """
    masks = [pair.mask.bit_length() for pair in log.pairs.values() if pair.valid]
    bases = [(pair.base & ~0xFFF).bit_length() for pair in log.pairs.values()]
    most = min(max(32, 4 * log.digits), 52)
    told = max(masks, default=0) if log.digits else None
    if told is not None and told <= max(most - 4, 31):
        log.oddities.append(f"no mask reaches the top digit: {most} bits of physical address fit")
        told = most

    return hint.settle(max([*masks, *bases], default=0), told, log.oddities)


def _fixed_types(log: _Log) -> bytes:
    types: list[int | None] = [None] * FIXED_COUNT
    for start, stop, kind in log.rows:
        for index, (base, length) in enumerate(FIXED_RANGES):
            if not start < base + length or not base < stop:
                continue

            if start > base or stop < base + length:
                where = f"{start:#x}-{stop - 1:#x} covers {base:#x}/{length:#x} in part"
                log.oddities.append(f"fixed range {where}: its type is taken for all of it")

            if types[index] not in (None, kind):
                log.oddities.append(
                    f"fixed range {base:#x}/{length:#x} has two types: the last counts"
                )

            types[index] = kind

    missing = [base for (base, _), kind in zip(FIXED_RANGES, types, strict=True) if kind is None]
    if missing:
        what = f"{len(missing)} fixed ranges, the first at {missing[0]:#x}"
        log.oddities.append(f"assumed: uncacheable for {what}, which the text leaves out")

    return bytes(kind or UC for kind in types)


def _variable_ranges(log: _Log) -> tuple[VariableMtrr, ...]:
    count = max(log.pairs, default=-1) + 1
    if not count:
        log.oddities.append("the text lists no variable range")

    for slot in range(count):
        if slot not in log.pairs:
            log.oddities.append(f"slot {slot} is not listed: taken as disabled")

    return tuple(log.pairs.get(slot, VariableMtrr()) for slot in range(count))
