"""Transfers as the rules say, byte by byte, in plain tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memhub.core.spec import WpWrites
from core.transfer_rig import AMD64_MAPPINGS, DIRECT, I386_MAPPINGS, PAGE, REGIONS, TOP, WINDOWS

# The model: every byte is looked up by itself, in the tables above.


class Model:
    def __init__(self, amd64: bool, wp: WpWrites, windows: bool, runs: list[Any]) -> None:
        self.amd64, self.wp, self.runs = amd64, wp, runs
        self.windows = WINDOWS if windows else ()
        self.cells = bytearray(b"\xff" * TOP)
        self.ram = [False] * TOP
        for region in REGIONS:
            if region.kind == "reserved":
                continue

            fill = b"\xff" if region.kind == "rom" else b"\0"
            content = region.data.ljust(region.length, fill)
            self.cells[region.base : region.base + region.length] = content
            if region.kind != "rom":
                for address in range(region.base, region.base + region.length):
                    self.ram[address] = True

        self.devices = [bytearray(b"\xd0" * length) for _, length in self.windows]
        self.own: dict[Any, bytearray] = {}

    def place(self, device: str, at: int, process: Any, write: bool) -> tuple[Any, int] | None:
        """Where one byte lies: a store and an index into it; None where it faults."""
        if device == "mem":
            return (None, at) if at < TOP else None

        if not self.amd64 and 0xEFFFE000 <= at < 0xF0000000:
            return self.own.setdefault(process, bytearray(2 * PAGE)), at - 0xEFFFE000

        if self.amd64 and DIRECT <= at < DIRECT + TOP:
            return None, at - DIRECT

        for virtual, physical, pages, writable in AMD64_MAPPINGS if self.amd64 else I386_MAPPINGS:
            if virtual <= at < virtual + pages * PAGE:
                target = physical + at - virtual
                refused = (write and not writable) or (self.amd64 and target == 0)
                return None if refused else (None, target)

        return None

    def cell(self, place: tuple[Any, int]) -> tuple[Any, int, bool]:
        """The bytes that hold a place, the index there, and whether they are a device's."""
        store, at = place
        if store is not None:
            return store, at, False

        for (base, length), cells in zip(self.windows, self.devices, strict=True):
            if base <= at < base + length:
                return cells, at - base, True

        return self.cells, at, False

    def move(self, device: str, offset: int, length: int, process: Any, data: bytes | None) -> Any:
        """The outcome, and whether a device had a part in it."""
        write = data is not None
        moved, touched, fault = bytearray(), False, False
        span = range(offset, offset + length)
        if not self.amd64 and device == "kmem":
            fault = any(self.place(device, at, process, write) is None for at in span)

        for index, at in enumerate(span if not fault else ()):
            place = self.place(device, at, process, write)
            protected = place is not None and place[0] is None and write and self.is_wp(place[1])
            if place is None or (protected and self.wp == "fault"):
                fault = True
                break

            if protected and self.wp == "drop":
                moved.append(0)
                continue

            cells, slot, mmio = self.cell(place)
            touched |= mmio
            if data is not None and (cells is not self.cells or self.ram[slot]):
                cells[slot] = data[index]

            moved.append(cells[slot])

        if fault and not (moved and self.amd64):
            return ("EFAULT", len(moved)), touched

        return (len(moved) if write else bytes(moved)), touched

    def is_wp(self, address: int) -> bool:
        return any(lo <= address < hi for lo, hi in self.runs)
