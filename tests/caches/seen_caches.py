"""What the caches of a machine really hold, as a model asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memhub.core.caches.change import HazardKey
    from memhub.core.caches.hazards import Hazard
    from memhub.core.machine import Machine


class Seen:
    """Where the machine has bytes, and what they are."""

    def __init__(self, machine: Machine) -> None:
        assert machine.caches is not None
        self.caches = machine.caches
        self.memory = machine.memory
        self.size = machine.caches.limits.line_size

    def resident(self) -> set[int]:
        """The first addresses of the lines."""
        return {number * self.size for number in self.caches.lines}

    def line(self, base: int) -> tuple[bytes, int] | None:
        """Bytes and dirty mask of a line."""
        line = self.caches.lines.get(base // self.size)

        return None if line is None else (line.data, line.dirty)

    def buffered(self, process: int) -> dict[int, int]:
        """The bytes in the buffers of a process."""
        found = {}
        for number, buffer in self.caches.buffers.get(process, {}).items():
            for place in range(self.size):
                if buffer.mask >> place & 1:
                    found[number * self.size + place] = buffer.data[place]

        return found

    def check_stores(self) -> None:
        """Each byte that is dirty, newer on the bus, or combined has one writer, others none."""
        lines = self.caches.lines.values()
        buffers = [it for held in self.caches.buffers.values() for it in held.values()]
        for mask, stores in (
            *((it.dirty, it.stores) for it in lines),
            *((it.under, it.newer) for it in lines),
            *((it.mask, it.stores) for it in buffers),
        ):
            assert all(it.mask for it in stores)
            assert sum(it.mask for it in stores) == mask
            assert sum(it.mask.bit_count() for it in stores) == mask.bit_count()
            assert [it.order for it in stores] == sorted(it.order for it in stores)

    def bus(self, base: int, length: int) -> bytes:
        """What the bus has."""
        return self.memory.read(base, length)

    def hazards(self) -> dict[HazardKey, Hazard]:
        """Those that were met."""
        return dict(self.caches.hazards)

    def named(self) -> set[int] | None:
        """The first addresses of the lines that a hazard names; None once some are only counted."""
        lines: set[int] = set()
        for (_, number, _), hazard in self.caches.hazards.items():
            if number < 0:
                return None

            first = hazard.address - hazard.address % self.size
            lines.update(range(first, hazard.address + hazard.length, self.size))

        return lines
