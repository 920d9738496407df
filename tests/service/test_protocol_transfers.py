"""A transfer comes out the same in one frame and in many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule
from memhub.core.spec import KernelMapping, MachineSpec, Region
from memhub.errors import BadAddress
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

END = 1 << 36
KERNEL = 0xC0000000
SMALL = 1 << 16


def pc386() -> MachineSpec:
    """Its kernel looks at all of a `/dev/kmem` transfer before a byte of it moves."""
    return MachineSpec(
        name="pc386",
        arch="i386",
        memory=(Region(base=0, length=64 * MIB),),
        kmem=(KernelMapping(virtual=KERNEL, physical=MIB, length=4 * MIB),),
    )


async def read_all(client: RawClient, asked: wire.Pread) -> tuple[str, int, int]:
    """How a read ended: the frame or the errno, `moved`, and the bytes that came."""
    client.send(*client.protocol.send(asked))
    got = 0
    while True:
        for answer in await client.receive():
            if isinstance(answer, wire.Error):
                return answer.name, answer.moved, got

            assert isinstance(answer, wire.Data)
            got += len(answer.data)
            if answer.last:
                return "DATA", got, got


@pytest.mark.parametrize("path", ["pc:/dev/mem", "pc386:/dev/mem", "pc386:/dev/kmem"])
@pytest.mark.parametrize("there", [0, 5, SMALL, SMALL + 5, 3 * SMALL])
async def test_the_end_of_a_read_does_not_depend_on_max_body(
    tmp_path: Path, path: str, there: int
) -> None:
    """With `there` bytes before the end of what is there."""
    found = []
    for frame_size in (SMALL, MIB):
        folder = tmp_path / str(frame_size)
        folder.mkdir()
        async with lab(folder, machine(), pc386(), limits=Limits(frame_size=frame_size)) as it:
            client = await RawClient.dial(it.address)
            handle = await client.open(path)
            end = KERNEL + 4 * MIB if "kmem" in path else END if "pc:" in path else 1 << 32
            for more in (1, SMALL):
                asked = wire.Pread(0, handle, end - there, there + more)
                found.append(await read_all(client, asked))

            client.close()

    assert found[:2] == found[2:]


async def write_all(client: RawClient, handle: int, at: int, parts: tuple[int, ...]) -> Any:
    """Write in frames of these lengths; the answer."""
    first, *others = (bytes(size) for size in parts)
    asked = wire.Pwrite(0, handle, at, sum(parts), first)
    client.send(*client.protocol.send(asked))
    for place, data in enumerate(others, 1):
        client.send(wire.Data(asked.request, place == len(others), data).encode())

    while True:
        for answer in await client.receive():
            assert answer.request == asked.request
            client.protocol._due.pop(asked.request, None)

            return answer


@pytest.mark.parametrize("path", ["pc:/dev/mem", "pc386:/dev/mem", "pc386:/dev/kmem"])
@pytest.mark.parametrize("there", [0, 4, 5])
async def test_the_end_of_a_write_does_not_depend_on_its_frames(
    tmp_path: Path, path: str, there: int
) -> None:
    async with lab(tmp_path, machine(), pc386()) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open(path)
        end = KERNEL + 4 * MIB if "kmem" in path else END if "pc:" in path else 1 << 32
        found = {}
        for parts in ((8,), (4, 4), (5, 3), (1,) * 8, (0, 8)):
            answer = await write_all(client, handle, end - there, parts)
            found[parts] = (
                answer.NAME,
                answer.value if isinstance(answer, wire.Done) else answer.moved,
            )

        assert set(found.values()) == {found[8,]}, found
        assert {row["errno"] for row in it.records("request.write")} <= {None, "EFAULT"}
        client.close()


async def test_a_write_in_frames_meets_fault_rules_and_suspended_machines(tmp_path: Path) -> None:
    """Before what the kernel would say of it."""
    async with lab(tmp_path, machine(), pc386()) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open("pc:/dev/mem")
        with it.hub.faults.add(FaultRule("errno", errno="ENXIO", op="write")):
            answer = await write_all(client, handle, END, (4, 4))
            assert answer.name == "ENXIO"

        it.hub.hardware.suspend("pc")
        assert (await write_all(client, handle, END, (4, 4))).name == "EAGAIN"
        client.close()


class Failing:
    """A device whose bytes from `good` on cannot be had."""

    def __init__(self, good: int) -> None:
        self.good = good

    async def read(self, offset: int, size: int) -> bytes:
        if offset >= self.good:
            raise BadAddress("nothing answers")

        return bytes(size)

    async def write(self, offset: int, data: bytes) -> None:
        if offset >= self.good:
            raise BadAddress("nothing answers")


@pytest.mark.parametrize("frame_size", [SMALL, MIB])
async def test_a_device_that_fails_ends_a_transfer_short_in_any_frames(
    tmp_path: Path, frame_size: int
) -> None:
    async with lab(tmp_path, limits=Limits(frame_size=frame_size)) as it:
        base = 0xE0000000
        it.hub.map_device(base, MIB, Failing(SMALL))
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = wire.Pread(0, handle, base, 2 * SMALL)
        assert await read_all(client, asked) == ("DATA", SMALL, SMALL)
        ram = base - SMALL
        asked = wire.Pread(0, handle, ram, 3 * SMALL)
        assert await read_all(client, asked) == ("DATA", 2 * SMALL, 2 * SMALL)
        it.hub.map_device(2 * MIB, 4096, Failing(0))
        for parts in ((8,), (4, 4), (1, 7), (5, 3)):
            answer = await write_all(client, handle, 2 * MIB - 4, parts)
            assert (answer.NAME, answer.value) == ("DONE", 4), parts

        client.close()
