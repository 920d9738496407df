"""The machine that the kernel runs on, and what the kernel prints."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from memhub_linux.releases import LINUX_6_18

if TYPE_CHECKING:
    from memhub_linux.releases import Release

#: What gives a CPU ranges.
RANGE_FEATURES: Final = frozenset({"mtrr", "k6_mtrr", "cyrix_arr", "centaur_mcr"})

Level = Literal["err", "warn", "info", "debug", "WARN", "trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """The state of MTRRs that a hypervisor gives.

    Attributes:
        kind: `hyperv`, `xenpv`, `snp`, `tdx`, or `none` for one that may not give any.
        hypervisor: whether the CPU says that there is a hypervisor.
        default: the default type.
        variable: base and mask register of each variable range; None for none.
    """

    kind: str
    hypervisor: bool
    default: int
    variable: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxMachine:
    """What the kernel asks of the machine.

    Attributes:
        bits: of a long: 64 or 32.
        vendor: of the CPU; with `family`, `model` and `stepping`.
        phys_bits: physical address width in bits.
        features: `mtrr`, `k6_mtrr`, `cyrix_arr`, `centaur_mcr`; and `pat`, `xenpv`.
        options: the kernel's parameters, name and value, in order.
        pat: whether page attributes are in use, so that drivers need no ranges.
        bridge: vendor, device and revision of the host bridge, or None.
        guest: what a hypervisor gives, or None.
        mcr: of a Centaur, the ranges that firmware left: index, then low and high half.
        release: the kernel's release.
        width_leaf: whether the CPU tells its width; 2.6.32 takes 36 bits where it does not.
    """

    bits: int
    vendor: str
    family: int
    model: int
    stepping: int
    phys_bits: int
    features: frozenset[str]
    options: tuple[tuple[str, str], ...] = ()
    pat: bool = True
    bridge: tuple[int, int, int] | None = None
    guest: Guest | None = None
    mcr: tuple[tuple[int, tuple[int, int]], ...] = ()
    release: Release = LINUX_6_18
    width_leaf: bool = True

    @property
    def ranges(self) -> frozenset[str]:
        """Those of its features that are ranges."""
        return self.features & RANGE_FEATURES

    @property
    def debug(self) -> bool:
        """Whether the kernel was asked to print more: `mtrr=debug`."""
        return ("mtrr", "debug") in self.options

    @property
    def no_pat(self) -> bool:
        """Whether page attributes were switched off: `nopat`."""
        return any(name == "nopat" for name, _ in self.options)

    @property
    def long_mask(self) -> int:
        """The bits of an unsigned long."""
        return (1 << self.bits) - 1

    @property
    def is_amd(self) -> bool:
        """Whether the CPU is AMD's or Hygon's."""
        return self.vendor in ("AMD", "Hygon")

    @property
    def may_have_tom2(self) -> bool:
        """Whether the kernel looks for a second top of memory."""
        last = self.release.tom2_family_max

        return self.is_amd and self.family >= 0xF and (last is None or self.family <= last)

    @property
    def guest_kind(self) -> str:
        """The kind of guest, or nothing."""
        return self.guest.kind if self.guest is not None else ""


@dataclass(slots=True)
class KernelLog:
    """What the kernel printed.

    Attributes:
        lines: level and text of each line.
        muted: whether lines are dropped: something looks, and is not the kernel.
    """

    lines: list[tuple[Level, str]] = field(default_factory=list)
    muted: bool = False

    def add(self, level: Level, text: str) -> None:
        """Print a line."""
        if not self.muted:
            self.lines.append((level, text))

    def take(self) -> list[tuple[Level, str]]:
        """What was printed since the last call."""
        lines, self.lines = self.lines, []

        return lines
