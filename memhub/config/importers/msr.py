"""The registers themselves, as rdmsr, chipsec, EDK2 and coreboot print them.

Source: msr-tools `rdmsr.c`; FreeBSD `usr.sbin/cpucontrol/cpucontrol.c` (do_msr); chipsec
`hal/msr.py` (read_msr) and `hal/register.py` (print of one); EDK2 `UefiCpuPkg/Library/MtrrLib`
(MtrrDebugPrintAllMtrrs); coreboot `src/cpu/x86/mtrr/mtrr.c`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memhub.config.importers.checks import settle_default
from memhub.config.importers.model import Findings, WidthHint
from memhub.x86.registers import (
    DEF_TYPE_ENABLE,
    DEF_TYPE_FIXED_ENABLE,
    FIXED_MSRS,
    MASK_VALID,
    MAX_VARIABLE,
    MSR_MTRR_DEF_TYPE,
    MSR_MTRR_VARIABLE_BASE,
    MSR_MTRRCAP,
    MSR_PAT,
    MSR_SYSCFG,
    MSR_TOP_MEM2,
    MTRRCAP_FIXED,
    MTRRCAP_WC,
    UC,
    WB,
    MtrrRegisters,
    tom2_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

_HEX: Final = r"(?:0x)?([0-9a-f]{1,16})"
_RDMSR: Final = re.compile(
    r"\brdmsr(?: -{1,2}[0-9a-z-]{1,12}(?: [0-9]{1,4}\b(?!$))?){0,4} "
    r"(0x[0-9a-f]{1,8}|[0-9]{1,10})$",
    re.I,
)
_VALUE: Final = re.compile(rf"^{_HEX}$", re.I)
#: FreeBSD's cpucontrol: the upper half first.
_HALVES: Final = re.compile(r"\bmsr 0x([0-9a-f]{1,8}): 0x([0-9a-f]{8}) 0x([0-9a-f]{8})$", re.I)
_LINES: Final = (
    # chipsec: RDMSR( 0x2ff ) = 0000000000000C06
    re.compile(rf"\brdmsr\( ?0x([0-9a-f]{{1,8}}) ?\) ?= ?{_HEX}\b", re.I),
    # rdmsr 0x2ff = 0xc06, msr 0x2ff: 0xc06, MSR[0x2ff]=0xc06, MTRR_PHYSBASE0 (0x200): 0x6
    re.compile(
        rf"\b(?:rd|wr)?msr ?[\[(]?0x([0-9a-f]{{1,8}})[\])]? ?(?:=>|->|[:=]) ?{_HEX}\b", re.I
    ),
    re.compile(rf"\bMTRR_?[a-z0-9_]{{1,20}} ?\(0x([0-9a-f]{{1,8}})\) ?[:=] ?{_HEX}\b", re.I),
    # A listing by number: 0x2ff: 0xc06
    re.compile(rf"^0x([0-9a-f]{{2,8}}) ?[:=] ?{_HEX}$", re.I),
    re.compile(r"^0x([0-9a-f]{2,8}) 0x([0-9a-f]{8,16})$", re.I),
    # WinDbg: msr[2ff] = 00000000`00000c06
    re.compile(rf"\bmsr\[([0-9a-f]{{1,8}})\] ?= ?{_HEX}$", re.I),
    # coreboot
    re.compile(r"\bMTRR: Fixed MSR 0x([0-9a-f]{1,4}) 0x([0-9a-f]{1,16})\b", re.I),
)
#: chipsec's registers: NAME = 0x… << what it is (MSR 0x2FF Thread 0x0)
_DESCRIBED: Final = re.compile(r"= ?0x([0-9a-f]{1,16}) <<", re.I)
_NUMBER: Final = re.compile(r"\(MSR 0x([0-9a-f]{1,8})\b", re.I)
_NAMED: Final = re.compile(
    rf"\b(?:IA32_)?MTRR_?(CAP|DEF_?TYPE|PHYS_?BASE|PHYS_?MASK)_?([0-9]{{0,2}})\b ?[:=] ?{_HEX}\b",
    re.I,
)
_EDK_DEFAULT: Final = re.compile(r"\bMTRR Default Type ?: ?0x0{0,16}([0-9a-f]{1,4})$", re.I)
_EDK_FIXED: Final = re.compile(rf"\bFixed MTRR\[ ?([0-9]{{1,2}})\] ?: ?{_HEX}$", re.I)
_EDK_PAIR: Final = re.compile(
    rf"\bVariable MTRR\[ ?([0-9]{{1,2}})\] ?: ?Base ?= ?{_HEX} Mask ?= ?{_HEX}$", re.I
)
_CB_PAIR: Final = re.compile(
    r"\bMTRR: ([0-9]{1,2}) base 0x([0-9a-f]{1,16}) mask 0x([0-9a-f]{1,16}) type ([0-9])$", re.I
)
_CB_DEFAULT: Final = re.compile(r"\bMTRR: (UC|WB) selected as default type\b", re.I)
_CB_WIDTH: Final = re.compile(r"\bCPU physical address size: ([0-9]{2}) bits\b", re.I)


@dataclass(slots=True)
class _Dump:
    """Registers by number; `told` is the address width that the text names, `kind` the default."""

    msrs: dict[int, int] = field(default_factory=dict)
    oddities: list[str] = field(default_factory=list)
    told: int | None = None
    kind: int | None = None
    pending: int | None = None

    def read(self, line: str) -> None:
        if self.pending is not None and (match := _VALUE.match(line)):
            self.keep(self.pending, int(match[1], 16))
            return

        self.pending = None
        if match := _RDMSR.search(line):
            self.pending = int(match[1]) if match[1].isdigit() else int(match[1], 16)
        elif not self._take_firmware(line):
            self._take_numbered(line)

    def _take_numbered(self, line: str) -> None:
        if match := _HALVES.search(line):
            self.keep(int(match[1], 16), int(match[2], 16) << 32 | int(match[3], 16))
            return

        line = line.replace("`", "")
        for pattern in _LINES:
            if match := pattern.search(line):
                self.keep(int(match[1], 16), int(match[2], 16))
                return

        if (value := _DESCRIBED.search(line)) and (number := _NUMBER.search(line)):
            self.keep(int(number[1], 16), int(value[1], 16))
        elif match := _NAMED.search(line):
            self._take_named(match)

    def _take_named(self, match: re.Match[str]) -> None:
        word, slot = match[1].upper().replace("_", ""), int(match[2] or "0")
        numbers = {
            "CAP": MSR_MTRRCAP,
            "DEFTYPE": MSR_MTRR_DEF_TYPE,
            "PHYSBASE": MSR_MTRR_VARIABLE_BASE + 2 * slot,
            "PHYSMASK": MSR_MTRR_VARIABLE_BASE + 2 * slot + 1,
        }
        if slot < MAX_VARIABLE:
            self.keep(numbers[word], int(match[3], 16))

    def _take_firmware(self, line: str) -> bool:
        if match := _EDK_DEFAULT.search(line):
            self.keep(MSR_MTRR_DEF_TYPE, int(match[1], 16))
        elif match := _EDK_FIXED.search(line):
            if int(match[1]) < len(FIXED_MSRS):
                self.keep(FIXED_MSRS[int(match[1])], int(match[2], 16))
        elif match := _EDK_PAIR.search(line):
            self._check_pair(int(match[1]), int(match[2], 16), int(match[3], 16))
        elif match := _CB_PAIR.search(line):
            base, mask = int(match[2], 16), int(match[3], 16)
            self._check_pair(int(match[1]), base | int(match[4]), mask | MASK_VALID)
        elif match := _CB_DEFAULT.search(line):
            self.kind = UC if match[1].upper() == "UC" else WB
        elif match := _CB_WIDTH.search(line):
            self.told = int(match[1])
        else:
            return False

        return True

    def _check_pair(self, slot: int, base: int, mask: int) -> None:
        if slot < MAX_VARIABLE:
            self.keep(MSR_MTRR_VARIABLE_BASE + 2 * slot, base)
            self.keep(MSR_MTRR_VARIABLE_BASE + 2 * slot + 1, mask)

    def keep(self, number: int, value: int) -> None:
        """Take one register; a second value is another processor's, or a later state."""
        if not _is_wanted(number):
            return

        before = self.msrs.setdefault(number, value)
        if before != value:
            self.oddities.append(
                f"the CPUs differ: register {number:#x} is {before:#x}, and {value:#x} on another; "
                "the first counts"
            )


