"""What keeps a driver from ending the check: exits, interrupts of its own, and standard output."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn, Self, TypeVar, cast

from memhub.core.asking.driver_answers import DriverStopped, kind_of, say
from memhub.errors import DriverFailed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from memhub.core.asking.asked_driver import AskedDriver, CallMark

T = TypeVar("T")


class EndsProcess(BaseException):
    """Raised in place of `os._exit`, where a driver calls it."""


class Containment:
    """Use it in `with`, around a check; on the main thread it knows Ctrl-C from a driver's own.

    Args:
        mark: where calls are noted.

    Attributes:
        printed: whether something was written to standard output, which went to standard error.
    """

    def __init__(self, mark: CallMark) -> None:
        self._mark = mark
        self._thread = threading.current_thread()
        self._before: object = None
        self._stack = contextlib.ExitStack()
        self.printed = False

    def __enter__(self) -> Self:
        self._mark.interrupts = False
        self._exit, os._exit = os._exit, self._refuse_exit
        if self._thread is threading.main_thread():
            self._before = signal.getsignal(signal.SIGINT)
            if callable(self._before):
                signal.signal(signal.SIGINT, self._interrupt)

        self._stack.enter_context(contextlib.redirect_stdout(_ToStderr(self)))

        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        os._exit = self._exit
        if callable(self._before):
            signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C: a KeyboardInterrupt that passes through a driver's call is the user's now."""
        self._mark.interrupts = True
        assert callable(self._before)
        self._before(number, frame)

    def _refuse_exit(self, status: int) -> NoReturn:
        if self._mark.call is None or threading.current_thread() is not self._thread:
            self._exit(status)

        raise EndsProcess(f"os._exit({status})")


class _ToStderr(io.TextIOBase):
    """Standard output while a driver is checked, whose own output is none of the check's."""

    def __init__(self, owner: Containment) -> None:
        self._owner = owner

    def write(self, text: str) -> int:
        self._owner.printed = True
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)

        return len(text)


def call_guarded(mark: CallMark, driver: AskedDriver, method: str, call: Callable[[], T]) -> T:
    """Call what may run code of a driver's, where a watchdog can stop it.

    Raises:
        DriverFailed: it raised something, or was stopped.
    """
    mark.call = (driver, method)
    try:
        return call()
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and mark.interrupts:
            raise

        stopped = isinstance(error, DriverStopped)
        words = say(error) if stopped else f"failed with {kind_of(error)}: {say(error)}"
        raise DriverFailed(f"{driver.named(method)}, {words}") from error
    finally:
        mark.call = None


def pickle_copy(value: T) -> T:
    """A copy of a value, by pickling it."""
    return cast("T", pickle.loads(pickle.dumps(value)))  # noqa: S301 - our own
