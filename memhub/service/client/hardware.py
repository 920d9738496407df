"""Suspend, resume and check of a service's machines, for callers that await."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, final

from memhub.service.remote_hub import differences_of, faults_request
from memhub.service.wire.wide import narrow

if TYPE_CHECKING:
    from memhub.core.health.hardware_events import CpuDifference
    from memhub.service.client.caller import Caller


@final
class RemoteHardware:
    """The hardware of a service's machines, each named; the default one where a name is empty.

    It needs the right `inject-faults` on the machine. Sicknesses are added, listed and removed
    beside fault rules: `RemoteHub.add_fault`. Errors are those of
    `memhub.faults.hardware.Hardware`.

    Args:
        caller: the connection.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def ask(self, what: str, rule: str) -> list[dict[str, Any]]:
        """Ask FAULTS; the rules, sicknesses or differences concerned."""
        answer = await self._caller.ask(faults_request(self._caller.features, what, rule))
        found: list[dict[str, Any]] = json.loads(answer, object_hook=narrow)

        return found

    async def check_cpus(self, machine: str = "") -> tuple[CpuDifference, ...]:
        """Compare the registers of a machine's CPUs; those that are out of step."""
        return differences_of(await self.ask("check", machine))

    async def reinit(self, machine: str = "") -> None:
        """Let every CPU write the table into its registers."""
        await self.ask("reinit", machine)

    async def suspend(self, machine: str = "") -> None:
        """Suspend a machine."""
        await self.ask("suspend", machine)

    async def resume(self, machine: str = "") -> None:
        """Resume a machine."""
        await self.ask("resume", machine)
