"""Stops a driver's call that lasts too long, and lets a signal end a service that it holds up.

A driver is called on the thread of the event loop, so a call that never ends would hold up every
client. A second thread looks a few times per limit whether one call is still under way. It then
reports the driver with a stack, and sends SIGURG to the main thread, where the handler raises
DriverStopped inside the call; `asked_driver.py` makes EIO of it. That ends loops in Python, and
sleeps and locks in C, which look for signals. What ignores even that ends with the process, as
soon as SIGTERM or SIGINT comes, which the thread sees although the loop does not turn.

C code that holds the interpreter lock stops this thread too. So the thread keeps two timers of the
kernel from running out. The first stops the call if the C code looks for signals, as a regular
expression does. The second ends the process, since nothing else but SIGKILL could.
"""

from __future__ import annotations

import contextlib
import faulthandler
import math
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING, Final, Self

from memhub.core.asking.asked_driver import CallMark
from memhub.core.asking.driver_answers import DriverStopped

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.asking.asked_driver import AskedDriver
    from memhub.engine.engine import Engine

#: The name of the thread that reports a call.
REPORT_THREAD: Final = "driver watchdog's report"
#: Longest time between two looks, seconds.
_TICK: Final = 0.5
#: Looks that must find one call under way, since a process may have been stopped.
_LOOKS: Final = 4
#: Processor time that the process may use while this thread cannot run at all, in limits.
_HELD: Final = 15
_FRAMES: Final = 8
_ENDING: Final = frozenset({signal.SIGTERM, signal.SIGINT})


class DriverWatchdog:
    """Looks after the driver calls of one hub; use it in `with`, on the main thread.

    Args:
        engine: the machines; None for drivers that are given `mark` by hand.
        limit: seconds that one call may last.
        say: takes what is to be reported, a line or more; called on another thread.

    Attributes:
        mark: where the calls that it looks after are noted.
    """

    def __init__(self, engine: Engine | None, limit: float, say: Callable[[str], None]) -> None:
        self._limit = limit
        self._say = say
        self.mark = CallMark()
        for machine in engine.machines.values() if engine is not None else ():
            if machine.table is not None:
                machine.table.driver.mark = self.mark

        self._tick = min(_TICK, limit / _LOOKS)
        self._overdue = max(_LOOKS, math.ceil(limit / self._tick))
        self._to_stop: tuple[AskedDriver, str] | None = None
        self._ended = self._ending = False
        self._overdue_words = f"has not answered for {limit:g} s; it is stopped"
        self._looked = time.monotonic()
        self._loop_fd = -1
        self._thread = threading.Thread(
            target=self._watch_calls, name="driver watchdog", daemon=True
        )
        self._main = threading.main_thread().ident or 0

    def __enter__(self) -> Self:
        self._read, self._write = socket.socketpair()
        self._read.setblocking(False)
        self._write.setblocking(False)
        self._before = signal.signal(signal.SIGURG, self._stop_call)
        self._timer_before = signal.signal(signal.SIGVTALRM, self._stop_held_call)
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            faulthandler.register(signal.SIGPROF, sys.__stderr__ or sys.stderr, chain=True)

        self._thread.start()

        return self

    def __exit__(self, *_: object) -> None:
        self._ended = self.mark.interrupts = True
        now = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(self._loop_fd if now == self._write.fileno() else now)
        self._write.send(b"\0")
        self._thread.join()
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.unregister(signal.SIGPROF)
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, self._timer_before)
        signal.signal(signal.SIGURG, self._before)
        self._read.close()
        self._write.close()

    def relay_signals(self) -> None:
        """See signals before the event loop does; call it when the loop waits for them.

        From then on a KeyboardInterrupt in a driver's call is the driver's own.
        """
        self.mark.interrupts = False
        self._loop_fd = signal.set_wakeup_fd(self._write.fileno(), warn_on_full_buffer=False)

    def _stop_call(self, _number: int, _frame: object) -> None:
        """Raise inside the call that is to be stopped, if it is still under way.

        Handlers run on the main thread as calls do, so the call cannot end in between.
        """
        call, self._to_stop = self._to_stop, None
        if call is not None and call is self.mark.call:
            raise DriverStopped(f"did not answer within {self._limit:g} s and was stopped")

    def _stop_held_call(self, number: int, frame: object) -> None:
        """The same for a call that kept the thread from looking for the whole limit."""
        call = self.mark.call
        if call is not None and time.monotonic() - self._looked >= self._limit:
            self._report_lines(self._describe_call(call, self._overdue_words))
            self._to_stop = call
            self._stop_call(number, frame)

    def _watch_calls(self) -> None:
        # the kernel gives them to the main thread alone, which may have blocked them for a moment
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        seen, looks = None, 0
        while True:
            self._looked = time.monotonic()
            signal.setitimer(signal.ITIMER_VIRTUAL, self._limit, self._limit)
            signal.setitimer(signal.ITIMER_PROF, _HELD * self._limit)
            self._wait_a_tick()
            if self._ended:
                return

            call = self.mark.call
            if call is None or call is not seen:
                seen, looks = call, 0
                continue

            looks += 1
            if self._ending and looks >= 2 * self._overdue:
                self._end_process(call)

            if looks % self._overdue == 0:
                words = self._describe_call(call, self._overdue_words)
                self._to_stop = call
                signal.pthread_kill(self._main, signal.SIGURG)
                if looks == self._overdue:
                    self._report_lines(words)

    def _wait_a_tick(self) -> None:
        """Hand signals on to the event loop for a tick, and note those that end the service."""
        until = time.monotonic() + self._tick
        while not self._ended and (left := until - time.monotonic()) > 0:
            if select.select([self._read], [], [], left)[0]:
                numbers = self._read.recv(4096)
                self._ending = self._ending or not _ENDING.isdisjoint(numbers)
                if self._loop_fd >= 0 and not self._ended:
                    with contextlib.suppress(OSError):  # full: it will wake up in any case
                        os.write(self._loop_fd, numbers)

    def _describe_call(self, call: tuple[AskedDriver, str], what: str) -> list[str]:
        """What is to be said of a call, and where it is."""
        driver, method = call
        frame = sys._current_frames().get(self._main)  # noqa: SLF001 - the public way to it
        stack = traceback.format_stack(frame)[-_FRAMES:] if frame is not None else []

        return [f"{driver.named(method)}, {what}", *"".join(stack).splitlines()]

    def _report_lines(self, lines: list[str]) -> None:
        """Say some lines, and wait a second at most: it may be that nobody takes them."""

        def say() -> None:
            for line in lines:
                self._say(line)

        saying = threading.Thread(target=say, name=REPORT_THREAD, daemon=True)
        saying.start()
        saying.join(1.0)

    def _end_process(self, call: tuple[AskedDriver, str]) -> None:
        """End the process; what was acknowledged is in the log, which is written synchronously."""
        what = "cannot be stopped; the service ends without closing its log"
        self._report_lines(self._describe_call(call, what))
        os._exit(2)
