"""Suspend, resume and check of a service's machines, for callers that block."""

from __future__ import annotations

from typing import final

from memhub.service.remote_hub import differences_of, faults_request
from memhub.service.wire.wide import narrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from memhub.core.health.hardware_events import CpuDifference
    from memhub.service import wire


@final
class BlockingHardware:
    """As `RemoteHardware`, for callers that block.

    Args:
        ask: sends a request and waits for its answer.
        features: what the service grants.
    """

    def __init__(self, ask: Callable[[wire.Faults], bytes], features: int) -> None:
        self._ask = ask
        self._features = features

    def ask(self, what: str, rule: str) -> list[dict[str, Any]]:
        """Ask FAULTS; the rules, sicknesses or differences concerned."""
        import json

        answer = self._ask(faults_request(self._features, what, rule))
        found: list[dict[str, Any]] = json.loads(answer, object_hook=narrow)

        return found

    def check_cpus(self, machine: str = "") -> tuple[CpuDifference, ...]:
        """Compare the registers of a machine's CPUs; those that are out of step."""
        return differences_of(self.ask("check", machine))

    def reinit(self, machine: str = "") -> None:
        """Let every CPU write the table into its registers."""
        self.ask("reinit", machine)

    def suspend(self, machine: str = "") -> None:
        """Suspend a machine."""
        self.ask("suspend", machine)

    def resume(self, machine: str = "") -> None:
        """Resume a machine."""
        self.ask("resume", machine)
