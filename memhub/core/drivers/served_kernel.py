"""What a hub asks of another kernel than FreeBSD: pure, as a range driver is.

A `ServedKernel` changes nothing. `boot` makes the kernel's state of a machine, and `call` answers
one request with the state that follows. A state is plain data: it is copied, compared and pickled,
and `kernel_items.py` writes it as JSON, so that the audit log, snapshots and forks have it.
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
    from collections.abc import Collection, Mapping, Sequence

    from memhub.core.drivers.driver import Cpu

    Registers = Mapping[int, int]

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
        why: why it was refused, the value and the rule; for where the kernel prints nothing.
    """

    state: KernelState
    value: Any = None
    errno: str | None = None
    log: tuple[tuple[str, str], ...] = ()
    why: str = ""


class KernelRange(NamedTuple):
    """A range that a kernel holds in one of its registers.

    Attributes:
        register: the register's number, as the kernel counts.
        base, length: bytes.
        type: UC, WC, WT, WP or WB; `other` for what is none of them.
        owner: whose it is, where the kernel keeps that.
        uses: how often it was added, where the kernel counts that.
        fixed: whether its place cannot be changed.
    """

    register: int
    base: int
    length: int
    type: str
    owner: str = ""
    uses: int | None = None
    fixed: bool = False


class KernelRanges(NamedTuple):
    """The registers for ranges as a kernel has them.

    Attributes:
        total: how many there are.
        used: those that hold a range, by number.
    """

    total: int
    used: tuple[KernelRange, ...]


#: Memory types by the number that x86 registers have for them.
TYPE_NAMES: Final[Mapping[int, str]] = MappingProxyType(
    {0: "UC", 1: "WC", 4: "WT", 5: "WP", 6: "WB"}
)
#: The numbers of memory types by their names.
TYPE_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {name: number for number, name in TYPE_NAMES.items()}
)


class ServedKernel(ABC):
    """One kernel's rules over a machine's registers, as pure functions.

    Attributes:
        ops: the calls that it knows.
        driver_ops: those of them that a driver makes, without a file and whatever happens.
        file_ops: those that a process makes through one of `files`, beside `open` and `close`.
        process_ops: those that a process makes, through any of its open files of the machine.
        looking_ops: those of them that change nothing, for which a client of a service needs no
            right to set ranges.
        arguments: the names of the arguments of drivers' calls; others are refused. A call that is
            not in it takes any.
        exit_op: `exit` where a process ends with its last file, which makes that call; else empty.
        machine_ops: those that happen to the machine: `suspend`, in which the kernel saves what a
            sleep loses; `resume` {found: by CPU, the registers in which it woke up unlike
            `firmware_registers`}, behind which it stores its ranges again; and `reinit`, which
            stores them now. Without `resume` a sleep changes nothing.
        files: the files that it has beside `/dev/mem`, as `/proc/mtrr`.
        undo_rule: why none of its files puts back at a close what was set through it.
        numbers_registers: whether it counts the processor's variable registers from 0, where an
            architecture may have slots for the fixed ones before them.
    """

    ops: frozenset[str] = frozenset()
    driver_ops: frozenset[str] = frozenset()
    file_ops: frozenset[str] = frozenset()
    process_ops: frozenset[str] = frozenset()
    looking_ops: frozenset[str] = frozenset()
    arguments: Mapping[str, Collection[str]] = MappingProxyType({})
    exit_op: str = ""
    machine_ops: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()
    undo_rule: str = "its calls have no opposite"
    numbers_registers: bool = False

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

    def register_of(self, call: KernelCall) -> int | None:
        """Which of `ranges` a call means by its number alone, as to delete it; None for none."""
        return None

    def lacks_register(self, answer: KernelAnswer) -> bool:
        """Whether a call was refused because no register is free."""
        return answer.errno == "ENOSPC"

    def calls_to_replace(
        self, removed: Sequence[KernelRange], put: KernelRange | None
    ) -> Sequence[KernelCall]:
        """Drivers' calls that remove some of `ranges`, and then set one; they are only tried."""
        return ()

    def ranges(self, machine: KernelMachine, state: KernelState) -> KernelRanges | None:
        """The ranges to show people; None for the slots of the machine's architecture."""
        return None

    def range_decides(
        self, machine: KernelMachine, state: KernelState, it: KernelRange, address: int
    ) -> bool:
        """Whether one of `ranges`, perhaps with others, decides the type of an address."""
        return it.base <= address < it.base + it.length

    def slot_registers(
        self, machine: KernelMachine, state: KernelState, register: int
    ) -> tuple[tuple[int, int], ...]:
        """The MSRs that hold one of `ranges`, each with its bits; a mask register is the last."""
        return ()

    def firmware_registers(self, machine: KernelMachine) -> Registers:
        """The registers that firmware gives every CPU as the machine wakes up."""
        return machine.msrs

    def why_no_reinit(self, machine: KernelMachine, state: KernelState) -> str:
        """The rule by which this kernel never stores its ranges again; empty where it does."""
        return "" if "reinit" in self.machine_ops else "this kernel stores its ranges once"

    def why_dead(self, state: KernelState) -> str:
        """The last words of a kernel that has died, and how to go on; empty while it lives."""
        return ""

    def explain(self, call: KernelCall, answer: KernelAnswer) -> DeviceError:
        """The error of a refused call in words; the kernel's own lines are its reason."""
        lines = "; ".join(text for _, text in answer.log)
        why = f": {answer.why}" if answer.why else " and prints nothing"
        reason = lines or f"the kernel answers {answer.errno} to {call.op}{why}"
        assert answer.errno is not None
        code = Errno[answer.errno]

        return _ERRORS.get(code, DeviceError)(reason, code=code)


def share_registers(cpus: Sequence[Registers]) -> tuple[Registers, ...]:
    """The registers of each CPU; CPUs that are like the first share its mapping."""
    first = cpus[0]

    return tuple(first if it is first or it == first else it for it in cpus)
