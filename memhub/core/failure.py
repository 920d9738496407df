"""The fact that a machine is marked failed, since its driver has failed too often."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from memhub.core.instant import Instant


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
