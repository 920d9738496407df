"""What is wrong with a machine's registers, as a value, and what that does to them.

The range table has the registers of CPU 0: it answers requests and is the one that the kernel reads
back (FreeBSD `x86_mrfetch`: "from the current CPU (assumed to all be in sync in the SMP case)").
Of another CPU only the registers are kept that differ from those. A machine with nothing wrong has
no Health at all.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from memhub.core.asking.asked_hardware import ask_fetch, ask_reinit, ask_store
from memhub.core.drivers.driver import RangeState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.core.health.sickness import Moment, Sickness

    Registers = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class ActiveSickness:
    """A sickness that a machine has.

    Attributes:
        sickness: which, with its name.
        bits: the registers that it is about, each with the bits that it keeps or clears.
        count: how often it has struck.
    """

    sickness: Sickness
    bits: tuple[tuple[int, int], ...] = ()
    count: int = 0

    @property
    def spent(self) -> bool:
        """Whether it strikes no more."""
        times = self.sickness.times

        return times is not None and self.count >= times

    def as_dict(self) -> dict[str, Any]:
        """The sickness and its count, for JSON."""
        return {**self.sickness.as_dict(), "count": self.count}


@dataclass(frozen=True, slots=True)
class Health:
    """What is wrong with a machine.

    Attributes:
        sicknesses: those that it has, in the order in which they were added.
        cpus: by CPU, the registers that differ from those of CPU 0.
        suspended_ns: since when the machine is suspended, wall clock; None while it runs.
        strayed: the registers of CPU 0 are not what re-initialisation would make of them.
    """

    sicknesses: tuple[ActiveSickness, ...] = ()
    cpus: Mapping[int, Registers] = field(default_factory=dict)
    suspended_ns: int | None = None
    strayed: bool = False

    def settled(self) -> Health | None:
        """The same, or None where nothing is wrong."""
        wrong = self.sicknesses or self.cpus or self.strayed or self.suspended_ns is not None

        return self if wrong else None

    def find(self, name: str) -> ActiveSickness | None:
        """The sickness of a name."""
        return next((it for it in self.sicknesses if it.sickness.name == name), None)

    def without(self, name: str) -> Health:
        """The same without a sickness; registers stay as they are."""
        kept = tuple(it for it in self.sicknesses if it.sickness.name != name)

        return replace(self, sicknesses=kept)

    def counted(self, names: Collection[str]) -> Health:
        """The same after some sicknesses have struck once more."""
        return replace(
            self,
            sicknesses=tuple(
                replace(it, count=it.count + 1) if it.sickness.name in names else it
                for it in self.sicknesses
            ),
        )

    def file_of(self, cpu: int, first: Registers) -> Registers:
        """The registers of a CPU.

        Args:
            cpu: its number.
            first: the registers of CPU 0.
        """
        own = self.cpus.get(cpu)

        return {**first, **own} if own else first

    def live(self, action: str, cpu: int) -> Iterator[ActiveSickness]:
        """The sicknesses of a kind that strike a CPU now."""
        for it in self.sicknesses:
            if it.sickness.action == action and it.sickness.strikes(cpu) and not it.spent:
                yield it

    def misses_stores(self, cpu: int) -> bool:
        """Whether what is stored does not reach a CPU."""
        return any(it.sickness.misses_stores for it in self.live("cpu_out_of_step", cpu))

    def keep(self, cpu: int, old: Registers, new: Registers) -> tuple[Registers, set[str]]:
        """What becomes of registers that a CPU stores.

        Args:
            cpu: its number.
            old: its registers before.
            new: what it stores.

        Returns:
            its registers, and the names of the sicknesses that made them other than stored.
        """
        found = dict(new)
        names: set[str] = set()
        for action in ("mask_holes", "lost_store", "stuck_slot"):
            for it in self.live(action, cpu):
                for number, bits in it.bits:
                    wanted = found.get(number, 0)
                    held = 0 if action == "mask_holes" else old.get(number, 0) & bits
                    if wanted & bits != held:
                        found[number] = wanted & ~bits | held
                        names.add(it.sickness.name)

        return found, names


@dataclass(frozen=True, slots=True)
class CpuFiles:
    """The registers of all CPUs at one moment.

    Attributes:
        files: the registers by number of the CPU.
        struck: the names of the sicknesses that have just struck.
    """

    files: Mapping[int, Registers]
    struck: frozenset[str] = frozenset()

    @property
    def first(self) -> Registers:
        """Those of CPU 0."""
        return self.files[0]

    def differences(self) -> dict[int, Registers]:
        """By CPU, the registers that differ from those of CPU 0."""
        first = self.first
        found: dict[int, Registers] = {}
        for cpu, mine in self.files.items():
            if mine is first:
                continue

            other = {it: mine.get(it, 0) for it in {**first, **mine}}
            other = {it: value for it, value in other.items() if value != first.get(it, 0)}
            if other:
                found[cpu] = dict(sorted(other.items()))

        return found


def files_of(health: Health, first: Registers, count: int) -> CpuFiles:
    """The registers that the CPUs have now.

    Args:
        health: what is wrong with them.
        first: the registers of CPU 0.
        count: how many CPUs there are.
    """
    return CpuFiles({cpu: health.file_of(cpu, first) for cpu in range(count)})


def store_everywhere(
    health: Health, driver: AskedDriver, old: CpuFiles, meant: RangeState
) -> CpuFiles:
    """The registers of all CPUs after a MEMRANGE_SET, which rewrites all of them on each.

    Source: FreeBSD `x86_mrstore`, `x86_mrstoreone`.

    Args:
        health: what is wrong with them.
        driver: the machine's driver.
        old: the registers before.
        meant: the table that is stored, and the registers that it would make of CPU 0's.
    """
    files: dict[int, Registers] = {}
    struck: set[str] = set()
    alike = ask_store(driver, meant)  # of each CPU that is in step
    for cpu, before in old.files.items():
        if health.misses_stores(cpu):
            files[cpu] = before
            continue

        stored = alike
        if before is not old.first:
            stored = ask_store(driver, RangeState(meant.slots, before))

        files[cpu], names = health.keep(cpu, before, stored)
        struck |= names

    return CpuFiles(files, frozenset(struck))


def reinit_everywhere(
    health: Health,
    driver: AskedDriver,
    old: CpuFiles,
    slots: RangeState,
    attached: Registers,
    missed: frozenset[int] = frozenset(),
) -> CpuFiles:
    """The registers of all CPUs after the kernel's re-initialisation.

    Source: FreeBSD `x86_mrreinit`, `x86_mrAPinit`: each CPU stores the table and the default type.

    Args:
        health: what is wrong with them.
        driver: the machine's driver.
        old: the registers before.
        slots: the table.
        attached: the registers that the driver attached to.
        missed: CPUs that it does not reach, beside those that miss what is stored.
    """
    files: dict[int, Registers] = {}
    struck: set[str] = set()
    alike = ask_reinit(driver, RangeState(slots.slots, old.first), attached)
    for cpu, before in old.files.items():
        if cpu in missed or health.misses_stores(cpu):
            files[cpu] = before
            continue

        after = alike
        if before is not old.first:
            after = ask_reinit(driver, RangeState(slots.slots, before), attached)

        files[cpu], names = health.keep(cpu, before, after)
        struck |= names

    return CpuFiles(files, frozenset(struck))


def rewrite_by_firmware(health: Health, moment: Moment, old: CpuFiles) -> CpuFiles:
    """The registers of all CPUs after firmware has rewritten some at a moment."""
    files: dict[int, Registers] = {}
    struck: set[str] = set()
    for cpu, before in old.files.items():
        files[cpu] = before
        for it in health.live("firmware_rewrite", cpu):
            if it.sickness.moment == moment:
                files[cpu] = {**files[cpu], **it.sickness.registers}
                struck.add(it.sickness.name)

    return CpuFiles(files, frozenset(struck))


def read_back(
    health: Health,
    driver: AskedDriver,
    before: RangeState,
    meant: RangeState,
    msrs: Registers,
    labels: Mapping[int, bytes],
) -> tuple[RangeDesc, ...]:
    """The slots after a MEMRANGE_SET on a machine with something wrong.

    Args:
        health: what is wrong.
        driver: the machine's driver.
        before: the state before.
        meant: the table that was stored, as it would have been read back.
        msrs: what CPU 0 has of it.
        labels: `mr_owner` of the slots that were written, as it was before reading back; a driver
            that reads back may label what it finds.
    """
    slots = list(meant.slots)
    if msrs != meant.msrs and driver.raw.rereads:
        for slot, row in enumerate(slots):
            label = labels.get(slot, before.slots[slot].mr_owner)
            if label != row.mr_owner:
                slots[slot] = replace(row, mr_owner=label)

        for slot, row in ask_fetch(driver, RangeState(tuple(slots), msrs)).items():
            slots[slot] = row

    for it in health.live("stuck_slot", 0):
        stuck = it.sickness.slot
        if stuck is not None and not it.bits:  # no register holds it
            slots[stuck] = before.slots[stuck]

    return tuple(slots)
