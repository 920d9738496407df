"""What travels: who asks, what came of it, and what else happened on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Principal:
    """A process: whoever holds handles and claims. Not the `mr_owner` label.

    Attributes:
        id: unique in the hub.
        name: for people.
        pid: the client's process id, from the kernel, where known.
        uid: its user id, likewise.
    """

    id: int
    name: str
    pid: int | None = None
    uid: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One thing that happened beside the reply, or by itself: a record and an event.

    Attributes:
        event: `claim.release`, `claim.expire`, `claim.break`, `undo`, …
        process: whom it happened to.
        base: first byte.
        length: bytes.
        slots: slots concerned; `before` and `after` run in parallel where they changed.
        before: the descriptors before.
        after: the descriptors after.
        msrs: registers that differ: number to values before and after.
        fence: the claim's fencing number.
        cause: why.
        reason: in words, where there is more to say.
        error: what hindered it, if something did.
    """

    event: str
    process: Principal
    base: int | None = None
    length: int | None = None
    slots: tuple[int, ...] = ()
    before: tuple[RangeDesc, ...] = ()
    after: tuple[RangeDesc, ...] = ()
    msrs: dict[int, tuple[int, int]] = field(default_factory=dict)
    fence: int | None = None
    cause: str | None = None
    reason: str | None = None
    error: DeviceError | None = None


@dataclass(slots=True)
class Outcome:
    """What a request came to.

    Attributes:
        reply: the answer; meaningless where `error` is set.
        error: why it was refused.
        slots: slots that differ, with `before` and `after` in parallel.
        msrs: registers that differ: number to values before and after.
        claimed: slots that the request newly claimed.
        released: slots whose claim the request ended.
        fence: fencing number of the claim that the request took or used.
        effects: what else happened, in order.
    """

    reply: Any = None
    error: DeviceError | None = None
    slots: tuple[int, ...] = ()
    before: tuple[RangeDesc, ...] = ()
    after: tuple[RangeDesc, ...] = ()
    msrs: dict[int, tuple[int, int]] = field(default_factory=dict)
    claimed: tuple[int, ...] = ()
    released: tuple[int, ...] = ()
    fence: int | None = None
    effects: list[Effect] = field(default_factory=list)

    def result(self) -> Any:  # noqa: ANN401 - the reply's type is the request's
        """The reply.

        Raises:
            DeviceError: the request was refused.
        """
        if self.error is not None:
            raise self.error

        return self.reply
