"""What a hub asks of another kernel than FreeBSD: pure, as a range driver is.

A `ServedKernel` changes nothing. `boot` makes the kernel's state of a machine, and `call` answers
one request with the state that follows. A state is plain data: it is copied, compared and pickled,
and `kernel_state_item` writes it as JSON, so that the audit log, snapshots and forks have it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub.abi import Errno
from memhub.errors import (
    BadAddress,
    BadHandle,
    DeviceError,
    InvalidArgument,
    NoRanges,
    NoSpace,
    NoSuchDevice,
    NotPermitted,
    RangeBusy,
    UnknownIoctl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.driver import Cpu

    Registers = Mapping[int, int]

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})

#: The classes of a kernel's errors; others are the plain DeviceError.
_ERRORS: Final[Mapping[Errno, type[DeviceError]]] = MappingProxyType(
    {
        it.default: it
        for it in (
            BadAddress,
            BadHandle,
            InvalidArgument,
            NoRanges,
            NoSpace,
            NoSuchDevice,
            NotPermitted,
            RangeBusy,
            UnknownIoctl,
        )
    }
)

#: The name of the kernel whose mem(4) memhub has itself.
FREEBSD: Final = "freebsd"


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelMachine:
    """What a kernel finds as it boots.

    Attributes:
        cpu: the processor, and how many of it there are.
        bits: of a long: 64 or 32.
        x86: whether it is an x86 machine.
        msrs: the registers that firmware left on every CPU, by number; others are 0.
        differences: for each CPU by number, the registers in which firmware left it different.
        ram: the RAM, first byte and one past the last, by address.
        options: what the machine says of its kernel (`kernel_options`); the kernel checks them.
    """

    cpu: Cpu
    bits: int
    x86: bool = True
    msrs: Mapping[int, int]
    differences: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    ram: tuple[tuple[int, int], ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KernelCall:
    """One call into the kernel: of a process, of a driver, or of the machine itself.

    Attributes:
        op: what is called, one of the kernel's `ops`.
        args: its arguments by name: numbers, texts, truth values. Bytes are latin-1 texts.
        file: the number of the open file, for a call through one.
        process: the number of the process, where the kernel tells processes apart.
    """

    op: str
    args: Mapping[str, Any] = field(default_factory=dict)
    file: int | None = None
    process: int = 0


@dataclass(frozen=True, slots=True)
class KernelState:
    """All that a kernel and its machine's registers hold; never changed in place.

    Attributes:
        cpus: the registers of each CPU by number; absent ones are 0. CPUs that are alike may share
            one mapping.
        own: the kernel's variables by name, as plain values for JSON.
        files: what it keeps of each open file, by the file's number, as plain values for JSON.
    """

    cpus: tuple[Mapping[int, int], ...]
    own: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def msrs(self) -> Mapping[int, int]:
        """The registers of CPU 0, which answers requests."""
        return self.cpus[0]


class KernelAnswer(NamedTuple):
    """What a call came to.

    Attributes:
        state: the state after it; the same object where nothing changed. A refused call may have
            changed something too.
        value: the answer: a number, a text, a truth value, or a mapping of them; None for none.
        errno: the name of the error, or None.
        log: level and text of each line that the kernel printed.
    """

    state: KernelState
    value: Any = None
    errno: str | None = None
    log: tuple[tuple[str, str], ...] = ()


class ServedKernel(ABC):
    """One kernel's rules over a machine's registers, as pure functions.

    Attributes:
        ops: the calls that it knows.
        driver_ops: those of them that a driver makes, without a file and whatever happens.
        file_ops: those that a process makes through one of `files`, beside `open` and `close`.
        process_ops: those that a process makes, through any of its open files of the machine.
        looking_ops: those of them that change nothing, for which a client of a service needs no
            right to set ranges.
        exit_op: `exit` where a process ends with its last file, which makes that call; else empty.
        files: the files that it has beside `/dev/mem`, as `/proc/mtrr`.
    """

    ops: frozenset[str] = frozenset()
    driver_ops: frozenset[str] = frozenset()
    file_ops: frozenset[str] = frozenset()
    process_ops: frozenset[str] = frozenset()
    looking_ops: frozenset[str] = frozenset()
    exit_op: str = ""
    files: frozenset[str] = frozenset()

    @abstractmethod
    def boot(self, machine: KernelMachine) -> KernelAnswer:
        """Boot.

        Args:
            machine: what the kernel finds.

        Returns:
            its first state and what it prints; its value is None.

        Raises:
            OptionError: an option is none of the kernel's, or has a wrong value.
            ValueError: the kernel does not run on such a machine.
        """

    @abstractmethod
    def call(self, machine: KernelMachine, state: KernelState, call: KernelCall) -> KernelAnswer:
        """Answer a call.

        Args:
            machine: what the kernel booted on.
            state: the present state.
            call: what is asked.

        Raises:
            ValueError: the kernel has no such call, or it lacks an argument.
        """

    def held_by(self, state: KernelState, file: int) -> tuple[int, ...]:
        """The registers that the close of a file gives back; `close` {keep} leaves some out."""
        return ()

    def ranges(self, machine: KernelMachine, state: KernelState) -> tuple[str, ...]:
        """The ranges in use, in words, one line for each; a failing test of a rig shows them.

        Args:
            machine: what the kernel booted on.
            state: the present state.
        """
        return ()

    def explain(self, call: KernelCall, answer: KernelAnswer) -> DeviceError:
        """The error of a refused call in words; the kernel's own lines are its reason."""
        lines = "; ".join(text for _, text in answer.log)
        reason = lines or f"the kernel answers {answer.errno} to {call.op} and prints nothing"
        assert answer.errno is not None
        code = Errno[answer.errno]

        return _ERRORS.get(code, DeviceError)(reason, code=code)


