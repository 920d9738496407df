"""What the model speaks of: requests, claims, commits and refusals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from memhub.errors import DeviceError

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.engine.pending import Pending

Span = tuple[int, int]


class Refused(Exception):
    """An errno; `passing` if waiting can help."""

    def __init__(self, errno: str, *, passing: bool = False) -> None:
        super().__init__(errno)
        self.errno = errno
        self.passing = passing


@dataclass(eq=False)
class Held:
    """A claim."""

    fence: int
    process: int
    kind: str
    span: Span
    slots: dict[int, Span] = field(default_factory=dict)
    expires: float | None = None


@dataclass(eq=False)
class Flight:
    """A commit on its way."""

    ask: Ask
    wrote: tuple[int, ...]
    rows: tuple[RangeDesc, ...]
    span: Span
    due: float
    answer: str | None = None


@dataclass(eq=False)
class Ask:
    """A request: `op` is update, remove, claim or free."""

    op: str
    process: int
    handle: int
    desc: RangeDesc
    fence: int | None = None
    lease: float | None = None
    deadline: float | None = None
    answer: str | None = None

    @property
    def span(self) -> Span:
        return self.desc.mr_base, self.desc.mr_end


def overlap(one: Span, other: Span) -> bool:
    """Whether two half-open spans share a byte."""
    return one[0] < other[1] and other[0] < one[1] and one[0] < one[1] and other[0] < other[1]


def told(pending: Pending[Any]) -> str:
    """What a caller was told in the end."""
    assert pending.done
    try:
        pending.result()
    except DeviceError as error:
        return error.code.name

    return "ok"
