"""The fact that a machine is marked failed, and why a machine refuses requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from memhub.abi import Errno
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from memhub.core.health.health import Health
    from memhub.core.instant import Instant
    from memhub.core.served import Served


class Failure(NamedTuple):
    """Why a machine is marked failed: its driver's last failure, how many there were, since when.

    Attributes:
        reason: the last failure, which names the plugin.
        failures: how often the driver failed.
        since_ns: the moment, wall clock.
    """

    reason: str
    failures: int
    since_ns: int


class MachineFailed(NamedTuple):
    """A machine is marked failed; what is asked of it is refused from now on."""

    machine: str
    arch: str
    at: Instant
    generation: int
    failure: Failure


class Marked(Protocol):
    """The part of a machine that says whether it refuses requests; see `Machine`."""

    failed: Failure | None
    health: Health | None
    refusing: bool
    served: Served | None


def mark_failed(machine: Marked, it: MachineFailed) -> None:
    """Make it true."""
    machine.failed = it.failure
    note_refusing(machine)


def unmark_failed(machine: Marked, _: MachineFailed) -> None:
    """Take it back."""
    machine.failed = None
    note_refusing(machine)


def note_refusing(machine: Marked) -> None:
    """Note whether requests are refused, as the machine is marked failed or suspended, or go to
    another kernel.
    """
    machine.refusing = machine.served is not None or is_refusing(machine)


def is_refusing(machine: Marked) -> bool:
    """Whether a machine is marked failed, or suspended."""
    return machine.failed is not None or is_suspended(machine)


def is_suspended(machine: Marked) -> bool:
    """Whether a machine is suspended: its CPUs, its bus and its devices stand still."""
    return machine.health is not None and machine.health.suspended_ns is not None


def suspended_error(name: str) -> DeviceError:
    """What is answered to who asks something of a machine that is suspended: EAGAIN, try again.

    FreeBSD has no such answer: no process runs on a computer that sleeps, and a call returns after
    the resume. Here who asks is awake, and is told.

    Args:
        name: the machine's name.
    """
    reason = f"machine {name} is suspended: ask again once it is resumed"

    return DeviceError(reason, code=Errno.EAGAIN)
