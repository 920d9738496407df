"""NetBSD's system calls for the machines of a hub: each call of a pure driver.

A kernel that dies (`Panicked`) answers EIO from then on; its last message is in its log, as level
`panic`, and in each later error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeGuard

from memhub.plugin.kernels import (
    TYPE_NAMES,
    KernelAnswer,
    KernelRange,
    KernelRanges,
    KernelState,
    OptionError,
    ServedKernel,
    share_registers,
)
from memhub.plugin.x86 import registers_of_slot
from memhub_netbsd.i686 import DEF_TYPE, FIXED_COUNT, I686Mtrrs
from memhub_netbsd.k6 import K6_REGISTER, K6Mtrrs
from memhub_netbsd.registers import Registers
from memhub_netbsd.replacing import calls_to_replace, lacks_register
from memhub_netbsd.system_calls import MtrrCalls
from memhub_netbsd.table import FIXED, PRIVATE, VALID, Driver, Mtrr, Panicked, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.plugin import errors
    from memhub.plugin.kernels import Cpu, KernelCall, KernelMachine

    Args = Mapping[str, Any]

_DRIVERS: Final[Mapping[str, Callable[[Registers, int | None], Driver]]] = {
    "i686": I686Mtrrs,
    "k6": K6Mtrrs,
}
#: The first family whose processors have MTRRs, and the one of the K6.
_MTRR_FAMILY: Final = 6
_K6_FAMILY: Final = 5
_OPTIONS: Final = ("strict",)
#: What a call may say of its caller.
_FORCED: Final[Mapping[str, tuple[Any, ...]]] = {
    "null": (None, "args", "count", "table"),
    "root": (True, False),
    "abi": (64, 32),
}
#: The arguments of drivers' calls. The protocol passes over those that a process's call lacks.
_ARGUMENTS: Final[Mapping[str, frozenset[str]]] = {
    "kernel_set": frozenset({"entries", "process"}),
    "table": frozenset(),
}


class NetBsdKernel(ServedKernel):
    """NetBSD's calls, their arguments and answers; a range is [base, length, type, flags, owner].

    - `set` {entries, n: how many, if not all; abi: 32 of a 32-bit call on a 64-bit kernel; null: a
      pointer that is null; root}: {done}; of an error also `moved`, how many were set, and `why`;
    - `get` {n, abi, null, root}: {done, entries};
    - `exit`: of the process, whether it had private ranges;
    - `kernel_set` {entries, process}: {done}; `table`: the ranges;
    - `resume` {found}, `reinit`: every processor stores the table (`acpi_wakeup.c` ends a sleep
      with mtrr_commit; mtrr_init_cpu).
    """

    ops = frozenset({"set", "get", "exit", "kernel_set", "table", "resume", "reinit"})
    machine_ops = frozenset({"resume", "reinit"})
    arguments = _ARGUMENTS
    lacks_register = staticmethod(lacks_register)
    calls_to_replace = staticmethod(calls_to_replace)
    undo_rule = "private ranges end with their process, and public ones are everybody's"
    driver_ops = frozenset({"kernel_set", "table"})
    process_ops = frozenset({"set", "get"})
    looking_ops = frozenset({"get"})
    exit_op = "exit"

    def boot(self, machine: KernelMachine) -> KernelAnswer:
        """Attach, which enables ranges."""
        for name, value in machine.options.items():
            if name not in _OPTIONS:
                raise OptionError(name, "is not an option of NetBSD (known: strict)")

            if not isinstance(value, bool):
                raise OptionError(name, f"{value!r} is not true or false")

        if not machine.x86:
            raise ValueError("NetBSD is served on x86 machines: others have no MTRRs")

        kind = _kind_of(machine.cpu)
        registers = _registers(machine, (machine.msrs,) * machine.cpu.count)
        try:
            driver = _DRIVERS[kind](registers, None) if kind else None
        except Panicked as panic:
            raise ValueError(f"NetBSD panics as it attaches: {panic}") from None

        return KernelAnswer(_freeze(registers, kind, MtrrCalls(driver), ""))

    # Hardware

    def slot_registers(
        self, machine: KernelMachine, state: KernelState, register: int
    ) -> tuple[tuple[int, int], ...]:
        """The byte of a fixed range, both registers of a variable one, or half of a K6's."""
        if state.own["driver"] == "k6":
            return ((K6_REGISTER, 0xFFFFFFFF << 32 * register),)

        return tuple(registers_of_slot(register, FIXED_COUNT))

    def why_no_reinit(self, machine: KernelMachine, state: KernelState) -> str:
        """A processor without ranges has none to store, and a kernel that died stores none."""
        if dead := self.why_dead(state):
            return dead

        return "" if state.own["driver"] else "NetBSD has found no ranges on this machine"

    def ranges(self, machine: KernelMachine, state: KernelState) -> KernelRanges:
        """The table that `get` copies, with the owners of private ranges."""
        table = _table_of(state.own)
        used = (
            KernelRange(
                register,
                it.base,
                it.len,
                TYPE_NAMES.get(it.type, "other"),
                f"process {it.owner}" if it.flags & PRIVATE else "",
                fixed=bool(it.flags & FIXED),
            )
            for register, it in enumerate(table)
            if it.flags & VALID
        )

        return KernelRanges(len(table), tuple(used))

    def why_dead(self, state: KernelState) -> str:
        """What it printed as it panicked."""
        panic = state.own["panic"]

        return f"NetBSD has died: {panic}; reset or restore the machine to go on" if panic else ""

    def call(self, machine: KernelMachine, state: KernelState, call: KernelCall) -> KernelAnswer:
        """Answer a call."""
        if call.op not in self.ops:
            known = ", ".join(sorted(self.ops))
            raise ValueError(f"NetBSD has no call {call.op!r} (calls: {known})")

        own = state.own
        if own["panic"]:
            return KernelAnswer(state, errno="EIO", log=(("panic", own["panic"]),))

        registers = _registers(machine, _files_of(machine, state, call))
        calls = _thaw(registers, own)
        panic = ""
        errno: str | None = None
        value: Any = None
        try:
            errno, value = _CALLS[call.op](calls, call, machine)
        except Panicked as dead:
            panic = str(dead)
        except KeyError as error:
            raise ValueError(f"{call.op} needs an argument {error.args[0]!r}") from None

        after = _freeze(registers, own["driver"], calls, panic)
        after = state if after == state else after
        if panic:
            return KernelAnswer(after, errno="EIO", log=(("panic", panic),))

        return KernelAnswer(after, value, errno)

    def explain(self, call: KernelCall, answer: KernelAnswer) -> errors.DeviceError:
        """The error of a refused call; its `moved` is how many ranges were set before."""
        error = super().explain(call, answer)
        error.reason = self.why_dead(answer.state) or error.reason
        if isinstance(answer.value, dict) and "why" in answer.value:
            done = error.moved = answer.value["moved"]
            before = f"; {done} set before" if done else ""
            error.reason = (
                f"NetBSD answers {answer.errno} to {call.op}: {answer.value['why']}{before}"
            )

        return error


