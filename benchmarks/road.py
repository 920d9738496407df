"""The way of one request: calls, files and jumps between files, counted with `sys.setprofile`.

`python -m benchmarks.road` prints a line for each request; `--calls` lists every call.
"""

from __future__ import annotations

import sys
import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio

import memhub
from memhub import AuditLog, Hub, MachineSpec, abi

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

_ROOT = str(Path(memhub.__file__).parent)


class Road(NamedTuple):
    """The calls of one request, in order: file and function."""

    calls: tuple[tuple[str, str], ...]

    @property
    def files(self) -> int:
        """How many files they are in."""
        return len({file for file, _ in self.calls})

    @property
    def jumps(self) -> int:
        """How often the next call is in another file."""
        names = [file for file, _ in self.calls]

        return sum(one != other for one, other in pairwise(names))


async def follow(call: Callable[[], Awaitable[Any]]) -> Road:
    """Count one call, after some to warm up."""
    for _ in range(3):
        await call()

    seen: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and (file.startswith(_ROOT) or "/memhub_" in file):
            seen.append((file.removeprefix(_ROOT + "/"), frame.f_code.co_name))

    sys.setprofile(note)
    try:
        await call()
    finally:
        sys.setprofile(None)

    return Road(tuple(seen))


async def measure() -> dict[str, Road]:
    """The roads of an embedded, audited hub with one i386 machine."""
    spec = MachineSpec(name="pc", arch="i386", msrs={0xFE: 0x508, 0x2FF: 0xC00})
    with tempfile.TemporaryDirectory() as folder, AuditLog.open(f"{folder}/a.jsonl") as log:
        async with Hub([spec], log=log) as hub, await hub.open("/dev/mem", "r+") as handle:
            types = [abi.MDF_WRITECOMBINE, abi.MDF_UNCACHEABLE]

            async def flip() -> None:
                types.reverse()
                await handle.set_range(0xD0000000, 0x1000000, types[0])

            return {
                "set": await follow(flip),
                "read of 8 bytes": await follow(lambda: handle.pread(8, 0x1000)),
                "get": await follow(handle.ranges),
                "claim": await follow(lambda: handle.claim(0xE0000000, 0x1000)),
            }


def main() -> None:
    for name, road in anyio.run(measure).items():
        print(f"{name}: calls={len(road.calls)} files={road.files} jumps={road.jumps}")
        if "--calls" in sys.argv:
            for file, function in road.calls:
                print(f"    {file} {function}")


if __name__ == "__main__":
    main()
