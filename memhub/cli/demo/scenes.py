"""What the clients do: six scenes at once, on six machines, each with its own quarrels.

Within a scene the order is fixed and the latencies are not; how the scenes interleave, and what
the two tenants do, is the seed's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import (
    MDF_BUSY,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITETHROUGH,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from memhub.cli.demo.cast import Actor, Cast
    from memhub.handle import Handle

    Part = Callable[[], Awaitable[None]]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SCREEN = 0xE0000000


def parts(cast: Cast) -> list[Part]:
    """Every client's part."""
    return [*desk(cast), *legacy(cast), *server(cast), *small(cast), *tenants(cast)]


def desk(cast: Cast) -> list[Part]:
    """A claim keeps others out, a wait runs out, a crash hands the range on, slots run out."""
    xorg, wayland, tuner = cast.actor("Xorg"), cast.actor("wayland"), cast.actor("tuner")

    async def first() -> None:
        await xorg.at(2)
        screen = await xorg.open("desk")
        await xorg.tries(screen.set_range(SCREEN, 256 * MIB, MDF_WRITECOMBINE, owner="Xorg"))
        await xorg.at(96)
        xorg.process.close("disconnect")

    async def second() -> None:
        await wayland.at(8)
        screen = await wayland.open("desk")
        await wayland.tries(screen.remove_range(SCREEN, 256 * MIB))
        await wayland.at(16)
        await wayland.tries(
            screen.set_range(SCREEN, 256 * MIB, MDF_WRITETHROUGH, owner="wayland", wait=0.03)
        )
        await wayland.at(70)
        await wayland.tries(
            screen.set_range(SCREEN, 256 * MIB, MDF_WRITETHROUGH, owner="wayland", wait=1.0)
        )

    async def third() -> None:
        await tuner.at(24)
        device = await tuner.open("desk")
        await tuner.tries(device.set_range(SCREEN + 16 * MIB, MIB, MDF_UNCACHEABLE, owner="tuner"))
        for number in range(4):
            await tuner.at(32 + 5 * number)
            base = 0xA0000000 + number * 192 * MIB
            await tuner.tries(device.set_range(base, 96 * MIB, MDF_UNCACHEABLE, owner="tuner"))

    return [first, second, third]


def legacy(cast: Cast) -> list[Part]:
    """A commit on its way is busy to all; a fixed range cannot go; a trial is undone at exit."""
    xfree, svgalib, trial = cast.actor("XFree86"), cast.actor("svgalib"), cast.actor("bench")

    async def first() -> None:
        await xfree.at(5)
        card = await xfree.open("legacy")
        await xfree.tries(card.set_range(0xD0000000, 32 * MIB, MDF_WRITECOMBINE, owner="XFree86"))

    async def second() -> None:
        await svgalib.at(13)
        card = await svgalib.open("legacy", "r+")
        busy = [slot for slot, it in enumerate(await card.ranges()) if it.mr_flags & MDF_BUSY]
        svgalib.saw("legacy", f"MEMRANGE_GET: slot {', '.join(map(str, busy))} is BUSY")
        await svgalib.at(18)
        await svgalib.tries(card.set_range(0xD0000000, 32 * MIB, MDF_UNCACHEABLE, owner="svgalib"))
        await svgalib.at(40)
        await svgalib.tries(card.remove_range(0xF0000, 4 * KIB))
        await svgalib.tries(card.pwrite(b"\x55\xaa", 0xF0000))

    async def third() -> None:
        await trial.at(46)
        memory = await trial.open("legacy", undo=True)
        await trial.tries(memory.set_range(0xA0000, 128 * KIB, MDF_WRITECOMBINE, owner="bench"))
        await trial.at(78)
        trial.process.close()

    return [first, second, third]


def server(cast: Cast) -> list[Part]:
    """What real firmware leaves no room for; two that wait for each other; a lease that ends."""
    drm, mpi, dma = cast.actor("drm"), cast.actor("mpi"), cast.actor("dma")
    here, there = 64 * GIB, 128 * GIB

    async def first() -> None:
        await drm.at(10)
        card = await drm.open("server")
        await drm.tries(card.set_range(0xD0000000, 256 * MIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.at(14)
        await drm.tries(card.set_range(here + MIB, 256 * MIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.at(20)
        await drm.tries(card.set_range(here, GIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.at(36)
        await drm.tries(card.claim(there, GIB, wait=0.5))

    async def second() -> None:
        await mpi.at(26)
        memory = await mpi.open("server")
        await memory.claim(there, GIB)
        await mpi.at(52)
        await mpi.tries(memory.remove_range(here, GIB, wait=0.5))
        await mpi.at(62)
        await memory.release(there, GIB)

    async def third() -> None:
        await dma.at(30)
        memory = await dma.open("server", "r+")
        await memory.claim(16 * MIB, 4 * MIB, lease=0.025)
        await memory.pwrite(bytes(64 * KIB), 16 * MIB)

    return [first, second, third]


def small(cast: Cast) -> list[Part]:
    """The K6 counts to two, the PowerPC checks nothing, the board has nothing to set."""
    glide, macos, probe = cast.actor("glide"), cast.actor("MacOS"), cast.actor("probe")

    async def first() -> None:
        await glide.at(11)
        card = await glide.open("k6")
        await glide.tries(card.set_range(0, 64 * MIB, MDF_WRITEBACK, owner="glide"))
        for number in range(3):
            await glide.at(19 + 7 * number)
            base = 0xD8000000 + number * 64 * MIB
            await glide.tries(card.set_range(base, 8 * MIB, MDF_WRITECOMBINE, owner="glide"))

    async def second() -> None:
        await macos.at(23)
        card = await macos.open("mac")
        for _ in range(2):
            await macos.tries(card.set_range(0x81234000, 200 * MIB, MDF_UNCACHEABLE, owner="MacOS"))
            await macos.idle(6)

    async def third() -> None:
        await probe.at(28)
        memory = await probe.open("board")
        await probe.tries(memory.set_range(0x40000000, MIB, MDF_WRITECOMBINE, owner="probe"))
        await probe.tries(probe.open("board", "r+"))
        await memory.pread(4 * KIB, 0x40000000)

    return [first, second, third]


def tenants(cast: Cast) -> list[Part]:
    """Two that read, write and program at random all the while."""

    def part(actor: Actor) -> Part:
        async def play() -> None:
            names = ["desk", "legacy", "server", "k6", "mac"]
            for _ in range(9):
                await actor.idle(11)
                async with await actor.open(actor.dice.choice(names), "r+") as device:
                    await _something(actor, device)

        return play

    return [part(cast.actor("tenant-1")), part(cast.actor("tenant-2"))]


async def _something(actor: Actor, device: Handle) -> None:
    dice = actor.dice
    offset = dice.randrange(MIB, 48 * MIB)
    for _ in range(dice.randrange(1, 4)):
        if dice.random() < 0.5:
            await actor.tries(device.pread(dice.randrange(1, 64 * KIB), offset))
        else:
            await actor.tries(device.pwrite(dice.randbytes(dice.randrange(1, 4 * KIB)), offset))

    if dice.random() < 0.25:
        base = dice.randrange(0x10, 0x60) << 24
        await actor.tries(device.set_range(base, 16 * MIB, MDF_WRITECOMBINE, owner=actor.name))
