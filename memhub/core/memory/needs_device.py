"""That a transfer has to wait for a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.core.memory.physmap import Window


class NeedsDevice(Exception):
    """Raised when a span reaches a device window and the caller cannot wait; nothing moved.

    The caller starts again with the steps of `memhub.core.memory.transfer`.

    Attributes:
        window: the first device window in the span.
    """

    def __init__(self, window: Window) -> None:
        self.window = window
        super().__init__(f"device window {window.base:#x}/{window.length:#x} is in the span")
