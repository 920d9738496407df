"""The hardware of an embedded hub's machines, as clients of a service have it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from anyio.lowlevel import checkpoint

if TYPE_CHECKING:
    from threading import RLock

    from memhub.core.health.hardware_events import CpuDifference
    from memhub.hub.hub import Hub


@final
class HubHardware:
    """As `BlockingHardware`; errors are those of `memhub.faults.hardware.Hardware`.

    Args:
        hub: the hub.
        lock: what its callers hold while they use it.
    """

    def __init__(self, hub: Hub, lock: RLock) -> None:
        self._hub = hub
        self._lock = lock

    def check_cpus(self, machine: str = "") -> tuple[CpuDifference, ...]:
        """Compare the registers of a machine's CPUs; those that are out of step."""
        found: tuple[CpuDifference, ...] = self._do("check_cpus", machine)

        return found

    def reinit(self, machine: str = "") -> None:
        """Let every CPU write the table into its registers."""
        self._do("reinit", machine)

    def suspend(self, machine: str = "") -> None:
        """Suspend a machine."""
        self._do("suspend", machine)

    def resume(self, machine: str = "") -> None:
        """Resume a machine."""
        self._do("resume", machine)

    def _do(self, what: str, machine: str) -> Any:  # noqa: ANN401 - what `Hardware` answers
        with self._lock:
            return getattr(self._hub.hardware, what)(machine or None)


@final
class AwaitedHardware:
    """As `RemoteHardware`; errors are those of `memhub.faults.hardware.Hardware`.

    Args:
        hub: the hub.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def check_cpus(self, machine: str = "") -> tuple[CpuDifference, ...]:
        """Compare the registers of a machine's CPUs; those that are out of step."""
        await checkpoint()

        return self._hub.hardware.check_cpus(machine or None)

    async def reinit(self, machine: str = "") -> None:
        """Let every CPU write the table into its registers."""
        await checkpoint()
        self._hub.hardware.reinit(machine or None)

    async def suspend(self, machine: str = "") -> None:
        """Suspend a machine."""
        await self._hub.suspend(machine or None)

    async def resume(self, machine: str = "") -> None:
        """Resume a machine."""
        await self._hub.resume(machine or None)
