"""The one place where the core asks a range driver, which is a stranger's code.

Every answer is checked here, once, before anything uses it. An exception that is no refusal, an
answer that breaks a rule, and a call that a watchdog stops all become one error: DriverFailed
(EIO), which names the plugin, the driver, the architecture, the machine and the method, and says
what was wrong. A request that meets it has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from memhub.abi import U64_MAX, RangeDesc
from memhub.core import driver_answers
from memhub.core.driver import Change, RangeDriver, RangeState
from memhub.core.driver_answers import (
    REGISTER_MAX,
    SLOT_FLAGS,
    Nonsense,
    as_mapping,
    make_failure,
    name_call,
    show,
)
from memhub.core.instant import make_tuple
from memhub.core.kernel import OptionError
from memhub.errors import DeviceError, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.core.driver import Arch
    from memhub.core.effective.typemap import TypeAnswer, TypeMap
    from memhub.core.requests import SetRange
    from memhub.core.spec import MachineSpec

T = TypeVar("T")

#: Bounds that any others widen.
_NOWHERE: Final = (1 << 65, 0)


@dataclass(slots=True)
class CallMark:
    """The call of a driver that is under way on one thread, for a watchdog on another.

    Attributes:
        call: the driver and the method; a new tuple for each call. None between calls.
    """

    call: tuple[AskedDriver, str] | None = None


class Plan(NamedTuple):
    """What a change would make of a table.

    Attributes:
        change: what the driver would change.
        before: the state before.
        after: the state after.
    """

    change: Change
    before: RangeState
    after: RangeState

    def bounds(self, driver: AskedDriver) -> tuple[int, int]:
        """Bounds outside which no byte's type changes."""
        return driver.bounds(self, self.change.slots)

    def reach(self, driver: AskedDriver) -> tuple[int, int]:
        """Bounds of all that it writes, altered or not."""
        return driver.bounds(self, {**dict.fromkeys(self.change.wrote), **self.change.slots})


