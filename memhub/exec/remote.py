"""System calls made on behalf of a thread of the program, with ptrace(2).

A supervisor cannot map memory into another process, and the kernel must map another descriptor
and offset than the program gave. So the trapped mmap is answered, and before the thread runs its
next instruction it is stopped, made to repeat the call with other arguments, and its registers
are restored, with the result. Signals are blocked meanwhile.

The thread must not be traced already (by a debugger inside `memhub exec`; mmap of a device
then fails with EPERM). All calls come from one thread of the supervisor.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.exec.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from memhub.exec.machine import MachineABI

_CONT_TO_SYSCALL: Final = 24
_GETREGSET: Final = 0x4204
_SETREGSET: Final = 0x4205
_SEIZE: Final = 0x4206
_INTERRUPT: Final = 0x4207
_GETSIGMASK: Final = 0x420A
_SETSIGMASK: Final = 0x420B
_DETACH: Final = 17
_OPTION_SYSGOOD: Final = 1
_NT_PRSTATUS: Final = 1
_SYSCALL_STOP: Final = signal.SIGTRAP | 0x80
_EVENT_SHIFT: Final = 16
_WALL: Final = 0x40000000
#: How many times to check for the stop of a thread before pausing between checks.
_QUICK_LOOKS: Final = 50
#: Seconds by which the pause between two checks grows, and its maximum.
_PAUSE: Final = 0.00002
_LONGEST_PAUSE: Final = 0.005
_U64: Final = (1 << 64) - 1


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class RemoteThread:
    """A thread of the program that is about to stop for the supervisor.

    Made while the thread waits in a trapped call. Once that call is answered, entering the
    context waits for the stop, and leaving it lets the thread run on. Without a context,
    `release` does.

    Args:
        tid: the thread.
        abi: its calling convention.

    Raises:
        OSError: the thread is gone (ESRCH), or may not be traced (EPERM).
    """

    def __init__(self, tid: int, abi: MachineABI) -> None:
        self._tid = tid
        self._abi = abi
        self._ptrace = libc().ptrace
        self._ptrace.restype = ctypes.c_long
        self._ptrace.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self._mask = ctypes.c_uint64()
        self._saved: list[int] = []
        self._held: list[int] = []
        self._call_ptrace(_SEIZE, 0, _OPTION_SYSGOOD)
        with self._release_on_error():
            self._call_ptrace(_INTERRUPT, 0, 0)

    def __enter__(self) -> RemoteThread:
        with self._release_on_error():
            self._await_stop()
            self._call_ptrace(_GETSIGMASK, 8, ctypes.addressof(self._mask))
            blocked = ctypes.c_uint64(_U64)
            self._call_ptrace(_SETSIGMASK, 8, ctypes.addressof(blocked))
            self._saved = self._read_registers()

        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # If this fails, the thread is ending, and its mask does not matter.
        self._ptrace(_SETSIGMASK, self._tid, 8, ctypes.addressof(self._mask))
        self.release()
        for number in self._held:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._tid, number)

    def release(self) -> None:
        """Let the thread run on untraced; one that was killed meanwhile is reaped.

        A thread that ends while it is traced is reported to its tracer alone, and its parent and
        the seccomp listener learn of the end only after the tracer has waited for it.
        """
        while self._ptrace(_DETACH, self._tid, 0, 0) < 0:
            try:
                self._await_stop()
            except OSError:
                return

    @contextlib.contextmanager
    def _release_on_error(self) -> Iterator[None]:
        """Release the thread if what is done with it fails."""
        try:
            yield
        except BaseException:
            self.release()
            raise

    def call(self, name: str, *args: int) -> int:
        """Make one system call.

        Returns:
            its result as the register holds it: an unsigned 64-bit integer, the last 4095
            values of which are negated error numbers.

        Raises:
            OSError: the thread is gone (ESRCH).
        """
        where = self._abi.registers
        registers = list(self._saved)
        registers[where.pc] -= where.trap
        for place, value in zip(where.args, args, strict=False):
            registers[place] = value

        registers[where.nr] = self._abi.calls[name]
        self._write_registers(registers)
        for _ in range(2):
            self._go_to_syscall()

        return self._read_registers()[where.result]

    def finish(self, result: int) -> None:
        """Give the thread its registers back, with `result` as what the trapped call returned."""
        registers = list(self._saved)
        registers[self._abi.registers.result] = result
        self._write_registers(registers)

    def _go_to_syscall(self) -> None:
        """Run to the entry of the call, or on to its return; signals come later."""
        status = 0
        while os.WSTOPSIG(status) != _SYSCALL_STOP:
            self._call_ptrace(_CONT_TO_SYSCALL, 0, 0)
            status = self._await_stop()
            if not status >> _EVENT_SHIFT and os.WSTOPSIG(status) != _SYSCALL_STOP:
                self._held.append(os.WSTOPSIG(status))

    def _read_registers(self) -> list[int]:
        buffer = (ctypes.c_uint64 * self._abi.registers.words)()
        vector = _Iovec(ctypes.addressof(buffer), ctypes.sizeof(buffer))
        self._call_ptrace(_GETREGSET, _NT_PRSTATUS, ctypes.addressof(vector))

        return list(buffer)

    def _write_registers(self, registers: list[int]) -> None:
        original = self._abi.registers.original
        if original is not None:
            registers[original] = _U64  # no call to restart

        buffer = (ctypes.c_uint64 * len(registers))(*registers)
        vector = _Iovec(ctypes.addressof(buffer), ctypes.sizeof(buffer))
        self._call_ptrace(_SETREGSET, _NT_PRSTATUS, ctypes.addressof(vector))

    def _call_ptrace(self, request: int, address: int, data: int) -> None:
        if self._ptrace(request, self._tid, address, data) < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def _await_stop(self) -> int:
        """Wait for the next stop.

        Returns:
            its status, as waitpid(2) has it.

        Raises:
            ProcessLookupError: the thread ended instead, and is reaped; or it is not traced any
                more, because another thread of its process became a new program (execve).
        """
        if self._next_event() not in (os.CLD_EXITED, os.CLD_KILLED, os.CLD_DUMPED):
            return os.waitpid(self._tid, _WALL)[1]

        if not _is_child(self._tid):  # its own parent learns of the end only after this
            os.waitpid(self._tid, _WALL)

        raise _gone_error()

    def _next_event(self) -> int:
        """The `si_code` of what happens to the thread next; it is left to be waited for.

        A blocking wait would not end if the thread became a mere child of this process.
        """
        events = os.WEXITED | os.WSTOPPED | os.WNOWAIT | os.WNOHANG | _WALL
        looks, pause = 0, 0.0
        while True:
            try:
                event = os.waitid(os.P_PID, self._tid, events)
            except ChildProcessError:
                raise _gone_error() from None

            if event is not None:
                return event.si_code

            looks += 1
            if looks < _QUICK_LOOKS:
                os.sched_yield()
                continue

            if _read_field(self._tid, "TracerPid") != threading.get_native_id():
                raise _gone_error()

            time.sleep(pause)
            pause = min(pause + _PAUSE, _LONGEST_PAUSE)


def _gone_error() -> ProcessLookupError:
    return ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _is_child(tid: int) -> bool:
    """Whether a thread is the first of a process that this process started."""
    return _read_field(tid, "PPid") == os.getpid() and _read_field(tid, "Tgid") == tid


def _read_field(tid: int, name: str) -> int:
    """A number that the kernel tells of a thread.

    Raises:
        ProcessLookupError: there is no such thread.
    """
    try:
        status = Path(f"/proc/{tid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        raise _gone_error() from None

    _, _, rest = status.partition(f"\n{name}:")

    return int(rest.split(None, 1)[0])
