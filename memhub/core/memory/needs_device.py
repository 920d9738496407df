"""That a transfer has to wait for a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.memory.physmap import Window
    from memhub.core.requests import Read, Write


class NeedsDevice(Exception):
    """Raised when a span reaches a device window and the caller cannot wait; nothing moved.

    The caller starts again with the steps of `memhub.core.memory.transfer`.

    Attributes:
        window: the first device window in the span.
        instead: the transfer that a fault rule puts in its place; None for the one that was asked.
        change: what a fault rule makes of the bytes that are read; None leaves them.
        note: records the fault when the transfer begins; None where there is none.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        self.instead: Read | Write | None = None
        self.change: Callable[[bytes], bytes] | None = None
        self.note: Callable[[], None] | None = None
        super().__init__(f"device window {window.base:#x}/{window.length:#x} is in the span")
