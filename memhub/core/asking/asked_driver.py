"""The one place where the core asks a range driver, which is a stranger's code.

Every answer is checked here, once, before anything uses it. An exception that does not refuse, an
answer that breaks a rule, and a call that a watchdog stops all become one error: DriverFailed
(EIO), which names the plugin, the driver, the architecture, the machine and the method, and says
what was wrong. A request that meets it has changed nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from memhub.abi import U64_MAX, RangeDesc
from memhub.core.asking import driver_answers
from memhub.core.asking.driver_answers import (
    REGISTER_MAX,
    REGISTERS_MAX,
    SLOT_FLAGS,
    SLOTS_MAX,
    Nonsense,
    as_mapping,
    kind_of,
    name_class,
    say,
    show,
)
from memhub.core.asking.driver_refusals import take_error
from memhub.core.drivers.driver import Change, RangeDriver, RangeState
from memhub.core.instant import make_tuple
from memhub.errors import DeviceError, DriverFailed, NotSupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.core.drivers.driver import Arch
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
        interrupts: whether a KeyboardInterrupt in a call may be that of Ctrl-C. It is not where
            the event loop waits for SIGINT; a driver that raises one has then failed.
    """

    call: tuple[AskedDriver, str] | None = None
    interrupts: bool = True


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
        failures: how often it has failed.
    """

    __slots__ = ("_name", "_odd", "arch", "failures", "machine", "mark", "raw")

    def __init__(self, raw: RangeDriver, arch: Arch, machine: str) -> None:
        self.raw = raw
        self.arch = arch
        self.machine = machine
        self.mark = CallMark()
        self.failures = 0
        self._name = name_class(type(raw))
        self._odd = ~(arch.attributes | SLOT_FLAGS)

    def __reduce__(self) -> tuple[Any, ...]:
        return AskedDriver, (self.raw, self.arch, self.machine)  # nobody watches the copy

    def named(self, method: str) -> str:
        """A method of the driver in words, with its plugin, architecture and machine."""
        return _name_call(self.arch, self.machine, self._name, method)

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
                raise Nonsense(f"made {show(raw)}, which is not a RangeDriver")

            return cls(raw, arch, spec.name)
        except BaseException as error:
            who = _name_call(arch, spec.name, name_class(arch.driver))
            told = take_error(error, who, None, starts=True, interrupts=True)
            if told is error:
                raise

            raise told from error

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
                raise Nonsense(f"raised {kind_of(error)}: {say(error.reason)}") from error

            return driver_answers.check_state(state, self.arch.attributes, len(msrs))

        return self.guard("attach", 0, ask)

    def plan_set(self, state: RangeState, request: SetRange) -> Plan:
        """What a MEMRANGE_SET makes of a state; DeviceError if the driver refuses it."""
        method = "remove" if request.arg else "update"

        return self.guard(method, len(state.slots), self._take_change, method, state, request.desc)

    def restore(
        self, state: RangeState, slots: Mapping[int, RangeDesc], earlier: Mapping[int, int]
    ) -> Plan:
        """What putting back earlier descriptors makes of a state."""
        count = len(state.slots)

        return self.guard("restore", count, self._take_change, "restore", state, slots, earlier)

    def types(self, state: RangeState) -> TypeMap:
        """The effective type of every address."""

        def ask() -> TypeMap:
            return driver_answers.check_types(self.raw.types(state))

        return self.guard("types", len(state.slots), ask)

    def explain(self, types: TypeMap, address: int, *, registers: bool = False) -> TypeAnswer:
        """The type of one address; the reason comes from a function of the driver's."""

        def ask() -> TypeAnswer:
            return driver_answers.check_reason(types.lookup(address, registers=registers))

        return self.guard("types", 0, ask)

    def no_slots(self) -> str:
        """Why there are no slots."""

        def ask() -> str:
            return driver_answers.check_text("`no_slots`", self.raw.no_slots)

        return self.guard("no_slots", 0, ask)

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

        return self.guard("extent", len(plan.before.slots), ask)

    def guard(self, method: str, count: int, ask: Callable[..., T], *arguments: object) -> T:
        """Let a function ask the driver and check the answer; all that goes wrong is one error.

        Args:
            method: the driver's method, for a watchdog and for messages.
            count: how many slots there are.
            ask: the function.
            arguments: what it takes.
        """
        mark = self.mark
        try:
            # A watchdog raises DriverStopped in this thread only while its call stands here. What
            # is raised is looked at here too: that runs code of its class.
            mark.call = (self, method)
            return ask(*arguments)
        except BaseException as error:
            who, starts = self.named(method), method == "attach"
            told = take_error(error, who, count, starts=starts, interrupts=mark.interrupts)
            if told is error:
                raise

            if type(told) is DriverFailed:
                self.failures += 1

            raise told from error
        finally:
            mark.call = None

    def _take_change(
        self,
        method: str,
        state: RangeState,
        given: RangeDesc | Mapping[int, RangeDesc],
        *more: object,
    ) -> Plan:
        """Ask for a Change, check it, and make the state that follows."""
        change = getattr(self.raw, method)(state, given, *more)
        if type(change) is not Change:
            raise Nonsense(f"answered {show(change)}, which is not a Change")

        rows, msrs = change.slots, change.msrs
        if type(rows) is not dict or type(msrs) is not dict:
            rows, msrs = (
                as_mapping(rows, "`slots`", SLOTS_MAX),
                as_mapping(msrs, "`msrs`", REGISTERS_MAX),
            )
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
            if len(msrs) > REGISTERS_MAX:
                raise Nonsense(f"changes {len(msrs)} registers, which is more than {REGISTERS_MAX}")

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
                    raise Nonsense(
                        f"changes slot {slot}, which `wrote` {show(wrote)} does not name"
                    )

        if not isinstance(given, RangeDesc):
            for slot in wrote:
                if slot not in given:
                    raise Nonsense(f"writes slot {slot}; it was to put back {show(tuple(given))}")

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


def _name_call(arch: Arch, machine: str, name: str, method: str = "") -> str:
    """A method of a driver, in words: its plugin, class, architecture and machine."""
    plugin = f"{arch.plugin}: " if arch.plugin else ""
    words = f"{name}.{method}" if method else name

    return f"{plugin}{words}, the driver of {arch.name} on {machine}"
