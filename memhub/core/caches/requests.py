"""What can be asked of caches: `clflush`, `clwb` and `sfence` of a process."""

from __future__ import annotations

from dataclasses import dataclass

from memhub.arguments import take_integers
from memhub.core.requests import Request


@dataclass(frozen=True, slots=True)
class FlushLines(Request[None]):
    """Let the bus see the lines of a span.

    Attributes:
        handle: the open file.
        base: first byte.
        length: bytes.
        keep: keep the lines, as clwb does; else drop them, as clflush does.
    """

    handle: int
    base: int
    length: int
    keep: bool = False

    def __post_init__(self) -> None:
        take_integers(self, ("base", "length"))
        object.__setattr__(self, "keep", bool(self.keep))


@dataclass(frozen=True, slots=True)
class Fence(Request[None]):
    """Let the bus see the combining buffers of the process, as sfence does.

    Attributes:
        handle: the open file.
    """

    handle: int
