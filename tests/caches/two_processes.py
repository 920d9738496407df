"""Two processes on a machine that is not coherent, and its bus."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caches.cache_rig import pc
from memhub import CacheLimits, Hub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from memhub.devices.bus import Bus
    from memhub.handles.handle import Handle

AT = 0x200000
PAGE = 4096
DATA = b"12345678"


@dataclass
class Two:
    """Two processes of one machine, and its bus."""

    hub: Hub
    one: Handle
    two: Handle
    bus: Bus

    def names(self) -> list[str]:
        return [it.name for it in self.hub.hazards()]


@asynccontextmanager
async def machine(kind: str = "write-back", bus: Any = "blind", **more: Any) -> AsyncIterator[Two]:
    """A machine whose memory at `AT` has a type."""
    async with (
        Hub([pc(bus=bus, **{"caches": CacheLimits(seed=3), **more})]) as hub,
        hub.process("one") as first,
        hub.process("two") as second,
    ):
        one, two = await first.open("/dev/mem", "r+"), await second.open("/dev/mem", "r+")
        await one.set_range(AT, 16 * PAGE, kind)
        yield Two(hub, one, two, hub.bus("pc"))
