"""The clients of the demo: each a process with a pid, its own dice, and a way to keep time."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING, TypeVar

from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from memhub.cli.demo.stage import Stage
    from memhub.handle import Handle
    from memhub.hub import Hub

T = TypeVar("T")

_MS = 1_000_000


class Note:
    """Something that a client saw and the log does not say."""

    __slots__ = ("machine", "mono_ns", "process", "text")

    def __init__(self, mono_ns: int, machine: str, process: str, text: str) -> None:
        self.mono_ns = mono_ns
        self.machine = machine
        self.process = process
        self.text = text


class Cast:
    """Makes the clients.

    Args:
        hub: the hub that they use.
        stage: their clock.
        seed: decides every latency and every random choice.
    """

    def __init__(self, hub: Hub, stage: Stage, seed: int) -> None:
        self.hub = hub
        self.stage = stage
        self.notes: list[Note] = []
        self.actors: list[Actor] = []
        self._seed = seed

    def actor(self, name: str) -> Actor:
        """Make a client; the order in which they are made decides their numbers."""
        number = len(self.actors) + 1
        actor = Actor(self, name, 400 + 17 * number, Random(f"{self._seed}/{name}/{number}"))  # noqa: S311
        self.actors.append(actor)

        return actor

    def leave(self) -> None:
        """Close what is still open."""
        for actor in self.actors:
            actor.process.close()


class Actor:
    """One client."""

    def __init__(self, cast: Cast, name: str, pid: int, dice: Random) -> None:
        self.name = name
        self.dice = dice
        self.process = cast.hub.process(name, pid=pid, uid=0)
        self._handles: list[Handle] = []
        self._cast = cast
        self._stage = cast.stage

    async def at(self, ms: float) -> None:
        """Wait for a moment of the play, give or take a latency of this client's own."""
        late = self.dice.randrange(2 * _MS)
        await self._stage.sleep_until(int(ms * _MS) + late)

    async def idle(self, ms: float) -> None:
        """Do nothing for about as long."""
        await self._stage.sleep_until(
            self._stage.now().mono_ns + self.dice.randrange(_MS, int(2 * ms * _MS))
        )

    async def open(
        self, machine: str, mode: str = "r", *, device: str = "mem", undo: bool = False
    ) -> Handle:
        """Open a device file of a machine; it stays open until the process goes."""
        handle = await self.process.open(f"{machine}:/dev/{device}", mode, undo=undo)
        self._handles.append(handle)

        return handle

    async def tries(self, request: Awaitable[T]) -> T | None:
        """Do something that may be refused; the log keeps the reason."""
        try:
            return await request
        except DeviceError:
            return None

    def saw(self, machine: str, text: str) -> None:
        """Tell what this client sees."""
        note = Note(self._stage.now().mono_ns, machine, self.name, text)
        self._cast.notes.append(note)
