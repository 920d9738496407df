"""Linux's MTRR layer for the machines of a hub: each call of a pure driver.

A call makes the kernel of its state, lets it answer, and takes its state again; so one set of
rules serves recorded answers, Python objects and hubs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin.kernels import KernelAnswer, ServedKernel
from memhub_linux.cleanup.trimming import cut_spans
from memhub_linux.mtrr.boot import why_no_back_end
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.mtrr.proc_mtrr import Entry, OpenMtrr, ProcMtrr
from memhub_linux.mtrr.seq_file import SeqFile
from memhub_linux.refused import Refused
from memhub_linux.releases import LINUX_6_18
from memhub_linux.served.call_words import COMMANDS, DRIVER_ARGUMENTS, FILE_OPS, check_numbers
from memhub_linux.served.driver_calls import DRIVER_CALLS
from memhub_linux.served.frozen import freeze, thaw
from memhub_linux.served.meant import calls_to_replace, register_of
from memhub_linux.served.memtype_calls import (
    MEMTYPE_LIST,
    MEMTYPE_OPS,
    boot_memtype,
    call_memtype,
    check_list,
    freeze_memtype,
    thaw_memtype,
)
from memhub_linux.served.settings import setting_of
from memhub_linux.served.shown import range_decides, shown_ranges
from memhub_linux.served.waking import MACHINE_CALLS, slot_registers, why_no_reinit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from memhub.plugin import errors
    from memhub.plugin.kernels import KernelCall, KernelMachine, KernelRanges, KernelState
    from memhub_linux.releases import Release
    from memhub_linux.served.frozen import LinuxSetting

    Args = Mapping[str, Any]

_U32: Final = 0xFFFFFFFF
_BAD_POINTER: Final = "the pointer leads nowhere"
#: What opens of the file and drivers' calls are answered where there are none.
_WITHOUT_RANGES: Final = ("EIO", "ENOENT", "ENXIO", "ENODEV")


class LinuxKernel(ServedKernel):
    """Linux's MTRRs, `/proc/mtrr` and what drivers call.

    Args:
        release: 6.18 or 2.6.32, which lets anybody open the file and asks at each `write` and
            `ioctl` for CAP_SYS_ADMIN (`admin`; who opened the file without it has none there).

    The calls, their arguments and answers; a text of bytes is latin-1:

    - `open` {admin, path if not `/proc/mtrr`}, `close` {keep: registers that are not given
      back}: of the call's `file`;
    - `read` {length, offset or none}: a text; without a `file`, the whole text at once;
    - `seek` {offset, whence}: the position;
    - `write` {data}: bytes taken; without a `file` as well. With an `offset` it is pwrite(2);
    - `ioctl` {cmd: `ADD`, `SET`, `DEL`, `KILL`, `GET` and the same with `_PAGE`; abi: 64 or 32;
      base, size, type, or regnum of a GET}: the register; of a GET {base, size, type, regnum}.
      Of others than these `cmd` is a number. `bad_pointer` and `no_memory` are forced conditions;
    - `add`, `add_page` {base, size, type, increment}, `del`, `del_page` {reg, base, size}: the
      register;
    - `wc_add` {base, size}: a handle; `wc_del` {handle};
    - `lookup` {start, end}: {type, uniform};
    - `save_fixed`, `suspend`, `resume` {found}, `reinit`;
    - `table`: rows of base, size, type and use count, in pages.
    """

    ops = FILE_OPS | {*DRIVER_ARGUMENTS, *MACHINE_CALLS}
    driver_ops = frozenset(DRIVER_ARGUMENTS)
    arguments = DRIVER_ARGUMENTS
    calls_to_replace = staticmethod(calls_to_replace)
    range_decides = staticmethod(range_decides)
    numbers_registers = True
    machine_ops = frozenset(MACHINE_CALLS)
    undo_rule = "a close gives back what ADD counted, and use counts do not say whose the rest is"
    file_ops = FILE_OPS - {"open", "close"}

    def __init__(self, release: Release = LINUX_6_18) -> None:
        self._release = release
        lists = () if release.old_registers else (MEMTYPE_LIST,)
        self.files = frozenset({"/proc/mtrr", *lists})

    def boot(self, machine: KernelMachine) -> KernelAnswer:
        """Boot, and trim the RAM if the machine says where that is."""
        return boot_linux(setting_of(machine, self._release), machine.ram)

    def held_by(self, state: KernelState, file: int) -> tuple[int, ...]:
        """The registers that a descriptor has added and not given back."""
        held = state.files.get(file, {}).get("held", ())

        return tuple(register for register, many in enumerate(held) if many)

    def slot_registers(
        self, machine: KernelMachine, state: KernelState, register: int
    ) -> tuple[tuple[int, int], ...]:
        """The MSRs that hold a register of `/proc/mtrr`."""
        return slot_registers(state.own, register)

    def firmware_registers(self, machine: KernelMachine) -> Mapping[int, int]:
        """The registers at a wake-up; PAT is as after power-on unless the machine says."""
        return setting_of(machine, self._release).msrs

    def why_no_reinit(self, machine: KernelMachine, state: KernelState) -> str:
        """Only Intel's MTRRs are stored again on CPUs that start."""
        return why_no_reinit(state.own)

    def register_of(self, call: KernelCall) -> int | None:
        """The register of `disable=N`, of a delete by number, and of a driver's handle."""
        return register_of(call, self._release)

    def ranges(self, machine: KernelMachine, state: KernelState) -> KernelRanges:
        """The registers as `/proc/mtrr` lists them, with their use counts."""
        return shown_ranges(thaw(setting_of(machine, self._release), state))

    def call(self, machine: KernelMachine, state: KernelState, call: KernelCall) -> KernelAnswer:
        """Answer a call."""
        if call.op not in self.ops:
            known = ", ".join(sorted(self.ops))
            raise ValueError(f"Linux has no call {call.op!r} (calls: {known})")

        return call_linux(setting_of(machine, self._release), state, call)

    def explain(self, call: KernelCall, answer: KernelAnswer) -> errors.DeviceError:
        """The error of a refused call; one for want of ranges says why there are none."""
        if not answer.why and answer.errno in _WITHOUT_RANGES and "path" not in call.args:
            answer = answer._replace(why=why_no_back_end(answer.state.own))

        return super().explain(call, answer)


