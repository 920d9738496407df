"""What an importer is given and what it finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from memhub.core.spec import MachineSpec
    from memhub.x86.registers import MtrrRegisters

DumpFormat = Literal["dmesg", "proc_mtrr", "memcontrol", "msr"]

#: A type that prints as `?` has one of the reserved encodings; the text does not tell which.
RESERVED_TYPE: Final = 2

#: Characters of a line that an oddity quotes.
_QUOTED: Final = 200


class ImportRefused(EscapedMessage, ValueError):
    """Raised when a machine cannot be made from a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A machine, read from a text.

    Attributes:
        spec: the machine, exactly as the text describes it, faults included.
        oddities: what is faulty in the text or had to be assumed, a sentence each, with slot
            and values.
        format: the format that was recognised: one of `DumpFormat`, or that of an importer
            which another distribution adds.
        pat: the eight page attribute table entries that the text names (`WB`, `UC-`, …), as
            the operating system set them; empty where it names none.
    """

    spec: MachineSpec
    oddities: tuple[str, ...]
    format: str
    pat: tuple[str, ...] = ()


@dataclass(slots=True)
class Findings:
    """What one importer found; the common part makes a machine from it.

    Attributes:
        registers: the registers, or None where the text has none.
        oddities: what is odd so far.
        tom2: see `Cpu.tom2`.
    """

    registers: MtrrRegisters | None = None
    oddities: list[str] = field(default_factory=list)
    tom2: int = 0


def quote(line: str) -> str:
    """A line as an oddity quotes it: escaped and cut."""
    return repr(line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…")


@dataclass(frozen=True, slots=True)
class WidthHint:
    """What is known of the physical address width beside the registers.

    Attributes:
        given: what the caller says, or None.
        memory: the fewest bits that hold the memory map; 0 without one.
        narrow: the processor has 32 address bits (a K6).
    """

    given: int | None = None
    memory: int = 0
    narrow: bool = False

    def settle(self, used: int, told: int | None, oddities: list[str]) -> int:
        """Settle the width.

        Args:
            used: the fewest bits that hold every base and mask of the text.
            told: the width that the text tells, or None.
            oddities: receives a sentence where the sources disagree or there is none.

        Returns:
            bits, 32 to 52. The caller's width is used unless the registers need more; the memory
            map decides only where nothing else does.
        """
        if told is None and self.narrow:
            told = 32

        if self.given is None:
            bits = max(told or max(36, self.memory), used, 32)
            if told is None:
                oddities.append(f"assumed: {bits} bits of physical address")

            return bits

        if used > self.given:
            why = f"addresses need {used} bits, more than the {self.given} given"
            oddities.append(f"{why}: {used} are taken")
        elif told is not None and told != self.given:
            why = f"masks show {told} bits of physical address"
            oddities.append(f"{why}, but {self.given} are given and taken")

        return max(self.given, used, 32)
