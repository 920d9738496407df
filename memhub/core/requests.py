"""What can be asked: one frozen class for each operation, typed with its reply.

A request names the open file by its number, so that it is plain data. `Engine.submit` answers
it; `memhub.core.deciding.decide` says what each one comes to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, Never, TypeVar

from memhub.arguments import take_integers, take_opening, take_text
from memhub.core.claims import Claim
from memhub.core.frequent_request import frequent_request
from memhub.core.replies import Explanation, SetOutcome

if TYPE_CHECKING:
    from memhub.abi import Buffer, DataModel, RangeDesc
    from memhub.core.files import Principal
    from memhub.errors import DeviceError

#: Only in replies: a request that is always refused is a request for anything.
R = TypeVar("R", covariant=True)

ReadOp = Literal["read", "pread"]
WriteOp = Literal["write", "pwrite"]


class Request(Generic[R]):
    """A question whose answer is an `R`."""

    __slots__ = ()


class WaitingRequest(Request[R]):
    """A question that may wait for its answer: a SET, a claim, a wait for a free range."""

    __slots__ = ()

    handle: int
    wait: float | None


@dataclass(frozen=True, slots=True)
class Open(Request[int]):
    """open(2); the reply is the number of the open file.

    Attributes:
        process: who opens.
        path: `/dev/mem` or `/dev/kmem` of the default machine, `NAME:/dev/mem` of another.
        mode: `r`, `w` or `r+`.
        undo: undo on close what the process changes.
        model: the data model of its ioctls; None takes the architecture's.
    """

    process: Principal
    path: str
    mode: str = "r"
    undo: bool = False
    model: DataModel | None = None

    def __post_init__(self) -> None:
        take_opening(self.path, self.mode, self.model)
        object.__setattr__(self, "undo", bool(self.undo))


@dataclass(frozen=True, slots=True)
class Close(Request[None]):
    """close(2).

    Attributes:
        handle: the open file.
        cause: `close`, `disconnect`, `cancelled`, `error`, `garbage` or `stop`.
    """

    handle: int
    cause: str = "close"


@frequent_request
class Seek(Request[int]):
    """lseek(2); the reply is the new offset.

    Attributes:
        handle: the open file.
        offset: how far; sums are taken modulo 2**64.
        whence: lseek(2)'s, 0 to 4.
    """

    handle: int
    offset: int
    whence: int = 0


@frequent_request
class Read(Request[bytes]):
    """read(2) or pread(2).

    Attributes:
        handle: the open file.
        length: bytes.
        offset: first byte, or None to read at the file's offset and move it on.
    """

    handle: int
    length: int
    offset: int | None = None


@frequent_request
class Pread(Read):
    """pread(2): a Read whose offset has to be an integer."""

    offset: int


@frequent_request
class Write(Request[int]):
    """write(2) or pwrite(2); the reply is how many bytes were taken.

    Attributes:
        handle: the open file.
        data: the bytes.
        offset: first byte, or None to write at the file's offset and move it on.
    """

    handle: int
    data: Buffer
    offset: int | None = None


@frequent_request
class Pwrite(Write):
    """pwrite(2): a Write whose offset has to be an integer."""

    offset: int


@dataclass(frozen=True, slots=True)
class EndTransfer(Request[None]):
    """A transfer that a device model took part in has ended.

    Attributes:
        handle: the open file.
        op: `read`, `pread`, `write` or `pwrite`.
        base: first byte.
        length: bytes asked for.
        moved: bytes that moved.
        error: how it failed, if it did.
        began_ns: when it began, monotonic nanoseconds.
    """

    handle: int
    op: ReadOp | WriteOp
    base: int
    length: int
    moved: int
    error: DeviceError | None
    began_ns: int


@frequent_request
class GetRanges(Request[tuple[int, bytes]]):
    """MEMRANGE_GET; the reply is the new `mo_arg[0]` and the packed descriptors.

    Attributes:
        handle: the open file.
        count: `mo_arg[0]`: descriptors wanted; 0 and below ask for the number of slots.
        room: bytes behind `mo_desc`, or None for as many as it takes.
    """

    handle: int
    count: int
    room: int | None = None


@dataclass(frozen=True, slots=True)
class RefuseIoctl(Request[Never]):
    """An ioctl that is malformed, or none of mem(4)'s; answered with its error.

    Attributes:
        handle: the open file.
        number: the ioctl's number.
        error: what is wrong with it.
        needs_driver: only a range driver sees it; without one the kernel answers before.
    """

    handle: int
    number: int
    error: DeviceError
    needs_driver: bool = False


@frequent_request
class SetRange(WaitingRequest[SetOutcome]):
    """MEMRANGE_SET; the reply is what it changed.

    Attributes:
        handle: the open file.
        arg: `mo_arg[0]`: MEMRANGE_SET_UPDATE or MEMRANGE_SET_REMOVE.
        desc: the descriptor, its owner already cut.
        fence: the fencing number that the caller believes to hold, or None.
        lease: seconds for which a new claim is to last, or None.
        wait: seconds to wait while it is BUSY; None answers EBUSY at once.
    """

    handle: int
    arg: int
    desc: RangeDesc
    fence: int | None = None
    lease: float | None = None
    wait: float | None = None


@dataclass(frozen=True, slots=True)
class ClaimRange(WaitingRequest[Claim]):
    """Claim a stretch of addresses; the reply is the claim.

    Attributes:
        handle: the open file.
        base: first byte.
        length: bytes.
        lease: seconds after which it ends unless renewed, or None.
        wait: seconds to wait for it; None answers EBUSY at once.
    """

    handle: int
    base: int
    length: int
    lease: float | None = None
    wait: float | None = None

    def __post_init__(self) -> None:
        take_integers(self, ("base", "length"), times=("lease", "wait"))


@dataclass(frozen=True, slots=True)
class AwaitFree(WaitingRequest[None]):
    """Wait until nobody else holds a byte of a range; nothing is claimed.

    Attributes:
        handle: the open file.
        base: first byte.
        length: bytes.
        wait: seconds to wait; None answers EBUSY at once.
    """

    handle: int
    base: int
    length: int
    wait: float | None = None

    def __post_init__(self) -> None:
        take_integers(self, ("base", "length"), times=("wait",))


@dataclass(frozen=True, slots=True)
class ReleaseRange(Request[None]):
    """Give back the claims inside a range.

    Attributes:
        handle: the open file.
        base: first byte.
        length: bytes.
        fence: the fencing number of the only claim to give back, or None for all.
    """

    handle: int
    base: int
    length: int
    fence: int | None = None

    def __post_init__(self) -> None:
        take_integers(self, ("base", "length"), optional=("fence",))


@dataclass(frozen=True, slots=True)
class RenewClaim(Request[Claim]):
    """Let a claim run for `lease` more seconds; the reply is the claim.

    Attributes:
        span: base and length of what the claim has to cover, where the caller names it.
    """

    handle: int
    fence: int
    lease: float | None
    span: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        take_integers(self, ("fence",), times=("lease",))


@dataclass(frozen=True, slots=True)
class BreakClaim(Request[None]):
    """Take a claim from its holder.

    Attributes:
        machine: the machine's name.
        fence: the claim's fencing number.
        reason: why; the holder and the log are told.
        by: who breaks it, or None for the embedder.
    """

    machine: str
    fence: int
    reason: str
    by: Principal | None = None

    def __post_init__(self) -> None:
        take_integers(self, ("fence",))
        take_text("machine", self.machine)
        take_text("reason", self.reason)


@dataclass(frozen=True, slots=True)
class Abandon(Request[None]):
    """The caller of a request that waits, or of a commit, is gone.

    Attributes:
        handle: the open file.
        wait: the number of the wait, or None.
        commit: the number of the commit, or None.
    """

    handle: int
    wait: int | None = None
    commit: int | None = None


@dataclass(frozen=True, slots=True)
class Tick(Request[None]):
    """Time has passed on the machine of this name: end what is due, and serve who can go on."""

    machine: str


@dataclass(frozen=True, slots=True)
class Explain(Request[Explanation]):
    """Which type an address has, and why.

    Attributes:
        handle: the open file.
        address: physical on `/dev/mem`, kernel virtual on `/dev/kmem`.
    """

    handle: int
    address: int
