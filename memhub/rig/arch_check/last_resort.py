"""Ends the check of a driver that catches even what stops it: nothing else could."""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING, Final, Self

if TYPE_CHECKING:
    from memhub.core.asking.asked_driver import AskedDriver, CallMark

#: How many limits a call may last.
_LIMITS: Final = 10
_FAILED: Final = 1


class LastResort:
    """Looks whether one call lasts ten times the limit, and then ends the process.

    Args:
        mark: where calls are noted.
        limit: seconds after which a watchdog tries to stop a call.
    """

    def __init__(self, mark: CallMark, limit: float) -> None:
        self._mark, self._limit = mark, limit
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="last resort", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()

        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        seen: tuple[AskedDriver, str] | None = None
        looks = 0
        while not self._ended.wait(self._limit):
            call = self._mark.call
            looks = looks + 1 if call is not None and call is seen else 0
            seen = call
            if call is not None and looks >= _LIMITS:
                driver, method = call
                words = f"hangs: {driver.named(method)}, cannot be stopped; the check ends here\n"
                os.write(getattr(sys.__stderr__, "fileno", lambda: 2)(), words.encode())
                os._exit(_FAILED)