def boot_linux(setting: LinuxSetting, ram: Sequence[tuple[int, int]] = ()) -> KernelAnswer:
    """Boot on a machine; see `LinuxKernel.boot`."""
    kernel = LinuxMtrr(setting.machine, setting.start_cpus(), early=True)
    memtype = boot_memtype(setting, kernel)
    if ram:
        trim = kernel.trim(ram)
        if trim.trimmed:
            ram = cut_spans(ram, trim.reserved)

    kernel.end_boot()
    if memtype is None:
        return KernelAnswer(freeze(kernel, {}), log=tuple(kernel.log.take()))

    memtype.ram = [(start, end - 1) for start, end in sorted(ram)]

    return KernelAnswer(freeze(kernel, {}, freeze_memtype(memtype)), log=tuple(kernel.log.take()))


def call_linux(setting: LinuxSetting, state: KernelState, call: KernelCall) -> KernelAnswer:
    """Answer a call, one of `LinuxKernel.ops`."""
    check_numbers(call.args)
    running = _Running(setting, state, call)
    errno: str | None = None
    why, value = "", None
    try:
        value = running.do()
    except Refused as refused:
        errno, why = refused.errno, refused.why
    except KeyError as error:
        raise ValueError(f"{call.op} needs an argument {error.args[0]!r}") from None

    after = freeze(running.kernel, running.files, running.memtype)
    log = tuple(running.kernel.log.take())

    return KernelAnswer(state if after == state else after, value, errno, log, why)


