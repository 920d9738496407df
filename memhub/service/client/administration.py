"""What a client asks of the whole hub behind a service: reports, fault rules, snapshots."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from memhub.images.packed import pack_contents
from memhub.service.client.hardware import RemoteHardware
from memhub.service.remote_hub import (
    file_pieces,
    report_request,
    rule_text,
    show_request,
    snapshot_request,
)
from memhub.service.wire.wide import narrow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.core.spec import Content
    from memhub.service import wire
    from memhub.service.client.caller import Caller


class HubRequests(ABC):
    """The requests of `RemoteHub` that are about no open file."""

    @abstractmethod
    def _greeted(self) -> Caller:
        """The connection, after its handshake."""

    async def report(self, what: str = "", machine: str = "") -> dict[str, Any]:
        """Who has what open, who holds what, who waits for what, and since when.

        Args:
            what: `machines`, `claims`, `waits`, `rates`, `hazards`, `map`, or several with
                commas; empty is all but `map`.
            machine: only this machine's; empty is all.
        """
        found: dict[str, Any] = await self._ask_json(report_request(what, machine))

        return found

    async def add_fault(self, rule: FaultRule | Sickness) -> dict[str, Any]:
        """Add a fault rule or a sickness to the hub; what the hub has of it."""
        return (await self.hardware.ask("add", rule_text(rule)))[0]

    async def remove_fault(self, name: str) -> dict[str, Any]:
        """End a fault rule or sickness; what the hub had of it, with its counts."""
        return (await self.hardware.ask("remove", name))[0]

    async def list_faults(self) -> list[dict[str, Any]]:
        """The fault rules and sicknesses that this client may touch, with their counts."""
        return await self.hardware.ask("list", "")

    @property
    def hardware(self) -> RemoteHardware:
        """Suspend, resume and check of machines."""
        return RemoteHardware(self._greeted())

    async def _ask_json(self, request: wire.Message) -> Any:  # noqa: ANN401 - what JSON holds
        return json.loads(await self._greeted().ask(request), object_hook=narrow)

    async def take_snapshot(self, machine: str | None = None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        answer: bytes = await self._greeted().ask(self._snapshot_request("take", machine))

        return answer

    async def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]:
        """Let machines be as a file has them, and all clients go on; the names of the machines."""
        caller = self._greeted()
        for piece in file_pieces(file, caller.limits.max_body):
            await caller.ask(self._snapshot_request("put", machine, piece))

        return await self._go_back("restore", machine)

    async def load_memory(
        self, contents: Iterable[Content], machine: str | None = None, *, clear: bool = False
    ) -> int:
        """Put contents of `memhub.images` into the RAM of a machine (the default one if None).

        Args:
            contents: what to put; all of it or, with an error, nothing.
            machine: the machine's name.
            clear: let all other RAM become zero.

        Returns:
            how many bytes were put, zeros among them.
        """
        caller = self._greeted()
        for piece in file_pieces(pack_contents(contents), caller.limits.max_body):
            await caller.ask(self._snapshot_request("put", machine, piece))

        request = self._snapshot_request("replace" if clear else "load", machine)

        return int((await self._ask_json(request))["bytes"])

    async def list_devices(self, machine: str | None = None) -> list[dict[str, Any]]:
        """The devices that a machine (the default one if None) declares."""
        features = self._greeted().features
        found = await self._ask_json(show_request(features, "list", machine, None))

        return list(found)

    async def read_device(self, device: str | None = None, machine: str | None = None) -> bytes:
        """The bytes of a device that shows memory, as it reads them itself; see `Hub.show`."""
        caller = self._greeted()
        request = show_request(caller.features, "bytes", machine, device)
        answer: bytes = await caller.ask(request)

        return answer

    async def reset(self, machine: str | None = None) -> list[str]:
        """Let the machines, or one, be as they were at the start of the service; their names."""
        return await self._go_back("reset", machine)

    async def _go_back(self, what: str, machine: str | None) -> list[str]:
        found = await self._ask_json(self._snapshot_request(what, machine))

        return list(found["machines"])

    def _snapshot_request(self, what: str, machine: str | None, data: bytes = b"") -> wire.Snapshot:
        return snapshot_request(self._greeted().features, what, machine, data)
