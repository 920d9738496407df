"""A thread for the calls of a device model that blocks."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio import from_thread
from anyio.lowlevel import current_token

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds without a call after which the thread ends.
_IDLE: Final = 5.0


class DeviceThread:
    """Runs the calls of one model on a thread, one at a time.

    A call that is given up goes on there, and the next waits for it; one that was given up before
    its turn is not made. The thread does not keep the process from ending.
    """

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[_Call] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._runs = False

    async def run(self, function: Callable[[], object]) -> object:
        """What a function returns, or raises."""
        call = _Call(function)
        with self._lock:
            self._calls.put(call)
            if not self._runs:
                self._runs = True
                threading.Thread(target=self._work, name="device model", daemon=True).start()

        try:
            await call.ended.wait()
        finally:
            call.given_up = True

        if call.error is not None:
            raise call.error

        return call.answer

    def _work(self) -> None:
        while True:
            try:
                call = self._calls.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    if self._calls.empty():
                        self._runs = False
                        return

                continue

            call.make()

    def __reduce__(self) -> tuple[type[DeviceThread], tuple[()]]:
        return DeviceThread, ()


class _Call:
    """One call, and the event loop that waits for it."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._token: Any = current_token()
        self.ended = anyio.Event()
        self.given_up = False
        self.answer: object = None
        self.error: BaseException | None = None

    def make(self) -> None:
        """Call the function, and tell the event loop."""
        if self.given_up:
            return

        try:
            self.answer = self._function()
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            self.error = error

        try:
            from_thread.run_sync(self.ended.set, token=self._token)
        except RuntimeError:  # the event loop has ended, and nobody waits any more
            return
