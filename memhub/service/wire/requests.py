"""The other requests. A `handle` is a number from OPENED; times are milliseconds.

`wait_ms` 0 does not wait, and 0xffffffff waits without limit. A claim with `lease_ms` 0 lasts
until it is released.
"""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from memhub.service.wire.greeting import check_model
from memhub.service.wire.layout import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar, Final

    from memhub.service.wire.layout import late, text, u16, u32, u64

OPEN_READ: Final = 1
OPEN_WRITE: Final = 2
OPEN_UNDO: Final = 4

SUBSCRIBE_REFUSED: Final = 1

MAP_READ: Final = 1
MAP_WRITE: Final = 2
MAP_ROM: Final = 4

SEEK_SET: Final = 0
SEEK_CUR: Final = 1
SEEK_END: Final = 2
SEEK_DATA: Final = 3
SEEK_HOLE: Final = 4


class Open(Message):
    """Open a device; OPENED answers.

    Attributes:
        flags: OPEN_READ 1, OPEN_WRITE 2 or both (neither is EINVAL), and OPEN_UNDO 4 (undo on
            close).
        model: the data model of the handle's ioctls: 0 the connection's, 1 LP64, 2 ILP32.
        path: `/dev/mem`, `/dev/kmem`, or of a machine whose kernel is Linux `/proc/mtrr` or
            `/sys/kernel/debug/x86/pat_memtype_list`; each also after `MACHINE:`.

    Errors: EAGAIN, EINVAL, ENOENT, ENOSPC, EPERM.
    """

    TYPE: ClassVar[int] = 0x10

    flags: u16
    model: u16
    path: text

    def check(self) -> None:
        check_model(self.NAME, self.model)
        if self.flags & ~(OPEN_READ | OPEN_WRITE | OPEN_UNDO):
            raise ProtocolError(f"OPEN has flags {self.flags:#x}, of which only 0x7 are defined")


class Close(Message):
    """Close a handle; DONE answers."""

    TYPE: ClassVar[int] = 0x11

    handle: u32


class Seek(Message):
    """Set the handle's offset; DONE answers with the new one.

    Attributes:
        handle: from OPENED.
        whence: SEEK_SET 0, SEEK_CUR 1, SEEK_END 2 (counts from 0, the device's size), SEEK_DATA 3
            or SEEK_HOLE 4 (both ENOTTY). On `/proc/mtrr` only the first two (EINVAL).
        offset: 64 bits, in two's complement where it is negative; sums are taken modulo 2^64.

    Errors: EINVAL, ENOTTY.
    """

    TYPE: ClassVar[int] = 0x16

    handle: u32
    whence: u32
    offset: u64

    def check(self) -> None:
        if self.whence > SEEK_HOLE:
            raise ProtocolError(f"SEEK has whence {self.whence}, which is not 0 to 4")


class Cancel(Message):
    """Cancel the request that has this frame's own request id.

    There is no answer to this frame: the request itself is answered, with ECANCELED or with
    what it had already done. A CANCEL of a request that is already answered is ignored.
    """

    TYPE: ClassVar[int] = 0x1F


class Claim(Message):
    """Claim a range without changing its attributes; CLAIMED answers.

    A process that claims the very bytes of one of its claims keeps that one and its fence, and
    replaces its lease.

    Errors: EAGAIN, EBUSY, EDEADLK, EINVAL, ENOSPC, ETIMEDOUT.
    """

    TYPE: ClassVar[int] = 0x20

    handle: u32
    lease_ms: u32
    wait_ms: u32
    base: u64
    length: u64


class Release(Message):
    """End claims of this process inside a range; DONE answers.

    A claim ends if it lies wholly inside; of one that MEMRANGE_SET took on several slots, those
    slots are released that do. With fence 0 one RELEASE may end several claims, with another it
    ends that claim alone. Where none lies inside it is ENOENT.

    Attributes:
        handle: from OPENED.
        base: first byte.
        length: bytes.
        fence: the fencing number of the claim, or 0 for every claim of this process there.

    Errors: EBUSY, EINVAL, ENOENT.
    """

    TYPE: ClassVar[int] = 0x21

    handle: u32
    base: u64
    length: u64
    fence: u64


