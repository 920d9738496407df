"""Memories that go on from each other, against plain bytes."""

from __future__ import annotations

import mmap
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.core.memory import backing
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.spec import Region

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE, PAGES = 4096, 24
SIZE = PAGE * PAGES
FIRST = b"what firmware left"


@pytest.fixture(autouse=True)
def few_dirty_pages() -> Iterator[None]:
    """Stores are frozen anew after a few pages already."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backing, "_DIRTY_MIN", 3)
        yield


def fresh() -> tuple[PhysicalMemory, bytearray]:
    regions = (Region(base=0, length=SIZE, data=FIRST), Region(base=1 << 20, length=PAGE))

    return PhysicalMemory(32, regions), bytearray(FIRST.ljust(SIZE, b"\0"))


places = st.integers(0, SIZE - 1)
acts = st.lists(
    st.tuples(st.sampled_from(["write", "read", "fork", "take", "back", "share"]), places, places),
    max_size=40,
)


@given(acts=acts)
def test_each_memory_holds_what_was_written_to_it(acts: list[tuple[str, int, int]]) -> None:
    kept = [fresh()]
    taken = [(kept[0][0].capture(), bytes(kept[0][1]))]
    for number, (act, one, other) in enumerate(acts):
        memory, model = kept[one % len(kept)]
        low, high = min(one, other), max(one, other)
        if act == "write":
            data = bytes([number % 255 + 1]) * min(high - low, 3 * PAGE)
            memory.write(low, data)
            model[low : low + len(data)] = data
        elif act == "read":
            assert memory.read(low, high - low) == model[low:high]
        elif act == "fork":
            kept.append((memory.fork(), bytearray(model)))
        elif act == "take":
            taken.append((memory.capture(), bytes(model)))
        elif act == "back":
            image, held = taken[other % len(taken)]
            model[:] = held
            memory.put(memory.files.plan_replace(image)[1])
        else:
            fd = memory.open_ram(writable=True)
            with mmap.mmap(fd, 0) as view:
                os.close(fd)
                assert view[:SIZE] == model
                view[low] = model[low] = 77

    for memory, model in kept:
        assert memory.read(0, SIZE) == model
        assert memory.capture() == memory.fork().capture()

    for image, held in taken:
        pages = {at: held[at : at + PAGE] for at in range(0, SIZE, PAGE)}
        assert image.pages() == {at: page for at, page in pages.items() if any(page)}


def test_a_plan_that_is_taken_back_leaves_the_memory_as_it_was() -> None:
    memory, _ = fresh()
    image = memory.capture()
    for shared in (False, True):
        memory.write(0, b"later")
        if shared:
            os.close(memory.open_ram(writable=True))

        before, after = memory.files.plan_replace(image)
        memory.put(after)
        assert memory.read(0, 5) == FIRST[:5]
        memory.put(before)
        assert memory.read(0, 5) == b"later"


def test_pages_are_shared_until_they_are_written() -> None:
    memory, _ = fresh()
    memory.write(0, bytes([1]) * SIZE)
    forks = [memory.fork() for _ in range(50)]
    bases = {id(it.files.store.base) for it in forks if it.files.store is not None}
    assert len(bases) == 1
    forks[0].write(0, b"!")
    assert forks[0].files.store is not None
    assert forks[0].files.store.written(0) == (0, PAGE)