class _Running:
    """One call over a kernel that may change."""

    def __init__(self, setting: LinuxSetting, state: KernelState, call: KernelCall) -> None:
        self.kernel = thaw(setting, state)
        self.memtype: Mapping[str, Any] | None = state.own.get("memtype")
        self.files = dict(state.files)
        self._setting = setting
        self._proc = ProcMtrr(self.kernel)
        self._call = call

    def do(self) -> Any:  # noqa: ANN401 - each call has its own answer
        op, args = self._call.op, self._call.args
        if op in MEMTYPE_OPS:
            return self._ask_memtype(op, args)

        if op in MACHINE_CALLS:
            return MACHINE_CALLS[op](self._setting, self.kernel, self.memtype, args)

        ask = DRIVER_CALLS.get(op)

        return _CALLS[op](self, args) if ask is None else ask(self.kernel, op, args)

    def _ask_memtype(self, op: str, args: Args) -> Any:  # noqa: ANN401 - each has its own answer
        if self.memtype is None:
            raise ValueError(f"{op} is not served: page attributes are those of Linux 6.18")

        memtype = thaw_memtype(self.kernel, self.memtype)
        try:
            return call_memtype(memtype, op, args)
        finally:
            self.memtype = freeze_memtype(memtype)

    # Through a file

    def _number(self) -> int:
        number = self._call.file
        if number is None:
            raise ValueError(f"{self._call.op} needs the number of an open file")

        return number

    def _opened(self) -> tuple[OpenMtrr, SeqFile]:
        number = self._number()
        if number not in self.files:
            raise ValueError(f"the kernel has no open file {number}")

        item = self.files[number]
        held = item.get("held")

        return OpenMtrr(None if held is None else list(held)), SeqFile.of(item)

    def _keep(self, file: OpenMtrr, text: SeqFile) -> None:
        held = {} if file.held is None else {"held": file.held}
        kept = {} if self._is_admin({}) else {"admin": False}
        shown = {"path": MEMTYPE_LIST} if self._shows_list() else {}
        self.files[self._number()] = {**held, **kept, **shown, **text.item()}

    def _shows_list(self) -> bool:
        """Whether the call's file is the list of reservations."""
        return "path" in self.files.get(self._number(), {})

    def _make_text(self) -> str:
        """What the call's file shows."""
        if not self._shows_list():
            return self._proc.read_text()

        assert self.memtype is not None

        return thaw_memtype(self.kernel, self.memtype).list_text()

    def _is_admin(self, args: Args) -> bool:
        """Whether the process has CAP_SYS_ADMIN: as the call says, else as at the open."""
        opened = self.files.get(self._call.file, {}) if self._call.file is not None else {}

        return bool(args.get("admin", opened.get("admin", True)))

    def do_open(self, args: Args) -> None:
        number = self._number()
        if number in self.files:
            raise ValueError(f"the kernel has an open file {number} already")

        admin = args.get("admin", True)
        if args.get("path") == MEMTYPE_LIST:
            check_list(self.memtype, admin=admin)
            self.files[number] = {"path": MEMTYPE_LIST}
        else:
            self._proc.open(admin=admin)
            self.files[number] = {} if admin else {"admin": False}

        self.files = dict(sorted(self.files.items()))

    def do_close(self, args: Args) -> None:
        file, _ = self._opened()
        for register in args.get("keep", ()):
            if file.held is not None:
                file.held[register] = 0

        self._proc.close(file)
        del self.files[self._number()]

    def do_read(self, args: Args) -> str:
        if self._call.file is None:
            self._proc.open(admin=True)
            return self._proc.read_text()

        file, text = self._opened()
        try:
            return text.read(args["length"], args.get("offset"), self._make_text)
        finally:
            self._keep(file, text)

    def do_seek(self, args: Args) -> int:
        file, text = self._opened()
        try:
            return text.seek(args["offset"], args.get("whence", 0), self._make_text)
        finally:
            self._keep(file, text)

    def do_write(self, args: Args) -> int:
        if self._call.file is not None and self._shows_list():
            raise Refused("EINVAL", "the list has no write")

        self._proc.check_admin("", admin=self._is_admin(args))
        if args.get("bad_pointer"):
            raise Refused("EFAULT", _BAD_POINTER)

        if "offset" in args:  # seq_open clears FMODE_PWRITE
            raise Refused("ESPIPE", "the file has no write at an offset (pwrite)")

        return self._proc.write(args["data"].encode("latin-1"))

    def do_ioctl(self, args: Args) -> Any:  # noqa: ANN401 - a number or what a GET fills
        command, abi = args["cmd"], args.get("abi", self._setting.machine.bits)
        file, text = self._opened()
        if self._shows_list():
            raise Refused("ENOTTY", "the list has no ioctl")

        if args.get("bad_pointer"):
            raise Refused("EFAULT", _BAD_POINTER)

        if command not in COMMANDS:
            number = f"{command:#x}" if isinstance(command, int) else repr(command)
            raise Refused("ENOTTY", f"the file has no ioctl {number:.40}")

        self._proc.check_admin(command, admin=self._is_admin(args))
        if args.get("no_memory") and file.held is None and command.startswith("ADD"):
            raise Refused("ENOMEM", "there is no memory for the counts of this open file")

        entry = Entry(*(args.get(it, 0) for it in ("base", "size", "type", "regnum")))
        try:
            register, shown = self._proc.ioctl(file, command, entry)
        finally:
            self._keep(file, text)

        if shown is None:
            return register

        return {
            "base": shown.base & (_U32 if abi == 32 else -1),
            "size": shown.size & _U32,
            "type": shown.type,
            "regnum": shown.register,
        }


_CALLS: Final[Mapping[str, Callable[[_Running, Args], Any]]] = {
    "open": _Running.do_open,
    "close": _Running.do_close,
    "read": _Running.do_read,
    "seek": _Running.do_seek,
    "write": _Running.do_write,
    "ioctl": _Running.do_ioctl,
}