class Renew(Message):
    """Restart the lease of a claim; CLAIMED answers.

    Errors: EBUSY, EINVAL, ENOENT.
    """

    TYPE: ClassVar[int] = 0x22

    handle: u32
    base: u64
    length: u64
    fence: u64
    lease_ms: u32


class Wait(Message):
    """Wait until a range is free of other processes' claims, without claiming it; DONE answers.

    Errors: EAGAIN, EBUSY, EDEADLK, EINVAL, ENOSPC, ETIMEDOUT.
    """

    TYPE: ClassVar[int] = 0x23

    handle: u32
    base: u64
    length: u64
    wait_ms: u32


class Break(Message):
    """End other processes' claims on a range; DONE answers with how many.

    It needs the right `break-claims`. Where no other process has a claim it is ENOENT.

    Attributes:
        handle: from OPENED.
        base: first byte.
        length: bytes; 0 with a fence is wherever its claim is.
        fence: only the claim with this fencing number, or 0 for all.
        reason: why; it is logged, and the process that loses the claim is told.

    Errors: EINVAL, ENOENT.
    """

    TYPE: ClassVar[int] = 0x24

    handle: u32
    base: u64
    length: u64
    fence: u64
    reason: text


class Subscribe(Message):
    """Ask for events; DONE answers with the subscription's number, then EVENT frames come.

    Attributes:
        queue: events that the server keeps for a slow reader before it drops some, beside those
            on their way; 0 is 1024, or `unread_events` where that is less.
        base: first byte of the range of interest.
        length: bytes of it; 0 is every event, with a range or without.
        machine: one machine's name; empty is every machine that the client may look at.
        options: SUBSCRIBE_REFUSED 1, also events of requests that were refused. Without the
            feature REFUSALS the frame ends before it (EINVAL where it does not, and a breach where
            it has other bits).

    Errors: EINVAL, ENOENT, ENOSPC, EPERM.
    """

    TYPE: ClassVar[int] = 0x28

    queue: u32
    base: u64
    length: u64
    machine: text
    options: late = None

    def check(self) -> None:
        if (self.options or 0) & ~SUBSCRIBE_REFUSED:
            raise ProtocolError(
                f"SUBSCRIBE has options {self.options:#x}, of which only 0x1 is defined"
            )


class Unsubscribe(Message):
    """End a subscription; DONE answers, and no EVENT of it comes after that.

    Events that still wait to be sent are dropped: take what is wanted before.

    Errors: ENOENT.
    """

    TYPE: ClassVar[int] = 0x29

    subscription: u32


class Report(Message):
    """Ask for the state of the hub; DATA answers with one JSON object.

    Attributes:
        what: `machines`, `claims`, `waits`, `rates`, `hazards`, `map`, or several with commas
            between; empty is all but `map`. An empty or unknown part is EINVAL.
        machine: one machine's name; empty is every machine that the client may look at.

    Errors: EINVAL, ENOENT, ENOSPC, EPERM.
    """

    TYPE: ClassVar[int] = 0x2A

    what: text
    machine: text


class Explain(Message):
    """Ask for the effective type of an address, and why; DATA answers with one JSON object.

    Errors: EAGAIN, EFAULT, EINVAL, EOPNOTSUPP.
    """

    TYPE: ClassVar[int] = 0x2B

    handle: u32
    address: u64


class Map(Message):
    """Ask for a file to mmap; MAPPED answers. Unix sockets only.

    Attributes:
        handle: from OPENED.
        rights: the machine's RAM: MAP_READ 1, MAP_WRITE 2, or both 3. What is not RAM, for
            reading: MAP_ROM 4, only with the feature MAP_ROM (EOPNOTSUPP without it). The
            handle has to be open for reading, and with MAP_WRITE for writing too (EPERM).

    Errors: EAGAIN, ENOMEM, ENOSPC, EOPNOTSUPP.
    """

    TYPE: ClassVar[int] = 0x2C

    handle: u32
    rights: u32

    def check(self) -> None:
        if not MAP_READ <= self.rights <= MAP_ROM:
            raise ProtocolError(f"MAP asks for rights {self.rights:#x}, which is not 1, 2, 3 or 4")


class Ping(Message):
    """Ask whether the server answers; DONE answers with the cookie."""

    TYPE: ClassVar[int] = 0x2D

    cookie: u64
