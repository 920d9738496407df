"""Requests of the conformance kit, and what a driver answers to them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

from memhub.abi import (
    MDF_ACTIVE,
    MDF_ATTRMASK,
    MDF_FIXACTIVE,
    MDF_FIXBASE,
    MDF_FIXLEN,
    MDF_FORCE,
    MEMRANGE_SET_REMOVE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
)
from memhub.core.asking.driver_answers import DriverStopped
from memhub.core.drivers.driver import RangeState
from memhub.core.requests import SetRange
from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.finding import Fault
from memhub.rig.arch_check.ground import Ground, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.core.asking.asked_driver import AskedDriver, Plan
    from memhub.core.effective.typemap import TypeMap

T = TypeVar("T")

FIXED: Final = MDF_FIXBASE | MDF_FIXLEN | MDF_FIXACTIVE
#: Seconds that a call may take, and that each slot adds to them.
_CALL_MOST: Final = 0.01
_SLOT_ADDS: Final = 20e-6
#: The same for `types`.
_TYPES_MOST: Final = 0.05
_TYPES_SLOT_ADDS: Final = 100e-6


class Request(NamedTuple):
    """One MEMRANGE_SET: `update` or `remove`, with its descriptor."""

    op: str
    desc: RangeDesc

    def __str__(self) -> str:
        return f"{self.op} {self.desc}"

    @property
    def attribute(self) -> int:
        """The attribute bits."""
        return self.desc.mr_flags & MDF_ATTRMASK


class StoppedHere(Exception):
    """Raised where a method hung before and is not asked again, or the time is over."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a driver made of a request: a plan, a refusal, or no answer at all.

    Attributes:
        plan: what it would change.
        refusal: why it refuses.
        fault: what is wrong with the answer.
        slow: seconds that the call took, if they were too many.
    """

    plan: Plan | None = None
    refusal: DeviceError | None = None
    fault: Fault | None = None
    slow: float = 0.0

    def same_as(self, other: Answer) -> bool:
        """Whether two answers say the same, `settled` aside."""
        return self.essence() == other.essence()

    def essence(self) -> tuple[object, ...]:
        """What counts of an answer."""
        if self.plan is not None:
            after = self.plan.after
            msrs = tuple(sorted((k, v) for k, v in after.msrs.items() if v))
            return "granted", tuple(sorted(self.plan.change.wrote)), after.slots, msrs

        if self.refusal is not None:
            return "refused", self.refusal.code, self.refusal.reason, self.refusal.obstacles

        return "failed", self.fault

    def in_words(self) -> str:
        """The answer, for a person."""
        if self.plan is not None:
            wrote = ", ".join(f"slot {it} {self.plan.after.slots[it]}" for it in self.plan[0].wrote)
            return f"granted: {wrote[:300] or 'no slot'}"

        if self.refusal is not None:
            return f"refused: {self.refusal}"[:300]

        return "no answer" if self.fault is None else f"no answer: {self.fault.words}"[:300]


def ask_driver(ground: Ground, driver: AskedDriver, state: RangeState, it: Request) -> Answer:
    """What a driver answers to a request.

    Raises:
        StoppedHere: the method hung before, or the time is over.
    """
    if it.op in ground.hung or ground.is_over:
        raise StoppedHere

    ground.requests += 1
    arg = MEMRANGE_SET_REMOVE if it.op == "remove" else MEMRANGE_SET_UPDATE
    request = SetRange(0, arg, it.desc)
    began = time.perf_counter()
    try:
        plan = driver.plan_set(state, request)
    except DriverFailed as error:
        fault = fault_of(error)
        ground.note_unanswered(fault, state, it)

        return Answer(fault=fault)
    except DeviceError as error:
        return Answer(refusal=error, slow=_took_too_long(began, state))

    return Answer(plan, slow=_took_too_long(began, state))


def call_limit(state: RangeState) -> float:
    """Seconds that a call may take that is not of `types`."""
    return _CALL_MOST + _SLOT_ADDS * len(state.slots)


def _took_too_long(began: float, state: RangeState) -> float:
    took = time.perf_counter() - began

    return took if took > call_limit(state) else 0.0


def confirm_slow(ground: Ground, state: RangeState, ask: Callable[[], Answer]) -> float:
    """The least seconds of three calls, if even they are too many: a host may be busy."""
    least, counted = float("inf"), ground.requests
    for _ in range(3):
        answer = ask()
        ground.requests = counted
        if not answer.slow:
            return 0.0

        least = min(least, answer.slow)

    return least


def time_call(most: float, call: Callable[[], T]) -> tuple[T, float]:
    """A call's answer, and its seconds if they are more than `most`, also the least of three."""
    began = time.perf_counter()
    answer = call()
    least = time.perf_counter() - began
    for _ in range(2):
        if least <= most:
            return answer, 0.0

        began = time.perf_counter()
        call()
        least = min(least, time.perf_counter() - began)

    return answer, least if least > most else 0.0


