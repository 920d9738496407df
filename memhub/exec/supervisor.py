"""Serves the trapped calls of one program and everything that it starts.

One thread takes the calls in order and answers most of them at once. A call that may wait is
performed on a thread of its own, so that the rest of the program does not wait.

Every call that waits is received before one is served: a signal can interrupt a call, which then
fails with EINTR, only until the kernel has seen it received. For the same reason this thread runs
before others that wait for a core, if the kernel lets it (`_prefer_thread`).

Hang-ups are looked at before each call is served: a session whose last descriptor was closed
before a call is closed before that call is served. Claims therefore end in the order in
which the program closed and called.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import select
import signal
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from memhub.exec import control, guarding, mapping, opening, status, transfer
from memhub.exec.context import (
    ANSWERED,
    DEFER,
    PROCEED,
    Context,
    Handler,
    Outcome,
    Result,
    number_of,
)
from memhub.exec.memory import ProgramMemory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from memhub.exec.devices import OpenDevice
    from memhub.exec.kernel import Notification

_HANDLERS: Final[Mapping[str, Handler]] = {
    "open": opening.plain_open,
    "creat": opening.creat,
    "openat": opening.openat,
    "openat2": opening.openat2,
    **transfer.READS,
    **transfer.WRITES,
    "lseek": transfer.lseek,
    "fstat": status.fstat,
    "newfstatat": status.newfstatat,
    "statx": status.statx,
    "mmap": mapping.mmap,
    "ioctl": control.ioctl,
    "fcntl": opening.fcntl,
    "dup": opening.dup,
    "open_by_handle_at": opening.open_by_handle_at,
    "pidfd_getfd": guarding.pidfd_getfd,
    "iopl": guarding.iopl,
    "ioperm": guarding.ioperm,
}
_X32_BIT: Final = 0x40000000
_BEST_NICE: Final = -20
_GONE: Final = select.EPOLLHUP | select.EPOLLERR


class Supervisor:
    """Answers trapped calls until no process is left that could make one.

    Args:
        context: what the handlers work with.
        child: the program's pidfd; readable when it has ended.
        ended: called once, when it has.
    """

    def __init__(self, context: Context, child: int, ended: Callable[[], object]) -> None:
        self._context = context
        self._child = child
        self._ended = ended
        numbers = context.abi.calls
        self._handlers = {
            numbers[name]: handler for name, handler in _HANDLERS.items() if name in numbers
        }
        self._poll = context.devices.poll
        self._poll.register(context.listener.fd, select.EPOLLIN)
        self._poll.register(child, select.EPOLLIN)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll.register(self._wake, select.EPOLLIN)
        self._stopping = False

    def stop(self) -> None:
        """Stop serving, also processes that still run; safe in a signal handler."""
        os.eventfd_write(self._wake, 1)

    def run(self) -> None:
        """Serve until the last process under the filter is gone, or until stopped."""
        try:
            with _prefer_thread():
                self._serve_calls()
        finally:
            os.close(self._wake)
            self._close_all()
            self._context.devices.close()

    def _serve_calls(self) -> None:
        listener = self._context.listener.fd
        waiting: deque[Notification] = deque()
        while not self._stopping:
            events = dict(self._poll.poll(0 if waiting else None))
            ready = events.pop(listener, 0)
            if events:
                self._handle_events(events)

            if ready & select.EPOLLIN:
                call = self._context.listener.receive()
                if call is not None:
                    waiting.append(call)
            elif ready & _GONE:
                return
            elif waiting:
                self._serve_call(waiting.popleft())

    def _handle_events(self, events: dict[int, int]) -> None:
        if events.pop(self._child, 0):
            self._poll.unregister(self._child)
            self._child = -1
            self._ended()

        if events.pop(self._wake, 0):
            self._stopping = True

        for watch in events:
            device = self._context.devices.watched(watch)
            if device is not None:
                self._close_device(device)

    def _serve_call(self, call: Notification) -> None:
        abi = self._context.abi
        if call.arch != abi.audit_arch or call.nr & _X32_BIT:
            self._refuse_convention(call)
            return

        if self._perform_call(self._context, call) is DEFER:
            patient = dataclasses.replace(self._context, patient=True, memory=ProgramMemory())
            threading.Thread(
                target=self._perform_call,
                args=(patient, call),
                name="memhub-exec-call",
                daemon=True,
            ).start()

    def _perform_call(self, context: Context, call: Notification) -> Result:
        """Make one call and answer it; what the handler answered."""
        listener = context.listener
        try:
            result = self._handlers[call.nr](context, call)
        except OSError as error:
            listener.fail(call, number_of(error))
            return ANSWERED
        except BaseException:
            listener.fail(call, errno.EIO)
            raise

        if result is PROCEED:
            listener.proceed(call)
        elif not isinstance(result, Outcome):
            listener.answer(call, result)

        return result

    def _refuse_convention(self, call: Notification) -> None:
        """Kill a program whose call numbers mean something else: a 32-bit one."""
        name = self._context.abi.name
        self._context.complain(
            f"process {call.pid} makes system calls that are not {name}'s own "
            f"(a 32-bit program?); only 64-bit {name} programs can be run: killed"
        )
        with contextlib.suppress(ProcessLookupError):
            os.kill(call.pid, signal.SIGKILL)

    def _close_device(self, device: OpenDevice) -> None:
        try:
            self._context.devices.remove(device)
        except OSError as error:
            self._context.complain(f"closing {device.path}: {error}")

    def _close_all(self) -> None:
        for device in self._context.devices:
            self._close_device(device)


@contextlib.contextmanager
def _prefer_thread() -> Iterator[None]:
    """Give this thread the best nice value, if it may have it.

    Otherwise a child that the program starts may run, end and send SIGCHLD before this thread
    has received the call that its parent made.
    """
    before = os.getpriority(os.PRIO_PROCESS, 0)
    with contextlib.suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, _BEST_NICE)

    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)
