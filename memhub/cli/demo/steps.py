"""What each client does, and when.

The steps of a client are in a fixed order. The seed decides the latencies, so how the clients
interleave, and all that the two tenants do.
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

    from memhub.cli.demo.clients import Client, Clients
    from memhub.handles.handle import Handle

    Steps = Callable[[], Awaitable[None]]

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SCREEN = 0xE0000000


def all_steps(clients: Clients) -> list[Steps]:
    """The steps of every client."""
    return [
        *desk_steps(clients),
        *legacy_steps(clients),
        *server_steps(clients),
        *small_steps(clients),
        *tenant_steps(clients),
    ]


def desk_steps(clients: Clients) -> list[Steps]:
    """A claim refuses others; a wait times out; a crash frees a range; all slots are in use."""
    xorg, wayland, tuner = clients.add("Xorg"), clients.add("wayland"), clients.add("tuner")

    async def first() -> None:
        await xorg.wait_until(2)
        screen = await xorg.open("desk")
        await xorg.attempt(screen.set_range(SCREEN, 256 * MIB, MDF_WRITECOMBINE, owner="Xorg"))
        await xorg.wait_until(96)
        xorg.process.close("disconnect")

    async def second() -> None:
        await wayland.wait_until(8)
        screen = await wayland.open("desk")
        await wayland.attempt(screen.remove_range(SCREEN, 256 * MIB))
        await wayland.wait_until(16)
        await wayland.attempt(
            screen.set_range(SCREEN, 256 * MIB, MDF_WRITETHROUGH, owner="wayland", wait=0.03)
        )
        await wayland.wait_until(70)
        await wayland.attempt(
            screen.set_range(SCREEN, 256 * MIB, MDF_WRITETHROUGH, owner="wayland", wait=1.0)
        )

    async def third() -> None:
        await tuner.wait_until(24)
        device = await tuner.open("desk")
        await tuner.attempt(
            device.set_range(SCREEN + 16 * MIB, MIB, MDF_UNCACHEABLE, owner="tuner")
        )
        for number in range(4):
            await tuner.wait_until(32 + 5 * number)
            base = 0xA0000000 + number * 192 * MIB
            await tuner.attempt(device.set_range(base, 96 * MIB, MDF_UNCACHEABLE, owner="tuner"))

    return [first, second, third]


def legacy_steps(clients: Clients) -> list[Steps]:
    """A commit in flight is BUSY to all; a fixed range stays; a close undoes a change."""
    xfree, svgalib, trial = clients.add("XFree86"), clients.add("svgalib"), clients.add("bench")

    async def first() -> None:
        await xfree.wait_until(5)
        card = await xfree.open("legacy")
        await xfree.attempt(card.set_range(0xD0000000, 32 * MIB, MDF_WRITECOMBINE, owner="XFree86"))

    async def second() -> None:
        await svgalib.wait_until(13)
        card = await svgalib.open("legacy", "r+")
        busy = [slot for slot, it in enumerate(await card.ranges()) if it.mr_flags & MDF_BUSY]
        svgalib.observe("legacy", f"MEMRANGE_GET: slot {', '.join(map(str, busy))} is BUSY")
        await svgalib.wait_until(18)
        await svgalib.attempt(
            card.set_range(0xD0000000, 32 * MIB, MDF_UNCACHEABLE, owner="svgalib")
        )
        await svgalib.wait_until(40)
        await svgalib.attempt(card.remove_range(0xF0000, 4 * KIB))
        await svgalib.attempt(card.pwrite(b"\x55\xaa", 0xF0000))

    async def third() -> None:
        await trial.wait_until(46)
        memory = await trial.open("legacy", undo=True)
        await trial.attempt(memory.set_range(0xA0000, 128 * KIB, MDF_WRITECOMBINE, owner="bench"))
        await trial.wait_until(78)
        trial.process.close()

    return [first, second, third]


def server_steps(clients: Clients) -> list[Steps]:
    """Firmware left no free slot; two clients wait for each other; a lease ends."""
    drm, mpi, dma = clients.add("drm"), clients.add("mpi"), clients.add("dma")
    here, there = 64 * GIB, 128 * GIB

    async def first() -> None:
        await drm.wait_until(10)
        card = await drm.open("server")
        await drm.attempt(card.set_range(0xD0000000, 256 * MIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.wait_until(14)
        await drm.attempt(card.set_range(here + MIB, 256 * MIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.wait_until(20)
        await drm.attempt(card.set_range(here, GIB, MDF_WRITECOMBINE, owner="drm"))
        await drm.wait_until(36)
        await drm.attempt(card.claim(there, GIB, wait=0.5))

    async def second() -> None:
        await mpi.wait_until(26)
        memory = await mpi.open("server")
        await memory.claim(there, GIB)
        await mpi.wait_until(52)
        await mpi.attempt(memory.remove_range(here, GIB, wait=0.5))
        await mpi.wait_until(62)
        await memory.release(there, GIB)

    async def third() -> None:
        await dma.wait_until(30)
        memory = await dma.open("server", "r+")
        await memory.claim(16 * MIB, 4 * MIB, lease=0.025)
        await memory.pwrite(bytes(64 * KIB), 16 * MIB)

    return [first, second, third]


def small_steps(clients: Clients) -> list[Steps]:
    """The K6 has two slots, the PowerPC checks nothing, the board has no range operations."""
    glide, macos, probe = clients.add("glide"), clients.add("MacOS"), clients.add("probe")

    async def first() -> None:
        await glide.wait_until(11)
        card = await glide.open("k6")
        await glide.attempt(card.set_range(0, 64 * MIB, MDF_WRITEBACK, owner="glide"))
        for number in range(3):
            await glide.wait_until(19 + 7 * number)
            base = 0xD8000000 + number * 64 * MIB
            await glide.attempt(card.set_range(base, 8 * MIB, MDF_WRITECOMBINE, owner="glide"))

    async def second() -> None:
        await macos.wait_until(23)
        card = await macos.open("mac")
        for _ in range(2):
            await macos.attempt(
                card.set_range(0x81234000, 200 * MIB, MDF_UNCACHEABLE, owner="MacOS")
            )
            await macos.pause(6)

    async def third() -> None:
        await probe.wait_until(28)
        memory = await probe.open("board")
        await probe.attempt(memory.set_range(0x40000000, MIB, MDF_WRITECOMBINE, owner="probe"))
        await probe.attempt(probe.open("board", "r+"))
        await memory.pread(4 * KIB, 0x40000000)

    return [first, second, third]


def tenant_steps(clients: Clients) -> list[Steps]:
    """Two clients that read, write and program at random."""

    def steps_of(client: Client) -> Steps:
        async def repeat() -> None:
            names = ["desk", "legacy", "server", "k6", "mac"]
            for _ in range(9):
                await client.pause(11)
                async with await client.open(client.random.choice(names), "r+") as device:
                    await _make_random_requests(client, device)

        return repeat

    return [steps_of(clients.add("tenant-1")), steps_of(clients.add("tenant-2"))]


async def _make_random_requests(client: Client, device: Handle) -> None:
    random = client.random
    offset = random.randrange(MIB, 48 * MIB)
    for _ in range(random.randrange(1, 4)):
        if random.random() < 0.5:
            await client.attempt(device.pread(random.randrange(1, 64 * KIB), offset))
        else:
            await client.attempt(
                device.pwrite(random.randbytes(random.randrange(1, 4 * KIB)), offset)
            )

    if random.random() < 0.25:
        base = random.randrange(0x10, 0x60) << 24
        await client.attempt(
            device.set_range(base, 16 * MIB, MDF_WRITECOMBINE, owner=client.name.encode())
        )
