"""The frame of caches: clflush, clwb and sfence of a client."""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from memhub.service.wire.greeting import FEATURE_CACHES
from memhub.service.wire.layout import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

    from memhub.service.wire.layout import u32, u64

FLUSH_DROP: Final = 0
FLUSH_KEEP: Final = 1
FLUSH_FENCE: Final = 2


class Flush(Message):
    """Let the bus see what caches hold, on a machine that is not coherent; DONE answers with 0.

    On a coherent machine it does nothing, and neither does it with a length of 0. Another `what`
    is a breach.

    Attributes:
        handle: from OPENED.
        what: FLUSH_DROP 0, the lines of the range, which are dropped (clflush); FLUSH_KEEP 1, the
            same, and they are kept (clwb); FLUSH_FENCE 2, the combining buffers of this client
            (sfence), whatever the range.
        base: first byte.
        length: bytes.

    Errors: EAGAIN, EFAULT, EINVAL.
    """

    TYPE: ClassVar[int] = 0x2F
    FEATURE: ClassVar[int] = FEATURE_CACHES

    handle: u32
    what: u32
    base: u64
    length: u64

    def check(self) -> None:
        if self.what > FLUSH_FENCE:
            raise ProtocolError(f"FLUSH asks for {self.what}, which is not 0, 1 or 2")
