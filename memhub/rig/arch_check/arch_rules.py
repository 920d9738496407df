"""The architecture as a value, its options, and its machines as a hub makes them."""

from __future__ import annotations

import contextlib
import copy
import inspect
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

from memhub.abi import MDF_SETTABLE
from memhub.core.asking.asked_driver import AskedDriver
from memhub.core.drivers.driver import Arch, Cpu, RangeDriver
from memhub.core.kernel import OptionError
from memhub.core.spec import MachineSpec
from memhub.errors import DeviceError, DriverFailed
from memhub.rig.arch_check.asking import time_call
from memhub.rig.arch_check.containing import call_guarded, pickle_copy
from memhub.rig.arch_check.finding import QUIRKS, Fault
from memhub.rig.arch_check.ground import (
    CPUS,
    MACHINE_NAME,
    Ground,
    Making,
    fault_of,
    make_watched,
)
from memhub.rig.arch_check.running import run_steps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from random import Random

    from memhub.core.asking.asked_driver import CallMark
    from memhub.core.drivers.driver import RangeState
    from memhub.rig.arch_check.asking import Request

T = TypeVar("T")

_ODD_VALUES: Final[tuple[object, ...]] = (
    None,
    -1,
    1 << 70,
    "x",
    "",
    1.5,
    [],
    [[]],
    {},
    True,
    [None],
    b"x",
)
_METHODS: Final = ("attach", "update", "remove", "restore", "types", "extent")
#: Rules of requests that hold on every CPU.
_NO_ANSWER: Final = frozenset({"raises", "nonsense", "hangs"})
_WILD_MACHINES: Final = 24
#: Seconds that `attach` may take; a table may have 65536 slots.
_START_MOST: Final = 0.5


def check_arch_values(arch: Arch, mark: CallMark) -> Iterator[Fault]:
    """The fields of an Arch that nothing else checks."""
    for name in ("summary", "slots"):
        value = getattr(arch, name)
        if type(value) is not str or not value.strip():
            yield Fault("arch-values", "", f"`{name}` is {value!r:.60}, not a text")

    for name in ("attributes", "untyped"):
        value = getattr(arch, name)
        if type(value) is not int or value & ~MDF_SETTABLE:
            words = "not attributes that a client can ask for"
            yield Fault("arch-values", "", f"`{name}` is {value!r:.60}, {words}")
            return

    if arch.untyped & ~arch.attributes:
        words = f"{arch.untyped:#x} is not part of `attributes` {arch.attributes:#x}"
        yield Fault("arch-values", "", f"`untyped` {words}")

    if arch.driver is not None and not arch.attributes:
        yield Fault("arch-values", "", "`attributes` is 0, but there is a driver")

    odd = [it for it in arch.quirks if it not in QUIRKS] if type(arch.quirks) is frozenset else [""]
    if odd:
        words = f"is {arch.quirks!r:.60}, no frozenset of {', '.join(sorted(QUIRKS))}"
        yield Fault("arch-values", "", f"`quirks` {words}")
        return

    latency = arch.commit_latency
    if type(latency) not in (int, float) or not 0 <= latency < 3600:
        yield Fault("arch-values", "", f"`commit_latency` is {latency!r:.60}, not seconds")

    if type(arch.options) is not frozenset or not all(type(it) is str for it in arch.options):
        yield Fault("arch-values", "", f"`options` is {arch.options!r:.60}, no frozenset of keys")

    def compare() -> bool:
        return bool(pickle_copy(arch) == arch == copy.deepcopy(arch))

    try:
        same = call_guarded(mark, AskedDriver(Making(), arch, MACHINE_NAME), "__reduce__", compare)
    except DriverFailed as error:
        words = f"the Arch cannot be copied: {fault_of(error).words}"
        yield Fault("not-picklable", "", f"{words}; `driver` has to be a function of a module")
        return

    if not same:
        words = "a copy of the Arch is not equal to it"
        yield Fault("copy-differs", "", f"{words}; `driver` has to be a function of a module")


def start_ground(ground: Ground) -> Fault | None:
    """Let a machine start; what keeps it from that."""
    try:
        driver = ground.new_driver()
        faults = [
            *check_methods(driver.raw),
            *check_says(ground, driver),
        ]
        if faults:
            return faults[0]

        ground.start = ground.attach(driver)
    except DriverFailed as error:
        fault = fault_of(error)
        rule = "hangs" if fault.rule == "hangs" else "attach-fails"
        return Fault(rule, fault.method, fault.words)
    except OptionError as error:
        return Fault("attach-fails", "", f"the options are refused: {error}")
    except DeviceError as error:
        return Fault("attach-fails", "attach", f"{type(error).__name__}: {error}")

    return None


def check_methods(driver: RangeDriver) -> Iterator[Fault]:
    """A method that is a coroutine function answers nothing."""
    for name in _METHODS:
        method = getattr(type(driver), name, None)
        if inspect.iscoroutinefunction(method) or inspect.isgeneratorfunction(method):
            yield Fault("nonsense", name, "is a coroutine or generator function; it is synchronous")


