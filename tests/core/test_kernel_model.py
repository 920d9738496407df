"""Every kernel's rules move the bytes that a model of its own function moves, and end alike."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import kernel_model as model
from core.kernel_model import PAGE, U64, World
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.transfer import Transfer
from memhub.core.spec import KernelEntry, KernelMapping, Region
from memhub.plugin import freebsd

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.kernel import Kernel

M = 1 << 20
#: Two pieces of RAM; the second begins and ends inside blocks of 2 MiB, and ends inside a page.
RAM = [(0, 64 * M), (0x8010_0000, 0x8030_0800)]
BITS = 36


def kernels() -> dict[str, tuple[Kernel, Callable[..., bool]]]:
    found: dict[str, tuple[Kernel, Callable[..., bool]]] = {
        "amd64": (freebsd.AMD64.kernels["12.1"], model.amd64),
        "arm64": (freebsd.ARM64.kernels["12.1"], model.arm64),
    }
    for release in ("12.1", "14"):
        kernel = freebsd.POWERPC64.kernels[release]
        found[f"powerpc64-{release}"] = (kernel, partial(model.powerpc64, release=release))

    for release, kernel in freebsd.I386.kernels.items():
        found[f"i386-{release}"] = (kernel, partial(model.i386, release=release, pae=False))

    for release in ("10.4", "12.1", "14"):
        kernel = freebsd.I386.pae[release]
        found[f"i386pae-{release}"] = (kernel, partial(model.i386, release=release, pae=True))

    return found


KERNELS = kernels()
LAST_PAGE = (1 << BITS) - PAGE
PHYSICAL = [0, 0, PAGE, 2 * PAGE, 64 * M - PAGE, 64 * M, 0x8010_0000, 0x8030_0000, LAST_PAGE]

#: Made once: making a strategy takes longer than drawing from it.
RIGHTS = st.sampled_from(["rw", "rw", "rw", "rw", "r", "", None])
FRAMES = st.sampled_from(PHYSICAL)
WRITABLE = st.sampled_from([True, True, True, False])
MAPPED = st.integers(0, 7)


@st.composite
def spaces(draw: st.DrawFn) -> tuple[list[tuple[int, int, str]], dict[int, tuple[int, bool]]]:
    """Map entries and pages of eight pages of a kernel, counted from 0."""
    rights = [draw(RIGHTS) for _ in range(8)]
    entries = [(n, n + 1, right) for n, right in enumerate(rights) if right is not None]
    pages = {n: (draw(FRAMES), draw(WRITABLE)) for n in range(8) if draw(MAPPED)}

    return entries, pages


SPACES = spaces()
JITTER = st.sampled_from([0, 0, 0, 0, 1, -1, -8, 0x800, -0x800])
BUFFERS = st.lists(
    st.tuples(
        st.sampled_from([0x10000, 0x10001, 0x10FFF, 0x10800]),
        st.sampled_from([0, 1, 8, 100, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE]),
    ),
    min_size=1,
    max_size=3,
)


def map_end(kernel: Kernel) -> int:
    layout = kernel.layout

    return layout.space_end if layout.map_max is None else layout.map_max


@cache
def first_pages(name: str) -> st.SearchStrategy[int]:
    """Where the kernel pages of a case begin: inside the map, or such that they reach its end."""
    kernel, _ = KERNELS[name]
    inside = max(kernel.layout.kernel_base, 0xC0000000)
    last = map_end(kernel) // PAGE * PAGE

    end = min(last - 4 * PAGE, kernel.layout.space_end - 8 * PAGE)

    return st.sampled_from([inside, inside, inside, end])


@cache
def places(name: str, first: int) -> st.SearchStrategy[tuple[bool, int]]:
    """Device (whether `/dev/kmem`) and offset, near what the rules tell apart."""
    kernel, _ = KERNELS[name]
    physical = [0, PAGE, *(bound for region in RAM for bound in region), 0x8020_0000, 1 << 32]
    physical += [1 << BITS, 1 << 63, (1 << 64) - PAGE, (1 << 64) - (1 << 32) + PAGE]
    virtual = [first + n * PAGE for n in range(9)]
    others = [map_end(kernel), kernel.layout.kernel_base, *physical]
    if kernel.layout.kernel_base < 1 << 32:
        others += [base + high for base in virtual for high in (1 << 32, (1 << 64) - (1 << 32))]

    if kernel.layout.direct_map is not None:
        others += [kernel.layout.direct_map, kernel.layout.direct_map + 0x8010_0000]

    place = st.one_of(
        st.tuples(st.just(False), st.sampled_from(physical)),
        st.tuples(st.just(True), st.sampled_from(virtual)),
        st.tuples(st.just(True), st.sampled_from(virtual)),
        st.tuples(st.just(True), st.sampled_from(others)),
    )

    return st.builds(lambda it, by: (it[0], min(max(it[1] + by, 0), U64)), place, JITTER)


@pytest.mark.parametrize("name", KERNELS)
@given(st.data())
def test_a_kernels_rules_do_what_its_own_loop_does(name: str, data: st.DataObject) -> None:
    kernel, expected = KERNELS[name]
    layout, first = kernel.layout, data.draw(first_pages(name))
    entries, pages = data.draw(SPACES)
    spans = [(first + a * PAGE, first + b * PAGE, right) for a, b, right in entries]
    mapped = {first // PAGE + n: page for n, page in pages.items()}
    kmem, offset = data.draw(places(name, first))
    buffers = data.draw(BUFFERS)
    world = World(
        BITS, RAM, spans, mapped, layout.map_max or 1 << 64, layout.kernel_base, layout.direct_map
    )
    world.direct_limit = 4 << 30
    memory = PhysicalMemory(BITS, [Region(base=a, length=b - a) for a, b in RAM])
    space = KernelMemory(
        layout,
        [
            KernelMapping(virtual=n * PAGE, physical=physical, length=PAGE, writable=writable)
            for n, (physical, writable) in mapped.items()
        ],
        memory,
        entries=[
            KernelEntry(virtual=a, length=b - a, readable="r" in right, writable="w" in right)
            for a, b, right in spans
        ],
        rules=kernel.rules,
        upages=0,
    )
    transfer = Transfer(memory, space, kernel.rules)

    fails = expected(world, kmem, offset, buffers, "w")
    plan = transfer.plan_write(
        "kmem" if kmem else "mem", offset, sum(n for _, n in buffers), buffers=buffers
    )

    found = World(BITS, [], [], {}, 0, 0)
    for piece in plan.pieces:
        found.copy(piece.address, piece.length)

    outcome: Any = (plan.moved, plan.error is not None, found.runs)
    assert outcome == (world.moved, fails, world.runs)


@pytest.mark.parametrize(("user", "moved"), [(0x10000, 0), (0x10800, 0x800)])
def test_pieces_end_at_page_borders_of_the_callers_buffer_too(user: int, moved: int) -> None:
    """powerpc: the piece that reaches past the RAM is refused whole; a border saves the rest."""
    kernel = freebsd.POWERPC64.kernels["12.1"]
    memory = PhysicalMemory(BITS, [Region(base=a, length=b - a) for a, b in RAM])
    space = KernelMemory(kernel.layout, (), memory, rules=kernel.rules)
    transfer = Transfer(memory, space, kernel.rules)

    plan = transfer.plan_write("mem", 0x8030_0000, PAGE, buffers=[(user, PAGE)])

    assert (plan.moved, plan.error is not None) == (moved, True)
