"""Check an architecture: `check_arch` runs every rule and tells what does not hold."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from random import Random
from typing import TYPE_CHECKING, Any, Final

from memhub.core.asking.asked_driver import CallMark
from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check import arch_rules
from memhub.rig.arch_check.asking import Request, StoppedHere
from memhub.rig.arch_check.containing import Containment
from memhub.rig.arch_check.crowd_rules import CrowdChecker
from memhub.rig.arch_check.finding import ArchReport, Fault
from memhub.rig.arch_check.ground import CPUS, FIRMWARES, Ground, fault_of
from memhub.rig.arch_check.known_answers import KnownAnswers
from memhub.rig.arch_check.last_resort import LastResort
from memhub.rig.arch_check.machine_rules import check_machine
from memhub.rig.arch_check.memory_rules import (
    check_memory_of_machines,
    check_memory_of_process,
    memory_sequences,
    order_sequences,
)
from memhub.rig.arch_check.numbers import check_numbers
from memhub.rig.arch_check.other_process import check_other_process
from memhub.rig.arch_check.pair_rules import (
    PairChecker,
    count_free,
    fill_requests,
    mixed_fillings,
)
from memhub.rig.arch_check.running import LookedAt, Outcome, run_steps
from memhub.rig.arch_check.sequences import (
    edge_sequences,
    far_sequence,
    odd_sequence,
    random_sequences,
    script_sequence,
    short_sequences,
    undo_sequences,
)
from memhub.rig.arch_check.shapes import Shapes, find_shapes
from memhub.rig.arch_check.shrink import shrink_requests
from memhub.rig.arch_check.side_effects import Surroundings, tell_side_effects
from memhub.rig.arch_check.telling import Teller, unanswered_questions
from memhub.rig.arch_check.untouched import UntouchedProcess
from memhub.watchdog import DriverWatchdog

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from memhub.abi import RangeDesc
    from memhub.core.drivers.driver import Arch, Cpu

#: The thread that asks, and those of a watchdog and of the last resort.
_OWN_THREADS: Final = 3
#: Random sequences from which on other processes are asked too, which takes about a second.
_ELSEWHERE_LEAST: Final = 20
#: Slots from which on a part of the sequences is asked, and which part.
_LARGE: Final = 1024
_LARGE_SHARE: Final = 5
#: Random sequences for which the other random questions are drawn once.
_BATCH: Final = 150
#: Requests of a sequence, each of which is asked again in other ways.
_DEEP_MOST: Final = 40


def check_arch(
    arch: Arch,
    *,
    cpu: Cpu | None = None,
    options: Mapping[str, Any] | None = None,
    msrs: Mapping[int, int] | None = None,
    requests: Sequence[RangeDesc] = (),
    seed: int = 0,
    sequences: int = 40,
    limit: float = 1.0,
    seconds: float = 60.0,
    most: int = 100,
    mark: CallMark | None = None,
) -> ArchReport:
    """Check an architecture against the rules of `RULES`.

    On the main thread of a process, a call of the driver that hangs is stopped and told.
    What cannot be stopped, and a call that hangs on another thread, ends the process after ten
    limits, with a message.

    Args:
        arch: the architecture.
        cpu: the processor; None takes the first of a few usual ones that the driver serves.
        options: the machine's options.
        msrs: registers as firmware leaves them; None takes MTRRs that are on and free, which
            other architectures do not read.
        requests: ranges that the driver is known to take; by default the check looks for one.
        seed: chooses the random sequences; one seed gives one report.
        sequences: how many random sequences are asked; from 20 on a sound driver is also asked in
            processes with another seed of hashes. All else that is random is asked once for each
            150 of them.
        limit: seconds after which a call of the driver is stopped.
        seconds: how long to ask at most.
        most: how many findings end the check.
        mark: where the call under way is noted, for somebody who looks on.

    Returns:
        the report: each rule that does not hold, with the shortest sequence of requests that was
        found to show it.

    Raises:
        ValueError: a number is out of its range.
    """
    check_numbers(sequences, limit, seconds)
    check = _Check(arch, Teller(arch, most), seed, sequences, time.monotonic() + seconds)
    if mark is not None:
        check.mark = mark

    watched: AbstractContextManager[Any] = nullcontext()
    if threading.current_thread() is threading.main_thread():
        watchdog = DriverWatchdog(None, limit, lambda _: None)
        if mark is not None:
            watchdog.mark = mark

        watched, check.mark = watchdog, watchdog.mark

    with (
        UntouchedProcess(arch) as check.untouched,
        watched,
        LastResort(check.mark, limit),
        Containment(check.mark) as contained,
    ):
        before = Surroundings.look()
        with suppress(StoppedHere):
            check.run(cpu, dict(options or {}), msrs, requests)

        with suppress(StoppedHere):
            check.tell_side_effects(before, printed=contained.printed)

    return ArchReport(
        arch.name,
        tuple(check.teller.findings),
        check.requests,
        check.is_complete,
        tuple(check.teller.quirks),
    )


@dataclass(slots=True)
class _Check:
    arch: Arch
    teller: Teller
    seed: int
    sequences: int
    until: float
    mark: CallMark = field(default_factory=CallMark)
    requests: int = 0
    is_complete: bool = True
    untouched: UntouchedProcess | None = None
    _looked_at: LookedAt = field(default_factory=LookedAt)
    _crowd: CrowdChecker | None = None

    def run(
        self,
        cpu: Cpu | None,
        options: dict[str, Any],
        msrs: Mapping[int, int] | None,
        given: Sequence[RangeDesc],
    ) -> None:
        values = list(arch_rules.check_arch_values(self.arch, self.mark))
        self.teller.tell(None, values)
        if self.arch.driver is None or any(it.rule == "arch-values" for it in values):
            return

        ground = self._find_ground(cpu, options, msrs)
        if ground is None:
            return

        try:
            self._check_ground(ground, given)
        except StoppedHere:
            pass
        except DriverFailed as error:
            self.teller.tell(ground, [fault_of(error)])
        except DeviceError as error:
            self.teller.tell(ground, [Fault("raises", "", f"{type(error).__name__}: {error}")])
        finally:
            self.requests, self.is_complete = ground.requests, not ground.is_over

        for fault, requests in unanswered_questions(ground):
            self.teller.tell(ground, [fault], requests)

    def tell_side_effects(self, before: Surroundings, *, printed: bool) -> None:
        """Tell what the driver has left elsewhere in the process, and put it back."""
        self.teller.tell(None, tell_side_effects(before, _OWN_THREADS, printed=printed))

    # Where to check

    def _find_ground(
        self, cpu: Cpu | None, options: dict[str, Any], msrs: Mapping[int, int] | None
    ) -> Ground | None:
        """A machine that has slots; what keeps one from being made is told."""
        faults: list[tuple[Ground, Fault]] = []
        usual = CPUS if self.arch.cpu is None else (self.arch.cpu, *CPUS)
        for chosen in (cpu,) if cpu is not None else usual:
            for registers in (msrs,) if msrs is not None else FIRMWARES:
                ground = Ground(self.arch, chosen, options, registers, self.mark, until=self.until)
                fault = arch_rules.start_ground(ground)
                if fault is None and ground.start is not None and ground.start.slots:
                    ground.clean = msrs is None
                    return ground

                if fault is not None:
                    faults.append((ground, fault))
                    if fault.rule == "hangs":
                        self.teller.tell(ground, [fault])
                        return None

        if faults:
            self.teller.tell(faults[0][0], [faults[0][1]])
        else:
            words = "no CPU and no registers that the kit knows give it any slot"
            self.teller.tell(ground, [Fault("no-slots", "attach", words)])

        return None

    # What is checked

    def _check_ground(self, ground: Ground, given: Sequence[RangeDesc]) -> None:
        assert ground.start is not None
        random = Random(self.seed)  # noqa: S311 - choices for a test
        self.teller.tell(ground, arch_rules.check_start(ground))
        shapes = find_shapes(ground, count_free(ground), given)
        if not isinstance(shapes, Shapes):
            self.teller.tell_nothing_granted(ground, shapes)
            return

        # what is asked grows with the table, and so does each answer
        share = 1 if len(ground.start.slots) < _LARGE else _LARGE_SHARE
        first = short_sequences(shapes)
        first = [*first[:-1:share], first[-1]]
        outcomes = [self._take(ground, it) for it in first]
        for it in (script_sequence(shapes), far_sequence(shapes), *undo_sequences(shapes)):
            self._take(ground, it)

        # what a driver remembers may look like a breach of the rules below
        self._check_memory(ground, memory_sequences(shapes))
        for edge in edge_sequences(ground, shapes):
            self._take(ground, edge, deep=False)

        for order in order_sequences(shapes):
            self._take(ground, order)

        self._take(ground, odd_sequence(ground, shapes), deep=False)
        for filling in (fill_requests(shapes), *mixed_fillings(shapes)):
            self._take(ground, filling, deep=len(filling) <= _DEEP_MOST)

        known = KnownAnswers(ground)
        for requests, fault in PairChecker(ground, shapes, known).check_pairs():
            self.teller.tell(ground, [fault], requests)

        crowd = CrowdChecker(ground, shapes, known)
        for requests, fault in crowd.check_pairs():
            self.teller.tell(ground, [fault], requests)

        self._crowd = crowd
        later = random_sequences(ground, shapes, random, -(-self.sequences // share))
        for it in later:
            self._take(ground, it)

        batches = max(1, self.sequences // _BATCH)
        elsewhere = (first[-1], *later[: 3 * batches])
        for it in elsewhere:
            for fault in check_machine(ground, it):
                self.teller.tell(ground, [fault], it)

        if ground.is_over:
            return

        for asked, fault in check_memory_of_machines(ground, first, outcomes):
            self.teller.tell(ground, [fault], asked)

        for number in range(batches):
            self._check_memory(ground, [*first[:-1:4], *later[number * _BATCH :]])

        self.teller.tell(ground, arch_rules.check_options(ground))
        for other, fault in arch_rules.check_starts(ground, random, first[-1], batches):
            self.teller.tell(other, [fault])
            if fault.rule == "hangs":
                break

        if self.sequences >= _ELSEWHERE_LEAST and not self.teller.findings:
            for shown, fault in check_other_process(ground, elsewhere):
                self.teller.tell(ground, [fault], shown)

    def _check_memory(self, ground: Ground, sequences: Sequence[list[Request]]) -> None:
        if self.untouched is not None:
            for shown, fault in check_memory_of_process(ground, self.untouched, sequences):
                self.teller.tell(ground, [fault], shown)

    def _take(self, ground: Ground, requests: Sequence[Request], *, deep: bool = True) -> Outcome:
        done = run_steps(ground, requests, deep=deep, looked_at=self._looked_at)
        for number, fault in [*done.faults, *self._check_crowd(requests, done)]:
            if self.teller.is_known(fault):
                continue

            shown = list(requests[: number + 1])
            if fault.rule != "slow" and (fault.rule != "hangs" or len(shown) > 1):
                shown = shrink_requests(shown, self._shower(ground, fault))

            told = self._find_fault(ground, shown, fault) or fault
            self.teller.tell(ground, [told], shown)

        return done

    def _shower(self, ground: Ground, fault: Fault) -> Any:  # noqa: ANN401 - a function
        def shows(candidate: Sequence[Request]) -> bool:
            return self._find_fault(ground, candidate, fault) is not None

        return shows

    def _check_crowd(
        self, requests: Sequence[Request], done: Outcome
    ) -> Iterable[tuple[int, Fault]]:
        return () if self._crowd is None else self._crowd.check_outcome(requests, done)

    def _find_fault(
        self, ground: Ground, requests: Sequence[Request], fault: Fault
    ) -> Fault | None:
        if fault.rule == "slow":
            return None

        if fault.rule == "hangs":
            ground = replace(ground, hung=set())

        done = run_steps(ground, requests, deep=fault.rule != "hangs")
        for _, it in [*done.faults, *self._check_crowd(requests, done)]:
            if (it.rule, it.method) == (fault.rule, fault.method):
                return it

        return None
