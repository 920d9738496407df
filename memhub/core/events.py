"""What can become true: one frozen class for each kind of fact.

A fact says all that it changes, before and after. `at` is when; `began_ns` when asked (monotonic).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from memhub.core.caches.facts import CacheFact
from memhub.core.extracted import AddressExtracted
from memhub.core.health.failure import MachineFailed
from memhub.core.health.hardware_events import CpusChecked, HardwareFact
from memhub.core.restored import RestoreFact
from memhub.core.served import KernelCalled

if TYPE_CHECKING:
    from memhub.abi import Buffer, RangeDesc
    from memhub.core.claims import Claim, ClaimChange, LostClaim
    from memhub.core.drivers.driver import RangeState
    from memhub.core.files import Caller, OpenFile, Principal
    from memhub.core.holding.commits import Commit
    from memhub.core.holding.waits import Wait
    from memhub.core.instant import Instant
    from memhub.core.memory.pieces import Piece
    from memhub.core.ranges.undo import UndoNotes
    from memhub.core.replies import SetOutcome
    from memhub.core.requests import ReadOp, WriteOp
    from memhub.errors import DeviceError, RangeBusy

ClaimOp = Literal["take", "renew", "release", "wait"]
WaitCause = Literal["granted", "refused", "timeout", "deadlock", "cancelled", "close", "log"]


class Attached(NamedTuple):
    """A machine starts: its whole table and its registers."""

    machine: str
    arch: str
    at: Instant
    phys_bits: int
    state: RangeState | None
    config: str
    generation: int = 0


class Detached(NamedTuple):
    """A machine is taken away."""

    machine: str
    arch: str
    at: Instant
    generation: int


class Opened(NamedTuple):
    """A device file was opened."""

    file: OpenFile
    at: Instant
    notes: tuple[UndoNotes, UndoNotes] | None


class OpenRefused(NamedTuple):
    """A device file could not be opened; `machine` and `arch` are what the path meant."""

    process: Principal
    machine: str
    arch: str
    device: str
    mode: str
    at: Instant
    error: DeviceError


class Closed(NamedTuple):
    """A file was closed; `forgotten` is what its process need not be told any more."""

    file: OpenFile
    at: Instant
    cause: str
    last: bool
    forgotten: tuple[LostClaim, ...]
    notes: tuple[UndoNotes, UndoNotes] | None


class Sought(NamedTuple):
    """A file's offset was set; the device is not reached, so the log has no row for it."""

    caller: Caller
    at: Instant
    before: int
    after: int


class MemoryRead(NamedTuple):
    """Bytes were read, or could not be."""

    caller: Caller
    at: Instant
    began_ns: int
    op: ReadOp
    base: int
    length: int
    moved: int
    error: DeviceError | None


class MemoryWritten(NamedTuple):
    """Bytes were written, or could not be; the log keeps their digest and not the bytes."""

    caller: Caller
    at: Instant
    began_ns: int
    op: WriteOp
    base: int
    length: int
    moved: int
    error: DeviceError | None
    pieces: tuple[Piece, ...] = ()
    data: Buffer = b""
    before: bytes | None = None


class RangesRead(NamedTuple):
    """MEMRANGE_GET was answered, or refused."""

    caller: Caller
    at: Instant
    wanted: int
    generation: int
    error: DeviceError | None


class IoctlRefused(NamedTuple):
    """An ioctl was malformed, or none of mem(4)'s."""

    caller: Caller
    at: Instant
    ioctl: int
    error: DeviceError


class RangesSet(NamedTuple):
    """A MEMRANGE_SET took effect.

    Attributes:
        caller: who asked; `at` and `began_ns` are when it took effect and was asked for.
        arg, desc, outcome: `mo_arg[0]`, the descriptor asked for, and what it changed.
        wrote: the slots that the request itself wrote.
        states, generation: the range states before and after; the generation after it.
        claims: what became of the claims.
        notes: the undo notes before and after, or None where they are the same.
        commit: the commit that it ends, or None.
    """

    caller: Caller
    at: Instant
    began_ns: int
    arg: int
    desc: RangeDesc
    outcome: SetOutcome
    wrote: tuple[int, ...]
    states: tuple[RangeState, RangeState]
    generation: int
    claims: tuple[ClaimChange, ...]
    notes: tuple[UndoNotes, UndoNotes] | None
    commit: Commit | None


