"""Sick hardware of a hub, and suspend and resume of its machines.

What is decided is in `memhub.core.deciding.hardware`; docs/faults.md has it in words.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, final

from memhub.arguments import take_kind, take_text
from memhub.core.deciding.cpu_check import decide_check
from memhub.core.deciding.hardware import (
    decide_cure,
    decide_reinit,
    decide_resume,
    decide_sicken,
    decide_suspend,
    named_for,
)
from memhub.core.health.sickness import Sickness
from memhub.errors import NoSuchRange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeAlias

    from memhub.core.decision import Decision
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.files import Principal
    from memhub.core.health.hardware_events import CpuDifference
    from memhub.core.health.health import ActiveSickness
    from memhub.core.instant import Instant
    from memhub.core.machine import Machine
    from memhub.engine.engine import Engine
    from memhub.faults.hub_rules import FaultRules

    Decide: TypeAlias = Callable[[Machine, Instant, Principal | None], Decision]


@final
class MachineSickness:
    """A sickness that a machine of a hub has; leave its `with` block, or call `remove`, to end it.

    Attributes:
        sickness: which, with its name and its machine.
    """

    def __init__(self, hardware: Hardware, sickness: Sickness) -> None:
        self.sickness = sickness
        self._hardware = hardware

    def __repr__(self) -> str:
        return f"<MachineSickness {self.sickness.name!r} of {self.sickness.machine}>"

    @property
    def count(self) -> int:
        """How often it has struck; of one that has ended, 0."""
        active = self._hardware.find(self.sickness.name)

        return 0 if active is None else active.count

    def remove(self) -> None:
        """End it; the registers stay as they are. Twice is once."""
        if self._hardware.find(self.sickness.name) is not None:
            self._hardware.remove(self.sickness.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


@final
class Hardware:
    """What is wrong with the machines of one hub.

    Each change is a record of the log, as a request's is; LogFailed (EIO) where it cannot be.

    Args:
        engine: the hub's synchronous half.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._later: list[Sickness] = []
        self._begun = False

    def begin(self) -> None:
        """Make the machines sick that were to be so from the start; their records begin now."""
        later, self._later = self._later, []
        self._begun = True
        for sickness in later:
            self.add(sickness)

    def __iter__(self) -> Iterator[ActiveSickness]:
        for machine in self._engine.machines.values():
            if machine.health is not None:
                yield from machine.health.sicknesses

    def find(self, name: str) -> ActiveSickness | None:
        """The sickness of a name, of any machine."""
        return next((it for it in self if it.sickness.name == name), None)

    def add(self, sickness: Sickness, *, by: Principal | None = None) -> MachineSickness:
        """Make something wrong with a machine.

        Args:
            sickness: what; without a name it is called `MACHINE-sick-1` and so on.
            by: who asks, for the log.

        Returns:
            the sickness as the hub has it; in `with`, it ends with the block.

        Raises:
            InvalidArgument: EINVAL; its name is in use, or the machine has no such slot, register
                or CPU, or cannot have these registers.
            NoSuchDevice: ENOENT; there is no such machine.
            NotSupported: EOPNOTSUPP; the machine has no ranges.
            NoRanges: ENXIO; likewise.
            TypeError: it is no Sickness.
        """
        take_kind("sickness", sickness, Sickness)
        machine = self._engine.machine(sickness.machine or "")
        taken = [it.sickness.name for it in self] + [it.name for it in self._later]
        named = named_for(machine, sickness, taken)
        if self._begun:
            now = self._engine.catch_up()
            self._engine.perform(machine, decide_sicken(machine, named, now, by))
        else:
            decide_sicken(machine, named, self._engine.now(), by)  # refuses what does not fit
            self._later.append(named)

        return MachineSickness(self, named)

    def remove(self, name: str, *, by: Principal | None = None) -> ActiveSickness:
        """End a sickness; the registers stay as they are until something is stored in them.

        Returns:
            what the machine had.

        Raises:
            NoSuchRange: ENOENT; there is no such sickness.
        """
        take_text("name", name)
        for machine in self._engine.machines.values():
            found = None if machine.health is None else machine.health.find(name)
            if found is not None:
                now = self._engine.catch_up()
                self._engine.perform(machine, decide_cure(machine, name, now, by))
                return found

        raise NoSuchRange(f"there is no sickness {name!r}")

    def check_cpus(
        self, machine: str | None = None, *, by: Principal | None = None
    ) -> tuple[CpuDifference, ...]:
        """Compare the registers of a machine's CPUs.

        Args:
            machine: the machine's name, or None for the default one.
            by: who asks, for the log.

        Returns:
            those that are out of step, by number; CPU 0 is judged by the table, the others by it.

        Raises:
            DeviceError: EAGAIN; the machine is suspended, and no CPU reads its registers.
            NotSupported, NoRanges: it has no ranges.
        """
        found: tuple[CpuDifference, ...] = self._perform(machine, decide_check, by)

        return found

    def reinit(self, machine: str | None = None, *, by: Principal | None = None) -> None:
        """Let every CPU write the table into its registers, as FreeBSD does at a resume.

        Raises:
            DeviceError: EAGAIN; the machine is suspended, and re-initialises as it resumes.
            NotSupported, NoRanges: it has no ranges.
        """
        self._perform(machine, decide_reinit, by)

    def suspend(self, machine: str | None = None, *, by: Principal | None = None) -> None:
        """Suspend a machine: what is asked of it is refused with EAGAIN until it is resumed.

        Raises:
            InvalidArgument: EINVAL; it is suspended.
            RangeBusy: EBUSY; a MEMRANGE_SET is on its way to all CPUs.
        """
        self._perform(machine, decide_suspend, by)

    def resume(self, machine: str | None = None, *, by: Principal | None = None) -> None:
        """Resume a machine, and serve those who wait for its ranges.

        Raises:
            InvalidArgument: EINVAL; it is not suspended.
        """
        self._perform(machine, decide_resume, by)

    def _perform(self, name: str | None, decide: Decide, by: Principal | None) -> Any:  # noqa: ANN401 - its reply
        engine = self._engine
        machine = engine.machine("" if name is None else take_text("machine", name))
        decision = decide(machine, engine.catch_up(), by)
        engine.perform(machine, decision)

        return decision.reply


def add_faults(
    given: Iterable[FaultRule | Sickness], rules: FaultRules, hardware: Hardware
) -> None:
    """Add what a configuration has under `[[faults]]`; errors are those of either `add`."""
    for it in given:
        if isinstance(it, Sickness):
            hardware.add(it)
        else:
            rules.add(it)
