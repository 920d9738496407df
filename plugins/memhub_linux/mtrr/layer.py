"""Linux's memory type range registers: what drivers and `/proc/mtrr` share.

Each call answers a register's number, or a refusal with the errno; what the kernel prints goes to
its log. The state is plain data: a copy of the object is a copy of the kernel.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/mtrr.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_linux.cleanup.planner import Cleanup
from memhub_linux.cleanup.trimming import Trim, trim_memory
from memhub_linux.machine import KernelLog, Level, LinuxMachine
from memhub_linux.mtrr.boot import Booted, boot_kernel, warn_of_differences
from memhub_linux.mtrr.bridges import bridge_fault
from memhub_linux.refused import Refused
from memhub_linux.registers.generic import GenericMtrrs
from memhub_linux.registers.legacy import used_ranges
from memhub_linux.registers.old_generic import OFF, over_width
from memhub_linux.registers.ranges import BackEnd, Range
from memhub_linux.registers.type_map import UC, WB, WC, WT
from memhub_linux.texts import TYPE_NAMES, type_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub_linux.registers.cpus import Cpus

_PAGE: Final = 4096


class LinuxMtrr:
    """The MTRR layer of one kernel.

    Args:
        machine: the machine.
        cpus: its registers.
        early: stop before the end of boot, where the kernel tells of CPUs that differed.
        was: what a kernel that has booted has; it does not boot again.

    Attributes:
        booted: what the kernel has had since boot.
        log: what the kernel prints.
        back: the back end, or None where there is none.
        has_file: whether there is a `/proc/mtrr`.
        count: how many registers there are.
        counts: the use count of each.
        saved: while it sleeps, the ranges of a processor without Intel's MTRRs, by register.
    """

    def __init__(
        self, machine: LinuxMachine, cpus: Cpus, *, early: bool = False, was: Booted | None = None
    ) -> None:
        self.machine = machine
        self.cpus = cpus
        self.log = KernelLog()
        self.booted = booted = was or boot_kernel(machine, cpus, self.log)
        self.back: BackEnd | None = booted.back
        self.has_file = booted.has_file
        self.count = 0 if booted.back is None else booted.back.count
        self.counts = [1] * self.count
        self.saved: list[tuple[int, Range]] | None = None
        if was is None and not early:
            self.end_boot()

    def end_boot(self) -> None:
        """Tell of CPUs that differed, late in boot."""
        if self.booted.state is not None and self.back is not None:
            warn_of_differences(self.booted.state, self.log)

    def trim(self, ram: Sequence[tuple[int, int]]) -> Trim:
        """Reserve RAM that no write-back range covers, as late in boot.

        Args:
            ram: the RAM, first byte and one past the last, in order.
        """
        if not isinstance(self.back, GenericMtrrs):
            return Trim(max((end for _, end in ram), default=0) >> 12, trimmed=False, reserved=[])

        cleanup = Cleanup(self.machine, self.back, self.cpus, self.log)

        return trim_memory(cleanup, ram, changed=self.booted.changed)

    # Sleep

    def save_fixed(self) -> None:
        """Save the fixed registers, as before a processor starts."""
        if self.booted.state is not None:
            self.booted.state.save_before_start()

    def suspend(self) -> None:
        """Save what firmware may lose: the fixed registers, or the ranges of older processors."""
        self.save_fixed()
        if self.booted.state is None and self.back is not None:
            self.saved = used_ranges(self.back)

    def resume(self, msrs: Mapping[int, int], conf: Mapping[int, int]) -> None:
        """Wake up: firmware has set every CPU up anew, and the kernel stores its state."""
        if self.booted.state is not None and self.back is not None:
            self.booted.state.resume(msrs, conf)
            return

        if self.saved is None:
            self.suspend()

        self.cpus.reset(msrs, conf)
        for index, it in self.saved or ():
            assert self.back is not None
            self.back.set(index, it)

        self.saved = None

    # Ranges

    def table(self) -> list[list[int]]:
        """Base, size, type and use count of each register, in pages; the kernel prints nothing."""
        if self.back is None:
            return []

        self.log.muted = True
        rows = [[*self.back.get(it), self.counts[it]] for it in range(self.count)]
        self.log.muted = False

        return rows

    def add_page(self, base: int, size: int, type_: int, *, increment: bool) -> int:
        """Add a range, in pages (mtrr_add_page).

        Args:
            base: first page.
            size: pages.
            type_: the type.
            increment: whether the use of an existing register is counted.

        Returns:
            the register.

        Raises:
            Refused: the kernel answers an error.
        """
        if self.back is None:
            raise Refused("ENXIO")

        base, size = base & self.machine.long_mask, size & self.machine.long_mask
        new = Range(base, size, type_)
        self._check(new)
        replace = -1
        for index in range(self.count):
            old = self.back.get(index)
            if not old.size or base > old.base + old.size - 1 or base + size - 1 < old.base:
                continue

            if base < old.base or base + size - 1 > old.base + old.size - 1:
                if base <= old.base and base + size - 1 >= old.base + old.size - 1:
                    if type_ == old.type:
                        replace = index if replace == -1 else -2
                        continue

                    if _compatible(type_, old.type):
                        continue

                self._refuse(
                    f"0x{base:x}000,0x{size:x}000 overlaps existing "
                    f"0x{old.base:x}000,0x{old.size:x}000"
                )

            if old.type != type_:
                if _compatible(type_, old.type):
                    continue

                self._refuse(
                    f"type mismatch for {base:x}000,{size:x}000 old: {type_name(old.type)} "
                    f"new: {type_name(type_)}"
                )

            self.counts[index] += increment

            return index

        return self._take_register(new, replace, increment=increment)

    def _check(self, new: Range) -> None:
        assert self.back is not None
        fault = self.back.check(new)
        if fault is not None:
            if fault.printed:
                self.log.add("warn", fault.text)
                raise Refused("EINVAL")

            raise Refused("EINVAL", f"{new.base << 12:#x}/{new.size << 12:#x}: {fault.text}")

        if new.type >= len(TYPE_NAMES):
            self._refuse(f"type: {new.type} invalid")

        if new.type == WC and not self._has_write_combining():
            self._refuse("your processor doesn't support write-combining", "ENOSYS")

        if not new.size:
            self._refuse("zero sized request")

        if self._exceeds_width(new):
            self._refuse("base or size exceeds the MTRR width")

    def _exceeds_width(self, new: Range) -> bool:
        if self.machine.release.tests_last_page:
            last = new.base + new.size - 1 & self.machine.long_mask

            return bool((new.base | last) >> self.machine.phys_bits - 12)

        return bool((new.base | new.size) & over_width(self.machine))

    def _take_register(self, new: Range, replace: int, *, increment: bool) -> int:
        assert self.back is not None
        index = self.back.find_free(new.base, new.size, replace)
        if index is None:
            self._print("info", "no more MTRRs available")
            raise Refused("ENOSPC")

        self.back.set(index, new)
        if replace < 0:
            self.counts[index] = 1
            return index

        self.counts[index] = self.counts[replace] + increment
        if replace != index:
            self.back.set(replace, Range(0, 0, 0))
            self.counts[replace] = 0

        return index

    def _has_write_combining(self) -> bool:
        fault = bridge_fault(self.machine.bridge)
        if fault is not None:
            self._print("info", fault)
            return False

        assert self.back is not None

        return self.back.has_write_combining()

    def _refuse(self, line: str, errno: str = "EINVAL") -> None:
        self._print("warn", line)

        raise Refused(errno)

    def _print(self, level: Level, line: str) -> None:
        self.log.add(level, self.machine.release.prefix + line)

    def _print_debug(self, line: str) -> None:
        if not self.machine.release.asks_debug:
            self._print("debug", line)
        elif self.machine.debug:
            self._print("info", line)

    def add(self, base: int, size: int, type_: int, *, increment: bool) -> int:
        """Add a range, in bytes (mtrr_add); see `add_page`."""
        self._check_call(base, size)

        return self.add_page(base >> 12, size >> 12, type_, increment=increment)

    def _check_call(self, base: int, size: int) -> None:
        """What mtrr_add and mtrr_del look at, before they count in pages."""
        release = self.machine.release
        if self.back is None and not release.pages_first:
            raise Refused(release.absent)

        if (base | size) & _PAGE - 1:
            self._print("warn", "size and base must be multiples of 4 kiB")
            self._print_debug(f"size: 0x{size:x}  base: 0x{base:x}")
            self.log.add("trace", "(stack trace)")
            raise Refused("EINVAL")

    def delete_page(self, register: int, base: int, size: int) -> int:
        """Give a use of a register back, in pages (mtrr_del_page).

        Args:
            register: its number; -1 finds it by base and size.
            base: first page.
            size: pages.

        Raises:
            Refused: the kernel answers an error.
        """
        if self.back is None:
            raise Refused(self.machine.release.absent)

        if register < 0:
            for index in range(self.count):
                if self.back.get(index)[:2] == (base, size):
                    register = index
                    break
            else:
                self._print_debug(f"no MTRR for {base:x}000,{size:x}000 found")
                raise Refused("EINVAL", f"no register has {base << 12:#x}/{size << 12:#x}")

        if register >= self.count:
            self._refuse(f"register: {register} too big")

        if self.back.get(register).size < 1:
            self._refuse(f"MTRR {register} not used")

        if self.counts[register] < 1:
            self._refuse(f"reg: {register} has count=0")

        self.counts[register] -= 1
        if self.counts[register] < 1:
            self.back.set(register, Range(0, 0, 0))

        return register

    def delete(self, register: int, base: int, size: int) -> int:
        """Give a use of a register back, in bytes (mtrr_del); see `delete_page`."""
        self._check_call(base, size)

        return self.delete_page(register, base >> 12, size >> 12)

    # Types

    def look_up(self, start: int, end: int) -> tuple[int, bool | None]:
        """The type of a range of bytes (mtrr_type_lookup), and whether it is uniform.

        Returns:
            the type; for 2.6.32 without uniformity, and 254 or 255 where it knows none.
        """
        if self.booted.state is not None:
            return self.booted.state.look_up(start, end)

        return (OFF, None) if self.machine.release.old_registers else (UC, False)


def _compatible(one: int, other: int) -> bool:
    return UC in (one, other) or {one, other} == {WT, WB}
