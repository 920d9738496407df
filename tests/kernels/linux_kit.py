"""A machine with Linux, and what its `/proc/mtrr` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.abi import LP64
from memhub.core.spec import MachineSpec
from memhub.faces.linux import MTRR64, MtrrReply, pack_entry

if TYPE_CHECKING:
    from memhub import Hub
    from memhub.handles.handle import Handle

MIB = 1 << 20
SCREEN = 0xD0000000
LINE = b"base=0xd0000000 size=0x1000000 type=write-combining\n"
LINUX = MachineSpec(name="pc", arch="amd64", kernel="linux-6.18")
FIRST = "reg00: base=0x000000000 (    0MB), size= 1024MB, count=1: write-back\n"
SECOND = "reg01: base=0x0d0000000 ( 3328MB), size=   16MB, count=%d: write-combining\n"


async def text_of(hub: Hub) -> str:
    async with await hub.open("pc:/proc/mtrr") as file:
        return (await file.pread(4096, 0)).decode()


async def add(file: Handle, base: int = SCREEN, size: int = 16 * MIB) -> MtrrReply:
    reply = await file.ioctl(MTRR64.numbers["ADD"], pack_entry(base, size, 1, model=LP64))
    assert isinstance(reply, MtrrReply)

    return reply
