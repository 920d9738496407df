"""Memory is what a byte-by-byte model says, over any map of a small space."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.test_memory import Silent
from memhub.core.memory.physical import NeedsDevice, PhysicalMemory
from memhub.core.spec import Region

# A space of 512 bytes is small enough to describe byte by byte.

_BITS = 9
_SIZE = 1 << _BITS
_KINDS = st.sampled_from(["ram", "rom", "reserved", "acpi", "nvs", "unusable"])


@st.composite
def maps(draw: st.DrawFn) -> list[Region]:
    borders = sorted(draw(st.sets(st.integers(0, _SIZE), max_size=10)))
    regions = []
    for base, end in pairwise(borders):
        if draw(st.booleans()):
            kind: Any = draw(_KINDS)
            most = end - base if kind not in ("reserved", "unusable") else 0
            data = draw(st.binary(max_size=min(most, 20)))
            regions.append(Region(base=base, length=end - base, kind=kind, data=data))

    return draw(st.permutations(regions))


SPANS = st.tuples(st.integers(0, _SIZE), st.integers(0, 150)).map(
    lambda span: (span[0], min(span[1], _SIZE - span[0]))
)
OPS = st.lists(
    st.tuples(st.sampled_from(["read", "write", "map", "unmap"]), SPANS, st.integers(0, 255)),
    max_size=25,
)


class ByteByByte:
    """The independent model: a kind and a value for each address, and which window is over it."""

    def __init__(self, regions: list[Region]) -> None:
        self.kind = ["open"] * _SIZE
        self.value = [0xFF] * _SIZE
        self.over: list[Any] = [None] * _SIZE
        for region in regions:
            for i in range(region.length):
                address = region.base + i
                if region.kind in ("ram", "acpi", "nvs"):
                    self.kind[address] = "ram"
                    self.value[address] = region.data[i] if i < len(region.data) else 0
                elif region.kind == "rom" and i < len(region.data):
                    self.value[address] = region.data[i]

    def window(self, base: int, length: int) -> Any:
        return next((w for w in self.over[base : base + length] if w), None)

    def write(self, base: int, data: bytes) -> None:
        for address, byte in enumerate(data, base):
            if self.kind[address] == "ram":
                self.value[address] = byte


@given(maps(), OPS)
def test_memory_is_what_a_byte_by_byte_model_says(regions: list[Region], ops: Any) -> None:
    memory, model = PhysicalMemory(_BITS, regions), ByteByByte(regions)
    for op, (base, length), seed in ops:
        busy = model.window(base, length)
        if op == "read" and busy:
            with pytest.raises(NeedsDevice):
                memory.read(base, length)
        elif op == "read":
            assert memory.read(base, length) == bytes(model.value[base : base + length])
        elif op == "write":
            data = bytes((seed + i) % 256 for i in range(length))
            if busy:
                with pytest.raises(NeedsDevice):
                    memory.write(base, data)
            else:
                assert memory.write(base, data) == length
                model.write(base, data)
        elif op == "map" and (busy or not length):
            with pytest.raises(ValueError, match="window"):
                memory.map_mmio(base, length, Silent())
        elif op == "map":
            model.over[base : base + length] = [memory.map_mmio(base, length, Silent())] * length
        elif busy:
            memory.unmap(busy)
            model.over = [None if w is busy else w for w in model.over]

    for window in memory.windows:
        memory.unmap(window)

    assert memory.read(0, _SIZE) == bytes(model.value)
    memory.close()


@given(maps(), st.lists(SPANS, max_size=6))
def test_segments_cover_the_space_once_and_in_order(regions: list[Region], spans: Any) -> None:
    memory = PhysicalMemory(_BITS, regions)
    for base, length in spans:
        try:
            memory.map_mmio(base, length, Silent())
        except ValueError:
            continue

    cursor = 0
    for segment in memory.segments(0, _SIZE):
        assert (segment.base, segment.end > segment.base) == (cursor, True)
        assert (segment.window is not None) == (segment.kind == "mmio")
        cursor = segment.end

    assert cursor == _SIZE