class SetRefused(NamedTuple):
    """A MEMRANGE_SET was refused; `told` is the loss of which its process now knows."""

    caller: Caller
    at: Instant
    began_ns: int
    arg: int
    desc: RangeDesc
    generation: int
    error: DeviceError
    told: LostClaim | None
    commit: Commit | None


class CommitBegun(NamedTuple):
    """A MEMRANGE_SET is on its way to all CPUs."""

    commit: Commit
    at: Instant
    generation: int


class SlotUndone(NamedTuple):
    """A slot was put back as a file opened for undo was closed, or `error` kept it as it is."""

    caller: Caller
    at: Instant
    slot: int
    outcome: SetOutcome
    states: tuple[RangeState, RangeState]
    generation: int
    claims: tuple[ClaimChange, ...]
    error: DeviceError | None


class ClaimTaken(NamedTuple):
    """A stretch of addresses was claimed, or a claim on it was given a new lease."""

    caller: Caller
    at: Instant
    began_ns: int
    base: int
    length: int
    generation: int
    change: ClaimChange
    settled: tuple[LostClaim, ...]


class ClaimRenewed(NamedTuple):
    """A claim was given a new lease."""

    caller: Caller
    at: Instant
    generation: int
    claims: tuple[ClaimChange]


class ClaimsReleased(NamedTuple):
    """A process gave back its claims inside a range, or the one that it named."""

    caller: Caller
    at: Instant
    base: int
    length: int
    generation: int
    slots: tuple[int, ...]
    claims: tuple[ClaimChange, ...]
    named: bool = False


class RangeFree(NamedTuple):
    """A process was told that nobody else holds a byte of a range."""

    caller: Caller
    at: Instant
    began_ns: int
    base: int
    length: int
    generation: int


class ClaimRefused(NamedTuple):
    """A claim, its renewal or release, or a wait for a free range was refused."""

    caller: Caller
    at: Instant
    began_ns: int
    op: ClaimOp
    base: int
    length: int
    generation: int
    error: DeviceError
    fence: int | None = None


class ClaimEnded(NamedTuple):
    """A claim ended beside a request: by the close of its holder's last file, a lease, a break.

    `cause`: of the close, `expire` or `break`; `lost`: what its holder is told; `by`: who broke it.
    """

    machine: str
    arch: str
    at: Instant
    generation: int
    claim: Claim
    cause: str
    lost: LostClaim | None
    by: Principal | None


class WaitBegun(NamedTuple):
    """A request was refused with EBUSY and waits; `refusal` is what it was told."""

    wait: Wait
    at: Instant
    generation: int
    refusal: RangeBusy


class WaitEnded(NamedTuple):
    """A request waits no longer; the fact behind this one says what it came to.

    `cause` is how it ended, `error` its answer's, `holder` whom it waited for last, where known.
    """

    wait: Wait
    at: Instant
    generation: int
    cause: WaitCause
    error: DeviceError | None
    holder: tuple[str | None, int | None]


Event = (
    Attached
    | Detached
    | MachineFailed
    | RestoreFact
    | HardwareFact
    | KernelCalled
    | Opened
    | OpenRefused
    | Closed
    | Sought
    | MemoryRead
    | MemoryWritten
    | RangesRead
    | AddressExtracted
    | IoctlRefused
    | RangesSet
    | SetRefused
    | CommitBegun
    | SlotUndone
    | ClaimTaken
    | ClaimRenewed
    | ClaimsReleased
    | RangeFree
    | ClaimRefused
    | ClaimEnded
    | WaitBegun
    | WaitEnded
    | CacheFact
)

#: The facts that change no range and no claim: their records may share a write.
LOOKS: Final[frozenset[type]] = frozenset(
    {
        Attached,
        CpusChecked,
        Detached,
        OpenRefused,
        Sought,
        MemoryRead,
        RangesRead,
        AddressExtracted,
        IoctlRefused,
        RangeFree,
    }
)
