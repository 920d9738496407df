"""Every error that memhub answers, and what stood in the way.

DeviceError (OSError)
├── NoSuchDevice      ENOENT      ├── NoSpace         ENOSPC
├── NoSuchRange       ENOENT      ├── RangeExists     EEXIST
├── BadHandle         EBADF       ├── WouldDeadlock   EDEADLK
├── NotPermitted      EPERM       ├── TimedOut        ETIMEDOUT
├── AccessDenied      EACCES      ├── Cancelled       ECANCELED
├── BadAddress        EFAULT      ├── LogFailed       EIO
├── RangeBusy         EBUSY       ├── UnknownIoctl    ENOTTY
│   └── StaleClaim    EBUSY       ├── DriverFailed    EIO
├── InvalidRange      EINVAL      ├── NotSupported    EOPNOTSUPP
├── InvalidArgument   EINVAL      ├── NoRanges        ENXIO
│                                 └── ConnectionCut   EIO

Only a DeviceError becomes a reply. Anything else is a bug and ends what runs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from memhub.abi import Errno
from memhub.escape import escape_controls


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One thing that stood in the way of a request.

    Attributes:
        kind: `claim`, `commit`, `overlap`, `unknown`, `slot`, `fixed`, `wait`, `fence`, `broken`.
        slot: index of the slot, if it is one.
        base: first byte.
        length: bytes.
        type: the attribute there, in memcontrol(8)'s words.
        owner: the label in `mr_owner`.
        process: name of the process whose claim, commit or wait it is.
        process_id: the hub's number for that process.
        pid: that process's pid, where known.
        since: when the claim or wait began, in seconds of the hub's wall clock.
    """

    kind: str
    slot: int | None = None
    base: int | None = None
    length: int | None = None
    type: str | None = None
    owner: str | None = None
    process: str | None = None
    process_id: int | None = None
    pid: int | None = None
    since: float | None = None

    @property
    def since_text(self) -> str | None:
        """When it began, in UTC, for people."""
        if self.since is None:
            return None

        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def as_dict(self) -> dict[str, Any]:
        """The fields that are known, for the log and the wire."""
        # Each refused request pays for this; `dataclasses.asdict` takes ten times as long.
        return {key: it for key in self.__slots__ if (it := getattr(self, key)) is not None}


class DeviceError(OSError):
    """Raised when a device refuses a request.

    `errno` and `strerror` are the host's, `code` is the symbolic name with FreeBSD's number.
    What is shown (`str`, `strerror`) has control characters as visible escapes; `reason` and the
    obstacles keep them.

    Attributes:
        code: the error as FreeBSD names it.
        reason: what was wrong, with the offending values.
        obstacles: what stood in the way, most important first.
        moved: bytes that a transfer had moved before it failed (i386 reports both).
        arrived: those bytes, where it was a read on this hub.
        by_device: whether a device model of this hub ended a transfer with it.
    """

    default: ClassVar[Errno] = Errno.EIO
    arrived: bytes = b""
    by_device: bool = False

    def __init__(
        self,
        reason: str,
        *,
        code: Errno | None = None,
        obstacles: tuple[Obstacle, ...] = (),
        moved: int = 0,
    ) -> None:
        if not isinstance(reason, str):
            raise TypeError(f"the reason of {type(self).__name__}, {reason!r:.80}, is not text")

        self.code = code or self.default
        self.reason = reason
        self.obstacles = obstacles
        self.moved = moved
        shown = escape_controls(reason)
        super().__init__(self.code.host, f"{os.strerror(self.code.host)}: {shown}")

    def __str__(self) -> str:
        return f"{self.code.name}: {escape_controls(self.reason)}"

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (type(self), self.reason, self.code, self.obstacles, self.moved)

        return _rebuild_error, fields, self.__dict__


