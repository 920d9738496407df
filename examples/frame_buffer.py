"""A driver draws a picture into a write-combined frame buffer, and forgets the fence.

The picture is a test card of eight bars. The driver draws them one after the other, and tells the
device to show the card. What is still in the combining buffers of its CPU is not in the picture:
the tear that a missing fence causes on hardware. It is in the bar that was drawn last, and the
hazard report names the driver and the cure.

Run it with `python examples/frame_buffer.py [FOLDER]`; it writes `torn.png` and `whole.png` there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from memhub import CacheLimits, DeviceSpec, Hub, MachineSpec
from memhub.devices.screens import draw_png

BASE, WIDTH, HEIGHT = 0xD0000000, 64, 24
BARS = (0x404040, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0xFFFFFF)

SPEC = MachineSpec(
    name="pc",
    arch="amd64",
    coherent=False,
    caches=CacheLimits(seed=7),
    devices=(
        DeviceSpec(
            name="card",
            kind="frame-buffer",
            base=BASE,
            options={"width": WIDTH, "height": HEIGHT},
        ),
    ),
)


async def draw_bars(mem):
    """Draw the card bar by bar, and each from its top to its bottom."""
    width = WIDTH // len(BARS)
    for number, colour in enumerate(BARS):
        part = colour.to_bytes(4, "little") * width
        for y in range(HEIGHT):
            await mem.pwrite(part, BASE + 4 * (y * WIDTH + number * width))


async def run_driver(*, fence):
    """The picture that the device shows, and the names of the hazards that were met."""
    async with Hub([SPEC]) as hub, hub.process("driver") as driver:
        async with await driver.open("pc:/dev/mem", "r+") as mem:
            await mem.set_range(BASE, 2 << 12, "write-combine", owner="driver")
            await draw_bars(mem)
            if fence:
                await mem.fence()  # sfence

            picture = hub.show("card")

        return picture, sorted({it.name for it in hub.hazards("pc")})


def black_points(picture):
    """Points of the card that are black, which none of the bars is."""
    return sum(not any(picture.rgb[at : at + 3]) for at in range(0, len(picture.rgb), 3))


async def main(folder):
    for name, fence in (("torn", False), ("whole", True)):
        picture, hazards = await run_driver(fence=fence)
        (folder / f"{name}.png").write_bytes(draw_png(picture, scale=8))
        found = ", ".join(hazards) or "no hazards"
        print(f"{name}.png: {black_points(picture)} points are missing; {found}")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else "."))
