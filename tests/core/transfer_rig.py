"""A small machine with every kind of memory, for tests of transfers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from memhub.core.effective.typemap import TypeMap
from memhub.core.kernel import KernelLayout, TransferRules
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.transfer import Transfer
from memhub.core.spec import KernelMapping, Region, WpWrites

if TYPE_CHECKING:
    from collections.abc import Generator


PAGE = 4096
BITS = 16
TOP = 1 << BITS
DIRECT = 0xFFFFF80000000000
KERNEL = 0xFFFFFFFF80000000
LAST = (1 << 64) - PAGE

REGIONS = (
    Region(base=0, length=0x2C00, data=b"low"),
    Region(base=0x2C00, length=0x400, kind="reserved"),
    Region(base=0x3000, length=0x2000, kind="rom", data=b"rom" * 700),
    Region(base=0x6000, length=0x3000),
    Region(base=0x9000, length=0x1000, kind="acpi"),
    Region(base=0xF000, length=0x1000),
)
#: A window over RAM that begins and ends inside pages, and one over nothing.
WINDOWS = ((0x7800, 0x1A00), (0xC010, 0x20))

I386 = KernelLayout(kernel_base=0xC0000000, uarea_end=0xF0000000)
I386_RULES = TransferRules(short_count=False, kmem_check="request")
I386_MAPPINGS = (
    (0xC0000000, 0x0, 3, True),
    (0xC0003000, 0x3000, 2, False),
    (0xC0006000, 0x6000, 4, True),
    (0xC000A000, 0x1000, 1, True),
    (0xEFFFD000, 0x2000, 1, True),
)
AMD64 = KernelLayout(kernel_base=KERNEL, direct_map=DIRECT)
AMD64_RULES = TransferRules(short_count=True, page_zero="first byte")
AMD64_MAPPINGS = (
    (KERNEL, 0x0, 3, True),
    (KERNEL + 0x3000, 0x6000, 1, False),
    (KERNEL + 0x4000, 0x7000, 3, True),
    (LAST, 0x1000, 1, True),
)


class Registers:
    """A device of plain bytes, played without an event loop."""

    def __init__(self, size: int) -> None:
        self.cells = bytearray(b"\xd0" * size)
        self.sizes: list[int] = []

    async def read(self, offset: int, size: int) -> bytes:
        raise AssertionError("the core called a device")

    async def write(self, offset: int, data: bytes) -> None:
        raise AssertionError("the core called a device")

    def play(self, offset: int, size: int, data: bytes | None) -> bytes:
        self.sizes.append(size)
        if data is not None:
            assert len(data) == size
            self.cells[offset : offset + size] = data

        return bytes(self.cells[offset : offset + size])


T = TypeVar("T")


def drive(steps: Generator[Any, Any, T]) -> T:
    """Take every step with the device it names."""
    try:
        step = next(steps)
        while True:
            step = steps.send(step.device.play(step.offset, step.size, step.data))
    except StopIteration as end:
        result: T = end.value
        return result


@dataclass
class Machine:
    memory: PhysicalMemory
    kernel: KernelMemory
    transfer: Transfer
    devices: list[Registers]


def machine(
    *, amd64: bool = True, wp: WpWrites = "fault", windows: tuple[tuple[int, int], ...] = ()
) -> Machine:
    memory = PhysicalMemory(BITS, REGIONS)
    mappings = [
        KernelMapping(virtual=v, physical=p, length=n * PAGE, writable=w)
        for v, p, n, w in (AMD64_MAPPINGS if amd64 else I386_MAPPINGS)
    ]
    rules = AMD64_RULES if amd64 else I386_RULES
    kernel = KernelMemory(AMD64 if amd64 else I386, mappings, memory, rules=rules)
    devices = [Registers(length) for _, length in windows]
    for (base, length), device in zip(windows, devices, strict=True):
        memory.map_mmio(base, length, device)

    return Machine(memory, kernel, Transfer(memory, kernel, rules, wp), devices)


def wp_map(*runs: tuple[int, int]) -> TypeMap:
    return TypeMap.from_ranges("WB", [(lo, hi, "WP", "test") for lo, hi in runs])