class AskedDriver:
    """One machine's range driver, each of whose answers is checked.

    Every method raises DriverFailed (EIO) for an answer that is none.

    Args:
        raw: the driver.
        arch: its architecture.
        machine: the machine's name.

    Attributes:
        mark: where a watchdog sees the call that is under way.
    """

    __slots__ = ("_odd", "arch", "machine", "mark", "raw")

    def __init__(self, raw: RangeDriver, arch: Arch, machine: str) -> None:
        self.raw = raw
        self.arch = arch
        self.machine = machine
        self.mark = CallMark()
        self._odd = ~(arch.attributes | SLOT_FLAGS)

    def __reduce__(self) -> tuple[Any, ...]:
        return AskedDriver, (self.raw, self.arch, self.machine)  # nobody watches the copy

    def named(self, method: str) -> str:
        """A method of the driver in words, with its plugin, architecture and machine."""
        return name_call(self.arch, self.machine, type(self.raw), method)

    @classmethod
    def make(cls, spec: MachineSpec, arch: Arch) -> AskedDriver | None:
        """Make the driver of a machine; None where the architecture has none.

        Raises:
            OptionError: an option of the architecture is wrong.
        """
        if arch.driver is None:
            return None

        try:
            raw = arch.driver(spec.cpu, spec.options)
            if not isinstance(raw, RangeDriver):
                raise Nonsense(f"made {show(raw)}, which is no RangeDriver")
        except (OptionError, KeyboardInterrupt):
            raise
        except BaseException as error:
            raise make_failure(arch, spec.name, arch.driver, "", error) from error

        return cls(raw, arch, spec.name)

    def attach(self, msrs: Mapping[int, int]) -> RangeState | None:
        """Read what firmware left; None where the driver does not serve this CPU.

        Raises:
            OptionError: an option of the architecture is wrong.
        """

        def ask() -> RangeState | None:
            try:
                state = self.raw.attach(msrs)
            except NotSupported:
                return None
            except DeviceError as error:
                raise Nonsense(f"raised {type(error).__name__}: {error.reason}") from error

            return driver_answers.check_state(state, self.arch.attributes)

        return self._guard("attach", 0, ask)

    def plan_set(self, state: RangeState, request: SetRange) -> Plan:
        """What a MEMRANGE_SET makes of a state; DeviceError if the driver refuses it."""
        raw, desc, count = self.raw, request.desc, len(state.slots)
        if request.arg:
            return self._guard("remove", count, self._take_change, raw.remove, state, desc)

        return self._guard("update", count, self._take_change, raw.update, state, desc)

    def restore(
        self, state: RangeState, slots: Mapping[int, RangeDesc], earlier: Mapping[int, int]
    ) -> Plan:
        """What putting back earlier descriptors makes of a state."""
        count, ask = len(state.slots), self.raw.restore

        return self._guard("restore", count, self._take_change, ask, state, slots, earlier)

    def types(self, state: RangeState) -> TypeMap:
        """The effective type of every address."""

        def ask() -> TypeMap:
            return driver_answers.check_types(self.raw.types(state))

        return self._guard("types", len(state.slots), ask)

    def explain(self, types: TypeMap, address: int) -> TypeAnswer:
        """The type of one address; the reason comes from a function of the driver's."""

        def ask() -> TypeAnswer:
            return driver_answers.check_reason(types.lookup(address))

        return self._guard("types", 0, ask)

    def bounds(self, plan: Plan, slots: Iterable[int]) -> tuple[int, int]:
        """Bounds `[lo, hi)` outside which no byte's type differs before and after a change.

        Args:
            plan: the change.
            slots: the slots that may differ.
        """

        def ask() -> tuple[int, int]:
            extent, check = self.raw.extent, driver_answers.check_extent
            first, end = _NOWHERE
            for slot in slots:
                for state in (plan.before, plan.after):
                    lo, hi = check(extent(state, slot))
                    if lo < hi:
                        first, end = min(first, lo), max(end, hi)

            return (first, end) if first < end else (0, 0)

        return self._guard("extent", len(plan.before.slots), ask)

    def _guard(self, method: str, count: int, ask: Callable[..., T], *arguments: object) -> T:
        """Let a function ask the driver and check the answer; all that goes wrong is one error.

        Args:
            method: the driver's method, for a watchdog and for messages.
            count: how many slots there are.
            ask: the function.
            arguments: what it takes.
        """
        mark = self.mark
        try:
            try:
                # A watchdog raises DriverStopped in this thread only while its call stands here.
                mark.call = (self, method)
                return ask(*arguments)
            finally:
                mark.call = None
        except KeyboardInterrupt:
            raise
        except DeviceError as refusal:
            self._check_refusal(method, refusal, count)
            raise
        except BaseException as error:
            if method == "attach" and isinstance(error, OptionError):
                raise

            raise make_failure(self.arch, self.machine, type(self.raw), method, error) from error

    def _check_refusal(self, method: str, refusal: DeviceError, count: int) -> None:
        try:
            driver_answers.check_refusal(refusal, count)
        except Exception as error:  # noqa: BLE001 - its fields are a stranger's too
            raise make_failure(self.arch, self.machine, type(self.raw), method, error) from refusal

    def _take_change(
        self,
        operation: Callable[..., Change],
        state: RangeState,
        given: RangeDesc | Mapping[int, RangeDesc],
        *more: object,
    ) -> Plan:
        """Ask for a Change, check it, and make the state that follows."""
        change = operation(state, given, *more)
        if type(change) is not Change:
            raise Nonsense(f"answered {show(change)}, which is no Change")

        rows, msrs = change.slots, change.msrs
        if type(rows) is not dict or type(msrs) is not dict:
            rows, msrs = as_mapping(rows, "`slots`"), as_mapping(msrs, "`msrs`")
            change = Change(change.wrote, rows, msrs, change.settled)

        # Most changes write one slot. What is tested here is said in `driver_answers`.
        slots, count, wrote, odd = list(state.slots), len(state.slots), change.wrote, self._odd
        if not (
            type(wrote) is tuple
            and len(wrote) == 1
            and type(wrote[0]) is int
            and 0 <= wrote[0] < count
            and (not rows or (len(rows) == 1 and wrote[0] in rows))
            and isinstance(given, RangeDesc)
        ):
            self._check_named(state, change, given)

        for slot, desc in rows.items():
            if not (
                type(slot) is int
                and type(desc) is RangeDesc
                and not desc.mr_flags & odd
                and desc.mr_base + desc.mr_len <= U64_MAX
                and type(desc.mr_owner) is bytes
            ):
                self._check_row(state, slot, desc, given)

            slots[slot] = desc

        if msrs:
            for number, value in msrs.items():
                if not (
                    type(number) is type(value) is int
                    and 0 <= number <= REGISTER_MAX
                    and 0 <= value <= U64_MAX
                ):
                    driver_answers.check_register(number, value)

            msrs = {**state.msrs, **msrs}

        settled: object = change.settled
        if type(settled) is not bool:
            raise Nonsense(f"`settled` {show(settled)} is not True or False")

        after = RangeState(tuple(slots), msrs or state.msrs, change.settled)

        return make_tuple(Plan, (change, state, after))

    def _check_named(
        self, state: RangeState, change: Change, given: RangeDesc | Mapping[int, RangeDesc]
    ) -> None:
        """Refuse slots that are none, and slots that may not change."""
        count, wrote = len(state.slots), change.wrote
        driver_answers.check_written(wrote, count)
        if not (self.raw.rereads and not state.settled):
            for slot in change.slots:
                driver_answers.check_slot(slot, count)
                if slot not in wrote:
                    raise Nonsense(f"changes slot {slot}, which `wrote` {wrote} does not name")

        if not isinstance(given, RangeDesc):
            for slot in wrote:
                if slot not in given:
                    raise Nonsense(f"writes slot {slot}; it was to put back {tuple(given)}")

    def _check_row(
        self,
        state: RangeState,
        slot: int,
        desc: RangeDesc,
        given: RangeDesc | Mapping[int, RangeDesc],
    ) -> None:
        """Refuse a slot, unless what is odd about it was given to the driver."""
        driver_answers.check_slot(slot, len(state.slots))
        asked = (given,) if isinstance(given, RangeDesc) else given.values()
        known = (state.slots[slot], *asked)
        driver_answers.check_row(slot, desc, self.arch.attributes, known)