# JSON


def kernel_state_item(state: KernelState) -> dict[str, Any]:
    """A state as plain values for JSON; registers are texts, since they may have 64 bits."""
    first = state.cpus[0]

    return {
        "cpus": len(state.cpus),
        "registers": _registers_item(first),
        "differences": {
            str(cpu): _registers_item(own)
            for cpu, own in enumerate(state.cpus)
            if own is not first and own != first
        },
        "own": dict(state.own),
        "files": {str(number): dict(it) for number, it in state.files.items()},
    }


def kernel_state_of(item: Mapping[str, Any]) -> KernelState:
    """The opposite of `kernel_state_item`.

    Raises:
        KeyError: a member is missing.
        TypeError, ValueError, AttributeError: one has another form.
    """
    first, others = _registers_of(item["registers"]), item["differences"]
    cpus = tuple(
        _registers_of(others[str(cpu)]) if str(cpu) in others else first
        for cpu in range(item["cpus"])
    )
    files = {int(number): dict(it) for number, it in item["files"].items()}

    return KernelState(cpus, dict(item["own"]), files)


def kernel_change_item(before: KernelState, after: KernelState) -> dict[str, Any]:
    """What a call changed, as plain values for JSON: a patch that `change_kernel` applies."""
    if before is after:
        return {}

    cpus = {
        str(cpu): _registers_item(
            {it: new.get(it, 0) for it in {**old, **new} if old.get(it, 0) != new.get(it, 0)}
        )
        for cpu, (old, new) in enumerate(zip(before.cpus, after.cpus, strict=True))
        if old is not new and old != new
    }
    own = {name: it for name, it in after.own.items() if before.own.get(name, _NOTHING) != it}
    files = {
        str(number): None if number not in after.files else dict(after.files[number])
        for number in sorted({**before.files, **after.files})
        if before.files.get(number) != after.files.get(number)
    }
    found = {"cpus": cpus, "own": own, "files": files}

    return {name: it for name, it in found.items() if it}


def change_kernel(before: KernelState, change: Mapping[str, Any]) -> KernelState:
    """The state after a change that `kernel_change_item` has written.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: it is no such change.
    """
    if not change:
        return before

    files = dict(before.files)
    for number, it in change.get("files", {}).items():
        if it is None:
            files.pop(int(number), None)
        else:
            files[int(number)] = dict(it)

    return KernelState(
        _changed_cpus(before.cpus, change.get("cpus", {})),
        {**before.own, **change.get("own", {})},
        dict(sorted(files.items())),
    )


def _changed_cpus(
    before: tuple[Registers, ...], change: Mapping[str, Mapping[str, str]]
) -> tuple[Registers, ...]:
    made: list[tuple[Registers, Registers]] = []
    cpus = list(before)
    for cpu, patch in change.items():
        old, registers = before[int(cpu)], _registers_of(patch)
        new: Registers = {**old, **registers}
        new = next((it for was, it in made if was == old and it == new), new)
        made.append((old, new))
        cpus[int(cpu)] = new

    return tuple(cpus)


def _registers_item(registers: Registers) -> dict[str, str]:
    return {f"{number:#x}": f"{registers[number]:#x}" for number in sorted(registers)}


def _registers_of(item: Mapping[str, str]) -> dict[int, int]:
    return {int(number, 16): int(value, 16) for number, value in item.items()}
