"""A change of a type flushes first, whoever stores it; a forgotten flush is named once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from caches.cache_rig import pc
from kernels.linux_kit import add
from memhub import CacheLimits, Hub, MachineSpec, Region, Sickness

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memhub.handles.handle import Handle

AT, FRAME, LENGTH = 0x10000000, 0xD0000000, 1 << 20
FORGETFUL = CacheLimits(seed=3, forget_flush=True)
ARCHES = ("amd64", "i386", "amd64-mtrr")


def machine(arch: str = "amd64", **more: Any) -> MachineSpec:
    return MachineSpec(
        **{
            "name": "pc",
            "arch": arch,
            "coherent": False,
            "bus": "blind",
            "caches": FORGETFUL,
            **more,
        }
    )


@pytest.mark.parametrize("arch", ARCHES)
@pytest.mark.parametrize("first", [None, "write-back"])
async def test_one_forgotten_flush_is_counted_once(arch: str, first: str | None) -> None:
    async with Hub([machine(arch)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        if first is not None:
            await mem.set_range(AT, LENGTH, first)

        await mem.pwrite(b"dirty", AT)
        await mem.set_range(AT, LENGTH, "uncacheable")
        (hazard,) = hub.hazards()
        assert (hazard.name, hazard.times) == ("unflushed-change", 1)
        assert (hazard.address, hazard.length) == (AT, 5)


@pytest.mark.parametrize("arch", ARCHES)
async def test_a_set_and_a_remove_that_leave_the_type_forget_nothing(arch: str) -> None:
    async with Hub([machine(arch)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        await mem.set_range(AT, LENGTH, "write-back")
        await mem.set_range(AT, LENGTH, "write-back")
        await mem.remove_range(AT, LENGTH)
        assert hub.hazards() == []


async def test_what_is_dirty_elsewhere_was_not_forgotten() -> None:
    async with Hub([machine()]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT - 64)
        await mem.pwrite(b"dirty", AT + LENGTH)
        await mem.set_range(AT, LENGTH, "uncacheable")
        assert hub.hazards() == []


async def test_a_forgotten_combining_buffer_is_named_where_its_type_changed() -> None:
    async with Hub([pc(caches=FORGETFUL)]) as hub, await hub.open("/dev/mem", "r+") as mem:
        for base in (0x200000, 0x201000):
            await mem.set_range(base, 0x1000, "write-combine")
            await mem.pwrite(b"pixels", base)

        await mem.set_range(0x201000, 0x1000, "uncacheable")
        (hazard,) = [it for it in hub.hazards() if it.name == "unflushed-change"]
        assert (hazard.address, hazard.length, hazard.times) == (0x201000, 6, 1)


# Other kernels


async def by_file(hub: Hub, mem: Handle) -> None:
    async with await hub.open("/proc/mtrr", "r+") as mtrr:
        await mtrr.write(f"base={AT:#x} size={LENGTH:#x} type=uncachable\n".encode())


async def by_driver(hub: Hub, mem: Handle) -> None:
    hub.kernels.call("add", base=AT, size=LENGTH, type=0)


async def by_system_call(hub: Hub, mem: Handle) -> None:
    await mem.call_kernel("set", entries=[[AT, LENGTH, 0, 4, 0]])


@dataclass(frozen=True)
class Way:
    """A way to change a type of a machine whose kernel is another than FreeBSD."""

    kernel: str
    arch: str
    change: Callable[[Hub, Handle], Awaitable[None]]


WAYS = (
    Way("linux-6.18", "amd64-mtrr", by_file),
    Way("linux-6.18", "amd64-mtrr", by_driver),
    Way("linux-2.6.32", "i386", by_file),
    Way("netbsd-7", "amd64", by_system_call),
)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.kernel}-{way.change.__name__}")
async def test_every_kernel_flushes_first(way: Way) -> None:
    spec = machine(way.arch, kernel=way.kernel, caches=CacheLimits(seed=3))
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        await mem.pwrite(b"dirty", AT)
        await way.change(hub, mem)
        assert (await mem.explain(AT)).type == "UC"
        assert hub.bus().read(AT, 5) == await mem.pread(5, AT) == b"dirty"
        assert hub.hazards() == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: f"{way.kernel}-{way.change.__name__}")
async def test_a_kernel_that_forgets_it_is_named(way: Way) -> None:
    async with (
        Hub([machine(way.arch, kernel=way.kernel)]) as hub,
        await hub.open("/dev/mem", "r+") as mem,
    ):
        await mem.pwrite(b"dirty", AT)
        await way.change(hub, mem)
        assert [(it.name, it.times) for it in hub.hazards()] == [("unflushed-change", 1)]


@pytest.mark.parametrize("forgets", [False, True])
async def test_the_close_of_a_kernels_file_flushes_before_it_gives_back(forgets: bool) -> None:
    limits = CacheLimits(seed=3, forget_flush=forgets)
    memory = (Region(base=0, length=64 << 20), Region(base=FRAME, length=LENGTH))
    more = {"memory": memory, "msrs": {0xFE: 0x508, 0x2FF: 0x800}}
    spec = machine("amd64-mtrr", kernel="linux-6.18", caches=limits, **more)
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        mtrr = await hub.open("/proc/mtrr", "r+")
        await add(mtrr, FRAME, LENGTH)
        await mem.pwrite(b"pixels", FRAME)
        await mtrr.aclose()
        assert (await mem.explain(FRAME)).type == "UC"
        names = [it.name for it in hub.hazards()]
        assert ("unflushed-change" in names) == forgets
        assert (hub.bus().read(FRAME, 6) == b"pixels") == (not forgets)


# Re-initialisation


@pytest.mark.parametrize("kernel", [None, "linux-6.18"])
@pytest.mark.parametrize("forgets", [False, True])
async def test_reinitialisation_flushes_before_types_change(
    kernel: str | None, forgets: bool
) -> None:
    limits = CacheLimits(seed=3, forget_flush=forgets)
    spec = machine("amd64-mtrr", caches=limits, **({"kernel": kernel} if kernel else {}))
    async with Hub([spec]) as hub, await hub.open("/dev/mem", "r+") as mem:
        if kernel:
            await by_driver(hub, mem)
        else:
            await mem.set_range(AT, LENGTH, "uncacheable")

        table = hub.machines["pc"].table
        assert table is not None
        (base,) = (it for it, held in table.state.msrs.items() if held & ~0xFFF == AT)
        off = {base + 1: 0}  # the range's mask, and with it whether it holds
        hub.hardware.add(Sickness(action="firmware_rewrite", registers=off, moment="now"))
        assert (await mem.explain(AT)).type != "UC"
        await mem.pwrite(b"dirty", AT)
        hub.hardware.reinit()
        assert (await mem.explain(AT)).type == "UC"
        assert [it.name for it in hub.hazards()] == ["unflushed-change"] * forgets
        assert (hub.bus().read(AT, 5) == b"dirty") == (not forgets)