def _kind_of(cpu: Cpu) -> str:
    """Which driver attaches (`sys/arch/x86/x86/identcpu.c`)."""
    family = cpu.signature >> 8 & 0xF
    if cpu.mtrr and family >= _MTRR_FAMILY:
        return "i686"

    return "k6" if cpu.vendor == "AMD" and family == _K6_FAMILY else ""


def _registers(machine: KernelMachine, files: Sequence[Mapping[int, int]]) -> Registers:
    strict = machine.options.get("strict", True)

    return Registers(files[0], machine.cpu.phys_bits, strict=strict, others=files[1:])


def _files_of(
    machine: KernelMachine, state: KernelState, call: KernelCall
) -> Sequence[Mapping[int, int]]:
    """The registers of each processor as a call finds them: at a wake-up, as firmware sets them."""
    if call.op != "resume":
        return state.cpus

    found = call.args.get("found", {})
    patches = (found.get(str(cpu), {}).items() for cpu in range(machine.cpu.count))
    registers = ({int(number, 16): int(it, 16) for number, it in patch} for patch in patches)

    return [
        {**dict.fromkeys(was, 0), **machine.msrs, **own}
        for was, own in zip(state.cpus, registers, strict=True)
    ]


def _freeze(registers: Registers, kind: str, calls: MtrrCalls, panic: str) -> KernelState:
    table = [] if calls.driver is None else calls.driver.table
    default = None if calls.driver is None else calls.driver.default
    own = {
        "driver": kind,
        "table": [[f"{it.base:#x}", f"{it.len:#x}", *it.row()[2:]] for it in table],
        "used": sorted(calls.used),
        "panic": panic,
        **({} if default is None else {"default": f"{default:#x}"}),
    }

    return KernelState(share_registers(registers.files), own)


