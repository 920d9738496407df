"""`/proc/mtrr` of a machine over the service, for both clients, and with which rights."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from kernels.linux_kit import FIRST, LINE, LINUX, MIB, SCREEN, SECOND
from memhub.abi import LP64
from memhub.errors import BadAddress, DeviceError, NotPermitted, UnknownIoctl
from memhub.faces.linux import MTRR64, MtrrReply, pack_entry, pack_query, unpack_answer
from memhub.service.blocking import BlockingClient
from memhub.service.settings import RightsRule, ServiceConfig
from service.served import served
from service.service_rig import lab

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.service.settings import Right

ADD = MTRR64.numbers["ADD"]


@pytest.mark.anyio
async def test_an_awaiting_client_uses_the_file(tmp_path: Path) -> None:
    async with lab(tmp_path, LINUX) as it, it.connect() as client:
        async with await client.open("pc:/proc/mtrr", "r+") as file:
            assert await file.write(LINE) == len(LINE)
            assert (await file.read(4096)).decode() == FIRST + SECOND % 1
            assert await file.seek(0) == 0
            assert (await file.read(5)).decode() == FIRST[:5]
            reply = await file.ioctl(ADD, pack_entry(SCREEN, 16 * MIB, 1, model=LP64))
            assert isinstance(reply, MtrrReply)
            assert reply.value == 1
            with pytest.raises(DeviceError, match="overlaps existing"):
                await file.write(b"base=0xd0000000 size=0x2000000 type=write-back\n")

        async with await client.open("pc:/proc/mtrr") as file:
            assert (await file.pread(1 << 21, 0)).decode() == FIRST + SECOND % 1


def test_a_blocking_client_uses_the_file(tmp_path: Path) -> None:
    with (
        served(tmp_path / "a", LINUX),
        BlockingClient(tmp_path / "a") as client,
        client.open("pc:/proc/mtrr", "r+") as file,
    ):
        assert file.path == "pc:/proc/mtrr"
        assert file.ioctl(ADD, pack_entry(0, 4096, 0, model=LP64)).op
        reply = file.ioctl(MTRR64.numbers["GET"], pack_query(0, model=LP64))
        found = unpack_answer(reply.op, model=LP64)
        assert found == {"base": 0, "size": 1 << 30, "type": 6, "regnum": 0}
        with pytest.raises(BadAddress):
            file.ioctl(ADD, b"")

        with pytest.raises(UnknownIoctl):
            file.ioctl(0x5401, b"")

        with pytest.raises(UnknownIoctl):
            file.ranges()

        with pytest.raises(DeviceError, match="/proc/mtrr has no memory to map"):
            file.map()

    with (
        served(tmp_path / "b", LINUX),
        BlockingClient(tmp_path / "b") as client,
        client.open("pc:/dev/mem") as memory,
    ):
        assert memory.map().rows


@pytest.mark.parametrize(
    ("allow", "reads", "writes"),
    [
        (("read-memory", "write-memory"), False, False),
        (("read-ranges",), True, False),
        (("read-ranges", "set-ranges"), True, True),
    ],
)
def test_its_rights_are_those_of_ranges(
    tmp_path: Path, allow: tuple[Right, ...], reads: bool, writes: bool
) -> None:
    rule = RightsRule(uid=os.getuid(), allow=frozenset(allow))
    settings = ServiceConfig(rights=(rule,))
    with (
        served(tmp_path / "a", LINUX, settings=settings),
        BlockingClient(tmp_path / "a") as client,
    ):
        if not writes:
            with pytest.raises(NotPermitted, match="set-ranges"):
                client.open("pc:/proc/mtrr", "r+")

        with client.open("pc:/proc/mtrr", "r+" if writes else "r") as file:
            if reads:
                assert file.pread(4096, 0).decode() == FIRST
            else:
                with pytest.raises(NotPermitted, match="no right to read-ranges"):
                    file.pread(4096, 0)

            if writes:
                assert file.write(LINE) == len(LINE)
            else:
                with pytest.raises(NotPermitted, match="no right to set-ranges"):
                    file.ioctl(ADD, pack_entry(SCREEN, MIB, 1, model=LP64))
