"""Reading memory that nobody wrote takes no memory, and reads what is there all the same."""

from __future__ import annotations

import mmap
import os
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.test_memory import PAGE, pages_held, ram
from memhub.core.memory.physical import PhysicalMemory

MIB = 1 << 20
GIB = 1 << 30
ZEROS = bytes(MIB)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts the pages of a memfd")


def test_reading_a_gibibyte_in_chunks_takes_no_page() -> None:
    memory = PhysicalMemory(36, (ram(0, GIB + 7),))
    memory.write(GIB // 2, b"here")
    found = [at for at in range(0, GIB, MIB) if memory.read(at, MIB) != ZEROS]

    assert found == [GIB // 2]
    assert memory.read(GIB - 1, 8) == bytes(8)
    assert memory.read(GIB // 2 - MIB, 2 * MIB) == bytes(MIB) + b"here" + bytes(MIB - 4)
    assert pages_held(memory) == 1


@pytest.mark.parametrize("writable", [False, True])
def test_reading_what_others_can_write_takes_no_page_either(*, writable: bool) -> None:
    memory = PhysicalMemory(36, (ram(0, GIB),))
    fd = memory.open_ram(writable=writable)
    os.close(fd)
    for at in range(0, GIB, MIB):
        assert memory.read(at, MIB) == ZEROS

    assert pages_held(memory) == 0


def test_eight_bytes_everywhere_take_no_page() -> None:
    memory = PhysicalMemory(36, (ram(0, GIB),))
    for at in range(0, GIB, MIB // 2):
        assert memory.read(at + 0x123, 8) == bytes(8)

    assert pages_held(memory) == 0


# Around the border of 64 MiB, where the stretch that is copied from ends

FIRST = 64 * MIB - 6 * PAGE
PAGES = 12
PLACES = st.tuples(st.integers(0, PAGES * PAGE - 1), st.integers(0, 5 * PAGE))
EDGES = st.tuples(
    st.integers(0, PAGES - 1).map(lambda page: page * PAGE), st.sampled_from([1, PAGE, 2 * PAGE])
)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "write", "share", "other writes"]),
        PLACES | EDGES,
        st.integers(1, 255),
    ),
    max_size=30,
)


@given(STEPS)
def test_every_read_is_what_was_written_and_only_writes_take_pages(steps: Any) -> None:
    """Writes of the machine, and of another that maps its file, in any order."""
    memory = PhysicalMemory(36, (ram(0, 128 * MIB),))
    model, written, other = bytearray(PAGES * PAGE), set[int](), None
    for op, (at, length), seed in steps:
        end = min(at + length, len(model))
        if op == "read":
            assert memory.read(FIRST + at, end - at) == bytes(model[at:end])
            continue

        if op == "share" and other is None:
            fd = memory.open_ram(writable=True)
            other = mmap.mmap(fd, 128 * MIB)
            os.close(fd)
        elif op == "write":
            memory.write(FIRST + at, bytes([seed]) * (end - at))
        elif op == "other writes" and other is not None:
            other[FIRST + at : FIRST + end] = bytes([seed]) * (end - at)
        else:
            continue

        if op != "share":
            model[at:end] = bytes([seed]) * (end - at)
            written |= set(range(at // PAGE, (end + PAGE - 1) // PAGE)) if end > at else set()

    assert memory.read(FIRST, len(model)) == bytes(model)
    assert memory.read(FIRST - PAGE, len(model) + 2 * PAGE) == bytes(PAGE) + model + bytes(PAGE)
    assert pages_held(memory) == len(written)
    if other is not None:
        other.close()

    memory.close()