def _rebuild_error(
    kind: type[DeviceError],
    reason: str,
    code: Errno,
    obstacles: tuple[Obstacle, ...],
    moved: int,
) -> DeviceError:
    return kind(reason, code=code, obstacles=obstacles, moved=moved)


class NoSuchDevice(DeviceError):
    """Raised when a path names no device or machine of the hub."""

    default = Errno.ENOENT


class NoSuchRange(DeviceError):
    """Raised when REMOVE names a range that no slot holds."""

    default = Errno.ENOENT


class BadHandle(DeviceError):
    """Raised when a handle is closed, or was not opened for what is asked of it.

    Attributes:
        closed: whether the reason names a handle that is closed, by the hub's number.
    """

    default = Errno.EBADF
    closed: bool = False

    @classmethod
    def of_closed(cls, number: int) -> Self:
        """The error for a handle that is closed.

        Args:
            number: the hub's number for it.
        """
        error = cls(f"handle {number} is closed")
        error.closed = True

        return error


class NotPermitted(DeviceError):
    """Raised when a raised securelevel or a fixed slot forbids the operation."""

    default = Errno.EPERM


class AccessDenied(DeviceError):
    """Raised when a slot of unknown type would be overwritten without MDF_FORCE."""

    default = Errno.EACCES


class BadAddress(DeviceError):
    """Raised when an address or buffer cannot be reached."""

    default = Errno.EFAULT


class RangeBusy(DeviceError):
    """Raised when another process's claim or lease, or a commit on its way, forbids the change."""

    default = Errno.EBUSY


class StaleClaim(RangeBusy):
    """Raised when a request relies on a claim that its process has lost; waiting cannot help.

    Attributes:
        lost_fence: the lost claim of which the process is told by this error, if it is.
    """

    default = Errno.EBUSY
    lost_fence: int | None = None


class InvalidRange(DeviceError):
    """Raised when a descriptor breaks a rule of the architecture, or conflicts with a range."""

    default = Errno.EINVAL


class InvalidArgument(DeviceError):
    """Raised when an argument other than a descriptor is out of its bounds."""

    default = Errno.EINVAL


class NoSpace(DeviceError):
    """Raised when no slot is free; the obstacles list the slots and their owners."""

    default = Errno.ENOSPC


class RangeExists(DeviceError):
    """Raised when the K6 or PowerPC driver already holds the same range."""

    default = Errno.EEXIST


class WouldDeadlock(DeviceError):
    """Raised when a wait would close a circle of waiters."""

    default = Errno.EDEADLK


class TimedOut(DeviceError):
    """Raised when a bounded wait reached its limit."""

    default = Errno.ETIMEDOUT


class NeverAnswered(RuntimeError):
    """Raised in place of waiting for ever: nothing can bring about the end of a wait.

    A caller that blocks gets it where no deadline is due and no thread runs that does not wait;
    where another thread runs, it may end the wait, and the caller waits. In rigs of
    `memhub.rig` every caller gets it whom a fault rule has left without an answer for some seconds.
    """


class Cancelled(DeviceError):
    """Recorded, never raised to the caller: the request was cancelled before its effect."""

    default = Errno.ECANCELED


class LogFailed(DeviceError):
    """Raised when the audit log cannot take the record; only a close changed something."""

    default = Errno.EIO


class DriverFailed(DeviceError):
    """Raised when a range driver fails, or answers what breaks a rule; nothing was changed."""

    default = Errno.EIO


class UnknownIoctl(DeviceError):
    """Raised when an ioctl number is none of mem(4)'s."""

    default = Errno.ENOTTY


class NotSupported(DeviceError):
    """Raised when an architecture has no range operations, or no such operation."""

    default = Errno.EOPNOTSUPP


class ConnectionCut(DeviceError):
    """Raised when a fault rule cuts the connection of a process; all its files are closed."""

    default = Errno.EIO


class NoRanges(DeviceError):
    """Raised when a range driver attached but found no descriptors."""

    default = Errno.ENXIO
