"""Linux as `memhub compare` asks it: lines for `/proc/mtrr`, and KILL for a range that is to go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.plugin.comparing import UNSAID, RangeTold
from memhub.plugin.kernels import TYPE_NUMBERS
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.mtrr.proc_mtrr import Entry, ProcMtrr
from memhub_linux.refused import Refused
from memhub_linux.served.settings import setting_of
from memhub_linux.texts import TYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.plugin.comparing import RangeAsk
    from memhub.plugin.kernels import KernelMachine
    from memhub_linux.mtrr.proc_mtrr import OpenMtrr
    from memhub_linux.releases import Release


def add_line(base: int, length: int, type_: str) -> str:
    """The line for `/proc/mtrr` that adds a range.

    Args:
        base: first byte.
        length: bytes.
        type_: UC, WC, WT, WP or WB.
    """
    return f"base={base:#x} size={length:#x} type={TYPE_NAMES[TYPE_NUMBERS[type_]]}"


def add_command(base: int, length: int, type_: str) -> str:
    """The shell's command that writes `add_line`."""
    return f'echo "{add_line(base, length, type_)}" > /proc/mtrr'


class ComparedLinux:
    """One Linux that has booted, and the one process that asks it.

    Args:
        machine: what it boots on.
        release: its release.
    """

    def __init__(self, machine: KernelMachine, release: Release) -> None:
        setting = setting_of(machine, release)
        self._cpus = setting.start_cpus()
        self._kernel = LinuxMtrr(setting.machine, self._cpus)
        self._proc = ProcMtrr(self._kernel)
        self._bits = setting.machine.bits

    @property
    def msrs(self) -> Mapping[int, int]:
        """The registers of CPU 0."""
        return self._cpus.files[0]

    def ask(self, it: RangeAsk) -> RangeTold:
        """Open the file, ask, and leave it open; see `ComparedKernel`."""
        line = it.line
        if line is None and not it.clear:
            if it.type is None:
                return RangeTold(UNSAID, "/proc/mtrr takes exactly one type")

            line = add_line(it.base, it.length, it.type)

        if line is None and (it.base >> self._bits or it.length >> 44):
            return RangeTold(UNSAID, "a KILL does not hold such a number")

        self._kernel.log.take()
        try:
            file = self._proc.open(admin=True)
            if line is None:
                self._kill(file, it.base, it.length)
            else:
                self._proc.write(f"{line}\n".encode("latin-1"))
        except Refused as refused:
            return RangeTold(refused.errno, self._words())

        return RangeTold(None, self._words())

    def _kill(self, file: OpenMtrr, base: int, length: int) -> None:
        if length >> 32:  # the structure has 32 bits for it
            self._proc.ioctl(file, "KILL_PAGE", Entry(base >> 12, length >> 12))
        else:
            self._proc.ioctl(file, "KILL", Entry(base, length))

    def _words(self) -> str:
        return "; ".join(text for level, text in self._kernel.log.take() if level != "trace")