def _thaw(registers: Registers, own: Mapping[str, Any]) -> MtrrCalls:
    kept = own.get("default")  # which earlier logs do not have
    default = registers.read(DEF_TYPE) if kept is None else int(kept, 16)
    driver = _DRIVERS[own["driver"]](registers, default) if own["driver"] else None
    if driver is not None:
        driver.table = _table_of(own)

    calls = MtrrCalls(driver)
    calls.used |= set(own["used"])

    return calls


def _table_of(own: Mapping[str, Any]) -> list[Mtrr]:
    return [Mtrr(int(base, 16), int(length, 16), *rest) for base, length, *rest in own["table"]]


def _entries(rows: object) -> list[Mtrr]:
    if not isinstance(rows, list | tuple):
        raise ValueError(f"entries {rows!r:.80} is no list of ranges")

    return [_entry(row) for row in rows]


def _entry(row: object) -> Mtrr:
    tops = (1 << 64, 1 << 64, 256, 256, 1 << 32)
    if not isinstance(row, list | tuple) or not 4 <= len(row) <= len(tops):
        raise ValueError(f"{row!r:.80} is no [base, length, type, flags, owner]")

    for value, top in zip(row, tops, strict=False):
        if not _is_number(value) or not 0 <= value < top:
            raise ValueError(f"{value!r:.80} of {row!r:.80} is not an integer below {top:#x}")

    return Mtrr(*row)


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _ask(calls: MtrrCalls, call: KernelCall, machine: KernelMachine) -> tuple[str | None, Any]:
    args, most = call.args, 0 if calls.driver is None else calls.driver.most
    setting = call.op == "set"
    entries = _entries(args["entries"] if setting else ())
    many = args.get("n", len(entries) if setting else most)
    if not _is_number(many) or not -(1 << 31) <= many < 1 << 31:
        raise ValueError(f"n {many!r:.80} is not an integer of 32 bits")

    for name, allowed in _FORCED.items():
        if name in args and args[name] not in allowed:
            known = ", ".join(map(repr, allowed))
            raise ValueError(f"{name} {args[name]!r:.80} is none of {known}")

    if setting and len(entries) < many <= most and args.get("null") is None:
        raise ValueError(f"n {many} is more than the {len(entries)} ranges")

    ask = calls.set if setting else calls.get
    told = ask(
        call.process,
        many,
        entries,
        null=args.get("null"),
        root=args.get("root", True),
        translated=machine.bits == 64 and args.get("abi", 64) == 32,
    )
    errno, answer = _answer(told)
    if not setting and errno is None and calls.driver is not None and not args.get("null"):
        answer["entries"] = [it.row() for it in calls.driver.table[: told.many]]

    return errno, answer


def _answer(told: Told) -> tuple[str | None, dict[str, Any]]:
    """What a call says of the ranges that were set, and of an error also why."""
    refused = {} if told.errno is None else {"moved": told.done, "why": told.why}

    return told.errno, {"done": told.many, **refused}


def _exit(calls: MtrrCalls, call: KernelCall, _machine: KernelMachine) -> tuple[str | None, Any]:
    return None, calls.exit(call.process)


def _kernel_set(
    calls: MtrrCalls, call: KernelCall, _machine: KernelMachine
) -> tuple[str | None, Any]:
    return _answer(calls.kernel_set(_entries(call.args["entries"]), call.args.get("process")))


def _table(calls: MtrrCalls, _call: KernelCall, _machine: KernelMachine) -> tuple[str | None, Any]:
    return None, [] if calls.driver is None else [it.row() for it in calls.driver.table]


def _store(calls: MtrrCalls, _call: KernelCall, _machine: KernelMachine) -> tuple[str | None, Any]:
    if calls.driver is not None:
        calls.driver.commit()

    return None, None


_CALLS: Final[
    Mapping[str, Callable[[MtrrCalls, KernelCall, KernelMachine], tuple[str | None, Any]]]
] = {
    "set": _ask,
    "get": _ask,
    "exit": _exit,
    "kernel_set": _kernel_set,
    "table": _table,
    "resume": _store,
    "reinit": _store,
}
