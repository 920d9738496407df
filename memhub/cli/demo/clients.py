"""The clients of the demo: each is a process with a pid and random numbers of its own."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from memhub.cli.demo.clock import SimulatedClock
    from memhub.handles.handle import Handle
    from memhub.hub.hub import Hub

T = TypeVar("T")

_MS = 1_000_000


class Observation:
    """Something that a client saw and the log does not say."""

    __slots__ = ("machine", "mono_ns", "process", "text")

    def __init__(self, mono_ns: int, machine: str, process: str, text: str) -> None:
        self.mono_ns = mono_ns
        self.machine = machine
        self.process = process
        self.text = text


class Clients:
    """The clients of one run.

    Args:
        hub: the hub that they use.
        clock: their clock.
        seed: decides every latency and every random choice.

    Attributes:
        all: the clients, in the order in which they were added.
        observations: what they saw.
    """

    def __init__(self, hub: Hub, clock: SimulatedClock, seed: int) -> None:
        self.hub = hub
        self.clock = clock
        self.observations: list[Observation] = []
        self.all: list[Client] = []
        self._seed = seed

    def add(self, name: str) -> Client:
        """Make a client; its pid follows from how many there are already."""
        number = len(self.all) + 1
        client = Client(self, name, 400 + 17 * number, Random(f"{self._seed}/{name}/{number}"))  # noqa: S311
        self.all.append(client)

        return client

    def close_all(self) -> None:
        """Close what is still open."""
        for client in self.all:
            client.process.close()


class Client:
    """One client; made by `Clients.add`."""

    def __init__(self, clients: Clients, name: str, pid: int, random: Random) -> None:
        self.name = name
        self.random = random
        self.process = clients.hub.process(name, pid=pid, uid=0)
        self._handles: list[Handle] = []
        self._clients = clients
        self._clock = clients.clock

    async def wait_until(self, ms: float) -> None:
        """Wait until `ms` milliseconds of the run have passed, and up to two more at random."""
        late = self.random.randrange(2 * _MS)
        await self._clock.sleep_until(int(ms * _MS) + late)

    async def pause(self, ms: float) -> None:
        """Do nothing for a random time, `ms` milliseconds on average."""
        await self._clock.sleep_until(
            self._clock.mono_ns() + self.random.randrange(_MS, int(2 * ms * _MS))
        )

    async def open(
        self, machine: str, mode: str = "r", *, device: str = "mem", undo: bool = False
    ) -> Handle:
        """Open a device file of a machine; it stays open until the client's process is closed."""
        handle = await self.process.open(f"{machine}:/dev/{device}", mode, undo=undo)
        self._handles.append(handle)

        return handle

    async def attempt(self, request: Awaitable[T]) -> T | None:
        """Make a request that may be refused; the log has the reason."""
        try:
            return await request
        except DeviceError:
            return None

    def observe(self, machine: str, text: str) -> None:
        """Keep what this client sees now."""
        seen = Observation(self._clock.mono_ns(), machine, self.name, text)
        self._clients.observations.append(seen)