def ask_types(ground: Ground, driver: AskedDriver, state: RangeState) -> TypeMap | Fault:
    """The types of a state, or what is wrong with the answer.

    Raises:
        StoppedHere: the method hung before, or the time is over.
    """
    if "types" in ground.hung or ground.is_over:
        raise StoppedHere

    most = _TYPES_MOST + _TYPES_SLOT_ADDS * len(state.slots)
    try:
        answer, slow = time_call(most, lambda: driver.types(state))
        if slow:
            ground.hurry()
            return Fault("slow", "types", f"took {slow * 1000:.0f} ms, three times")

        return answer
    except DriverFailed as error:
        fault = fault_of(error)
        ground.note_unanswered(fault, state)

        return fault
    except DeviceError as error:
        return Fault("raises", "types", f"failed with {type(error).__name__}: {error}")


def find_extent(driver: AskedDriver, state: RangeState, slot: int) -> tuple[int, int]:
    """What `extent` says of a slot, without a check: (0, 0) if it fails.

    Raises:
        DriverFailed: it hangs.
    """
    mark = driver.mark
    mark.call = (driver, "extent")
    try:
        lo, hi = driver.raw.extent(state, slot)
    except DriverStopped as error:
        raise DriverFailed(f"{driver.named('extent')}, {error}") from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and mark.interrupts:
            raise

        return 0, 0  # told where the bounds of a plan are asked for
    finally:
        mark.call = None

    return (lo, hi) if type(lo) is type(hi) is int else (0, 0)


def is_held(driver: AskedDriver, state: RangeState, slot: int) -> bool:
    """Whether a slot holds a range that counts."""
    row = state.slots[slot]
    if not row.mr_len:
        return False

    lo, hi = find_extent(driver, state, slot)

    return bool(row.mr_flags & MDF_ACTIVE) or lo < hi


def is_same_range(one: RangeDesc, other: RangeDesc) -> bool:
    """Whether two descriptors have one base and length."""
    return one.mr_base == other.mr_base and one.mr_len == other.mr_len


def is_plain(ground: Ground, it: Request) -> bool:
    """Whether nothing is odd about a request: one attribute that there is, inside the CPU."""
    desc, attribute = it.desc, it.attribute

    return (
        desc.mr_len > 0
        and desc.mr_end <= ground.end
        and bool(desc.mr_owner.rstrip(b"\0"))
        and (it.op == "remove" or desc.mr_flags & ~MDF_FORCE == attribute & ground.arch.attributes)
        and attribute & (attribute - 1) == 0
        and (it.op == "remove" or attribute != 0)
    )


def copy_state(state: RangeState) -> RangeState:
    """An equal state, with registers of its own."""
    return RangeState(state.slots, dict(state.msrs), state.settled)


def rows_of(slots: Iterable[RangeDesc]) -> tuple[tuple[int, int, int, bytes], ...]:
    """What descriptors hold now: one that is changed in place is still equal to itself."""
    return tuple([(it.mr_base, it.mr_len, it.mr_flags, it.mr_owner) for it in slots])