def parse_msrs(lines: Iterable[str], hint: WidthHint) -> Findings:
    """Read registers by number, or as firmware prints them.

    Args:
        lines: the text; other lines are skipped.
        hint: what is known of the physical address width; the masks tell it too.

    Returns:
        the registers, or none where the text has no range registers.
    """
    dump = _Dump()
    for line in lines:
        dump.read(line)

    ranges = {number for number in dump.msrs if number not in (MSR_PAT, MSR_SYSCFG, MSR_TOP_MEM2)}
    if not ranges:
        return Findings(None, dump.oddities)

    return Findings(_make_registers(dump, hint), dump.oddities, tom2=tom2_of(dump.msrs))


def _is_wanted(number: int) -> bool:
    pairs = range(MSR_MTRR_VARIABLE_BASE, MSR_MTRR_VARIABLE_BASE + 2 * MAX_VARIABLE)
    others = (MSR_MTRRCAP, MSR_MTRR_DEF_TYPE, MSR_PAT, MSR_SYSCFG, MSR_TOP_MEM2, *FIXED_MSRS)

    return number in pairs or number in others


def _make_registers(dump: _Dump, hint: WidthHint) -> MtrrRegisters:
    msrs, oddities = dump.msrs, dump.oddities
    pairs = range(MSR_MTRR_VARIABLE_BASE, MSR_MTRR_VARIABLE_BASE + 2 * MAX_VARIABLE)
    listed = [number for number in pairs if number in msrs]
    bits = _address_width(dump, hint, listed)
    fixed = any(number in msrs for number in FIXED_MSRS)
    if MSR_MTRRCAP not in msrs:
        count = max(8, (max(listed, default=0x200) - MSR_MTRR_VARIABLE_BASE) // 2 + 1)
        oddities.append(f"assumed: {count} variable slots (register 0xfe is not in the text)")
        enabled = msrs.get(MSR_MTRR_DEF_TYPE, 0) & DEF_TYPE_FIXED_ENABLE
        msrs[MSR_MTRRCAP] = count | MTRRCAP_WC | (MTRRCAP_FIXED if fixed or enabled else 0)

    missing = [number for number in FIXED_MSRS if number not in msrs]
    if msrs[MSR_MTRRCAP] & MTRRCAP_FIXED and missing:
        oddities.append(
            f"assumed: zero (uncacheable) for {len(missing)} fixed range registers, the first "
            f"{missing[0]:#x}, which the text leaves out"
        )

    registers = MtrrRegisters.decode(msrs, bits)
    if MSR_MTRR_DEF_TYPE in msrs:
        return registers

    kind = dump.kind
    if kind is None:
        kind = settle_default(registers.variable, bits, oddities, "; ranges enabled")

    word = kind | DEF_TYPE_ENABLE | (DEF_TYPE_FIXED_ENABLE if fixed else 0)

    return MtrrRegisters.decode({**msrs, MSR_MTRR_DEF_TYPE: word}, bits)


def _address_width(dump: _Dump, hint: WidthHint, listed: list[int]) -> int:
    """A mask reaches to the top bit of the addresses; what lies past 52 bits is reserved."""
    limit = (1 << 52) - 1
    masks = [(dump.msrs[number] & limit & ~0xFFF).bit_length() for number in listed if number & 1]
    bases = [
        (dump.msrs[number] & limit & ~0xFFF).bit_length() for number in listed if not number & 1
    ]
    most = max(masks, default=0)
    told = dump.told or (most if most > 31 else None)

    return min(hint.settle(max([*masks, *bases], default=0), told, dump.oddities), 52)
