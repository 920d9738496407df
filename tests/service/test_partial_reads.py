"""A read that fails after some of its bytes: what is sent of it, and what `moved` says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub.core.spec import Region
from memhub.errors import BadAddress
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

    from memhub import MachineSpec

TOP = 0x44000000


def arm() -> MachineSpec:
    """64 MiB of RAM, after which a read fails, with the bytes before it moved."""
    ram = Region(base=TOP - 64 * MIB, length=64 * MIB)

    return machine("arm", arch="arm64", memory=(ram,))


async def pieces_of(client: RawClient, asked: wire.Message) -> tuple[bytes, Any]:
    """The bytes that came, and the answer that ended them."""
    client.send(*client.protocol.send(asked))
    got, last = b"", None
    while last is None:
        for message in await client.receive():
            if isinstance(message, wire.Data) and not message.last:
                got += message.data
            else:
                last = message

    return got, last


@pytest.mark.parametrize("size", [6 * MIB, 2 * MIB, MIB])
@pytest.mark.parametrize("frame_size", [MIB, 1 << 16])
async def test_what_came_before_the_error_is_sent_and_counted(
    tmp_path: Path, size: int, frame_size: int
) -> None:
    before = 5 * MIB // 2 if size > 4 * MIB else MIB // 2
    limits = Limits(frame_size=frame_size)
    async with lab(tmp_path, arm(), limits=limits) as it, it.connect() as hub:
        here = await it.hub.open("/dev/mem", "r+")
        text = bytes(range(256)) * (before // 256)
        await here.pwrite(text, TOP - before)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        await client.ask(wire.Seek(0, handle, 0, TOP - before))
        for asked in (wire.Pread(0, handle, TOP - before, size), wire.Read(0, handle, size)):
            got, answer = await pieces_of(client, asked)
            assert isinstance(answer, wire.Error)
            assert (answer.name, answer.moved) == ("EFAULT", before)
            assert got == text

        assert await client.ask(wire.Seek(0, handle, 1, 0)) == wire.Done(answer.request + 1, TOP)
        for face in (here, await hub.open("/dev/mem")):
            with pytest.raises(BadAddress) as caught:
                await face.pread(size, TOP - before)

            assert caught.value.moved == before
            assert caught.value.arrived == (text if face is here else b"")

        client.close()
