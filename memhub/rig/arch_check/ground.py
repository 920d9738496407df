"""The machine that the conformance kit asks: a CPU, options, registers, and drivers for them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memhub.core.asking.asked_driver import AskedDriver, CallMark
from memhub.core.drivers.driver import Cpu, RangeDriver
from memhub.core.spec import MachineSpec
from memhub.errors import DriverFailed
from memhub.rig.arch_check.finding import Fault
from memhub.x86.registers import FIXED_MSRS, MSR_MTRR_DEF_TYPE, MSR_MTRRCAP

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch, RangeState

#: CPUs that drivers are known for; the first that a driver serves is taken.
CPUS: Final = (
    Cpu(),
    Cpu(vendor="AMD", signature=0x58C, phys_bits=36),
    Cpu(vendor="AMD", signature=0x800F12, phys_bits=48),
    Cpu(vendor="Centaur", signature=0x6F0),
    Cpu(vendor="PowerPC", signature=0, mtrr=False),
    Cpu(vendor="ARM", signature=0, phys_bits=48, mtrr=False),
    Cpu(phys_bits=32),
)
#: MTRRs as firmware leaves them: on, write-back, eight variable ranges, all free.
_CLEAN: Final[Mapping[int, int]] = {
    MSR_MTRRCAP: 0x508,
    MSR_MTRR_DEF_TYPE: 0xC06,
    **dict.fromkeys(FIXED_MSRS, 0x0606060606060606),
}
FIRMWARES: Final[tuple[Mapping[int, int], ...]] = (_CLEAN, {})
MACHINE_NAME: Final = "check"
#: Seconds for which a slow driver is asked on.
_SLOW_LASTS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Backing:
    """The slots that registers decide, and the registers that were seen to do so."""

    slots: frozenset[int]
    registers: frozenset[int]


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """A question without an answer, whoever asked it.

    Attributes:
        fault: what is wrong.
        state: the state in which it was asked.
        request: the request, in words; None where the types were asked for.
    """

    fault: Fault
    state: RangeState
    request: Any


@dataclass(slots=True)
class Ground:
    """One machine, and what is asked of it.

    Attributes:
        arch: the architecture.
        cpu: the processor.
        options: the machine's options.
        msrs: the registers as firmware left them.
        mark: where a watchdog sees the call that is under way.
        start: the first state; None where the driver does not serve the CPU.
        clean: the registers are those that types are compared with.
        requests: how many requests were asked.
        hung: methods that hung once; they are not asked again.
        until: when to ask no more, on the clock `time.monotonic`.
        rereads: what the driver says of itself.
        stops_at_free: what the driver says of itself.
        backing: the slots that registers decide; None while nobody has looked.
        unanswered: the first question of each kind without an answer, by rule and method.
    """

    arch: Arch
    cpu: Cpu
    options: Mapping[str, Any]
    msrs: Mapping[int, int]
    mark: CallMark = field(default_factory=CallMark)
    start: RangeState | None = None
    clean: bool = True
    requests: int = 0
    hung: set[str] = field(default_factory=set)
    until: float = math.inf
    rereads: bool = False
    stops_at_free: bool = False
    backing: Backing | None = None
    unanswered: dict[tuple[str, str], NoAnswer] = field(default_factory=dict)

    def note_unanswered(self, fault: Fault, state: RangeState, request: Any = None) -> None:  # noqa: ANN401 - a Request
        """Keep a question without an answer, to be told where nobody else does."""
        if fault.rule == "hangs":
            self.hung.add("types" if request is None else request.op)

        self.unanswered.setdefault((fault.rule, fault.method), NoAnswer(fault, state, request))

    def new_driver(self) -> AskedDriver:
        """A driver that was asked nothing yet.

        Raises:
            DriverFailed: it cannot be made.
            OptionError: an option is wrong.
        """
        spec = MachineSpec(
            name=MACHINE_NAME, arch=self.arch.name, cpu=self.cpu, options=dict(self.options)
        )
        return make_watched(spec, self.arch, self.mark)

    def attach(self, driver: AskedDriver) -> RangeState | None:
        """The first state of a driver; the registers are given as a copy."""
        return driver.attach(dict(self.msrs))

    def hurry(self) -> None:
        """Ask no more after a few seconds: the driver is slow."""
        self.until = min(self.until, time.monotonic() + _SLOW_LASTS)

    @property
    def is_over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() > self.until

    @property
    def end(self) -> int:
        """One past the last address of the CPU."""
        return 1 << self.cpu.phys_bits

    def in_words(self) -> str:
        """What the machine is, for a finding."""
        cpu = self.cpu
        words = f"{cpu.vendor} {cpu.signature:#x}, {cpu.phys_bits} address bits"
        if self.options:
            words += f", options {dict(self.options)!r:.200}"

        known = "clean MTRRs" if self.msrs == _CLEAN else "no registers"
        if self.msrs and self.msrs != _CLEAN:
            known = "registers " + ", ".join(f"{k:#x}={v:#x}" for k, v in self.msrs.items())

        return f"{words}, {known[:400]}"


class Making(RangeDriver):
    """Stands for a driver that is being made, where a watchdog looks."""

    attach = update = remove = restore = types = None  # type: ignore[assignment]


def make_watched(spec: MachineSpec, arch: Arch, mark: CallMark) -> AskedDriver:
    """Make a driver, where a watchdog can stop it.

    Raises:
        DriverFailed: it cannot be made.
        OptionError: an option is wrong.
    """
    making = AskedDriver(Making(), arch, spec.name)
    mark.call = (making, "driver")
    try:
        driver = AskedDriver.make(spec, arch)
    except KeyboardInterrupt as error:
        if mark.interrupts:
            raise

        raise DriverFailed(f"{making.named('driver')}, failed with KeyboardInterrupt") from error
    finally:
        mark.call = None

    assert driver is not None
    driver.mark = mark

    return driver


def fault_of(error: DriverFailed) -> Fault:
    """The fault that an answer which is none shows."""
    from memhub.core.asking.driver_answers import DriverStopped, Nonsense

    words = error.reason
    method = words.partition(", the driver of ")[0].rpartition(".")[2]
    what = words.partition(", the driver of ")[2].partition(", ")[2] or words
    cause = error.__cause__
    if isinstance(cause, DriverStopped):
        return Fault("hangs", method, what)

    if isinstance(cause, Nonsense):
        return Fault("nonsense", method, what)

    return Fault("raises", method, what)
