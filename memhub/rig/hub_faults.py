"""Fault rules and sicknesses of an embedded hub, as clients of a service have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from memhub.core.health.sickness import Sickness
from memhub.errors import NoSuchRange

if TYPE_CHECKING:
    from threading import RLock

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.hub.hub import Hub


@final
class HubFaults:
    """What a rig's client injects into its hub; answers are those of `RemoteHub`.

    Args:
        hub: the hub.
        lock: what its callers hold while they use it.
    """

    def __init__(self, hub: Hub, lock: RLock) -> None:
        self._hub = hub
        self._lock = lock

    def add(self, rule: FaultRule | Sickness) -> dict[str, Any]:
        """Add a fault rule or a sickness; what the hub has of it."""
        with self._lock:
            if not isinstance(rule, Sickness):
                return self._hub.faults.add(rule).as_dict()

            found = self._hub.hardware.find(self._hub.hardware.add(rule).sickness.name)
            assert found is not None

            return found.as_dict()

    def remove(self, name: str) -> dict[str, Any]:
        """End a fault rule or a sickness; what the hub had of it, with its counts.

        Raises:
            NoSuchRange: ENOENT; there is none of that name.
        """
        with self._lock:
            if self._hub.hardware.find(name) is not None:
                return self._hub.hardware.remove(name).as_dict()

            for it in self._hub.faults:
                if it.rule.name == name:
                    it.remove()
                    return it.as_dict()

        raise NoSuchRange(f"there is no fault rule {name!r}")

    def list(self) -> list[dict[str, Any]]:
        """The fault rules and sicknesses, with their counts."""
        with self._lock:
            return [it.as_dict() for it in (*self._hub.faults, *self._hub.hardware)]