def check_says(ground: Ground, driver: AskedDriver) -> Iterator[Fault]:
    """What a driver says of itself."""
    for name in ("rereads", "stops_at_free"):
        value = call_guarded(driver.mark, driver, name, partial(getattr, driver.raw, name))
        if type(value) is not bool:
            yield Fault("nonsense", name, f"is {value!r:.60}, not True or False")
            return

        setattr(ground, name, value)


def check_options(ground: Ground) -> Iterator[Fault]:
    """Wrong values of options are told as an OptionError, or taken."""
    for key in sorted(ground.arch.options):
        for value in _ODD_VALUES:
            spec = _make_spec(ground, {key: value})
            try:
                driver = make_watched(spec, ground.arch, ground.mark)
                driver.attach(dict(ground.msrs))
            except OptionError:
                continue
            except DriverFailed as error:
                words = f"{key} = {value!r}: {fault_of(error).words}"
                yield Fault("options-fail", "", words)
                break
            except DeviceError as error:
                yield Fault("options-fail", "", f"{key} = {value!r}: {error}")
                break


def _make_spec(ground: Ground, options: dict[str, object]) -> MachineSpec:
    return MachineSpec(name=MACHINE_NAME, arch=ground.arch.name, cpu=ground.cpu, options=options)


class _Watched(dict[int, int]):
    """Registers that note which are read."""

    def __init__(self, msrs: dict[int, int]) -> None:
        super().__init__(msrs)
        self.seen: set[int] = set()

    def get(self, key: int, default: int = 0) -> int:  # type: ignore[override]
        self.seen.add(key)
        return super().get(key, default)

    def __getitem__(self, key: int) -> int:
        self.seen.add(key)
        return super().__getitem__(key)

    def __contains__(self, key: object) -> bool:
        if type(key) is int:
            self.seen.add(key)

        return super().__contains__(key)


def find_registers(ground: Ground) -> list[int]:
    """The registers that a driver reads when a machine starts."""
    watched = _Watched(dict(ground.msrs))
    with contextlib.suppress(DeviceError, OptionError):
        ground.new_driver().attach(watched)

    return sorted(watched.seen | set(ground.msrs))


def check_starts(
    ground: Ground, random: Random, requests: Sequence[Request], batches: int
) -> Iterator[tuple[Ground, Fault]]:
    """Other CPUs and odd registers: the driver serves them, or says that it does not."""
    for cpu in (*CPUS, Cpu(phys_bits=52), Cpu(mtrr=False)):
        if ground.is_over:
            return

        other = _make_other(ground, cpu, ground.msrs)
        faults = check_start(other)
        yield from ((other, it) for it in faults)
        if not faults:
            asked = run_steps(other, requests, deep=False).faults
            yield from ((other, it) for _, it in asked if it.rule in _NO_ANSWER)

    registers = find_registers(ground)
    for _ in range(_WILD_MACHINES * batches if registers else 0):
        msrs = dict(ground.msrs)
        for number in random.sample(registers, min(len(registers), random.randint(1, 4))):
            msrs[number] = random.choice((0, random.getrandbits(64), random.getrandbits(12)))

        if ground.is_over:
            return

        other = _make_other(ground, ground.cpu, msrs)
        yield from ((other, it) for it in check_start(other))


def _make_other(ground: Ground, cpu: Cpu, msrs: Mapping[int, int]) -> Ground:
    return replace(ground, cpu=cpu, msrs=msrs, start=None, clean=False, requests=0, hung=set())


def check_start(ground: Ground) -> list[Fault]:
    """Start one machine twice, and look at its types."""
    given = dict(ground.msrs)
    try:
        driver = ground.new_driver()
        first, slow = time_call(_START_MOST, lambda: driver.attach(given))
        if slow:
            return [Fault("slow", "attach", f"took {slow * 1000:.0f} ms, three times")]

        again = ground.new_driver().attach(dict(ground.msrs))
        driver.no_slots()
        if first is not None:
            driver.types(first)
    except OptionError:
        return []
    except DriverFailed as error:
        fault = fault_of(error)
        return [Fault("hangs" if fault.rule == "hangs" else "attach-fails", *_rest(fault))]
    except DeviceError as error:
        return [Fault("attach-fails", "attach", f"{type(error).__name__}: {error}")]

    if given != dict(ground.msrs):
        return [Fault("changes-its-input", "attach", "changed the registers that it was given")]

    if not _same_state(first, again):
        return [Fault("not-deterministic", "attach", "answers differently for the same registers")]

    return []


def _rest(fault: Fault) -> tuple[str, str]:
    return fault.method, fault.words


def _same_state(one: RangeState | None, other: RangeState | None) -> bool:
    if one is None or other is None:
        return one is other

    return one.slots == other.slots and dict(one.msrs) == dict(other.msrs)


def check_copies(arch: Arch, machine: object, driver: AskedDriver) -> Sequence[Fault]:
    """A machine as a whole can be pickled and copied."""
    for how in (pickle_copy, copy.deepcopy):
        try:
            call_guarded(driver.mark, driver, "__reduce__", partial(how, machine))
        except DriverFailed as error:
            words = f"a machine of {arch.name} cannot be copied: {fault_of(error).words}"
            return [Fault("not-picklable", "", words)]

    return []
