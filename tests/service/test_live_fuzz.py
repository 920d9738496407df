"""Whatever bytes come, the service lives, keeps nothing of them, and serves the others."""

from __future__ import annotations

import gc
import random
import socket
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.abi import LP64
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, lab

if TYPE_CHECKING:
    from pathlib import Path

    from service.service_rig import Lab

HELLO = wire.ClientProtocol().hello("fuzz")


def requests(chance: random.Random) -> list[bytes]:
    """Some well-formed requests, with handles that may not be and values at their edges."""
    edge = [0, 1, 4096, MIB, (1 << 32) - 1, (1 << 36) - 1, 1 << 63, (1 << 64) - 1]
    small = [0, 1, 2, 3, 99]

    def number() -> int:
        return chance.choice(edge)

    handle = chance.choice(small)
    wait = chance.choice([0, 0, 1, 20])
    op = LP64.op.pack(chance.choice([0, 1]), chance.randrange(-1, 100), 0)
    desc = LP64.desc.pack(number(), number(), chance.getrandbits(32), b"fuzz")
    built: list[wire.Message] = [
        wire.Open(
            0, chance.randrange(8), chance.randrange(3), chance.choice(["/dev/mem", "x", ""])
        ),
        wire.Open(0, 3, 0, "/dev/mem"),
        wire.Close(0, handle),
        wire.Read(0, handle, number()),
        wire.Pread(0, handle, number(), chance.choice(edge[:6])),
        wire.Pwrite(0, handle, number(), 9, b"some data"),
        wire.Pwrite(0, handle, number(), number() | 16, b"unfinished"),
        wire.Seek(0, handle, chance.randrange(2), number()),
        wire.Ioctl(0, handle, chance.choice([LP64.get, *LP64.set, 7]), op, desc, 4096, wait),
        wire.Claim(0, handle, wait, wait, number(), number()),
        wire.Release(0, handle, number(), number(), chance.choice(small)),
        wire.Renew(0, handle, number(), number(), chance.choice(small), wait),
        wire.Wait(0, handle, number(), number(), wait),
        wire.Break(0, handle, number(), number(), chance.choice(small), "fuzz"),
        wire.Subscribe(0, chance.choice(small), number(), number(), chance.choice(["", "pc", "x"])),
        wire.Unsubscribe(0, chance.choice(small)),
        wire.Report(0, chance.choice(["", "rates", "x"]), ""),
        wire.Explain(0, handle, number()),
        wire.Map(0, handle, chance.randrange(1, 5)),
        wire.Cancel(0),
        wire.Data(0, chance.random() < 0.5, b"piece"),
        wire.Ping(0, number()),
        wire.Goodbye(0, 0, "bye"),
    ]
    weights = [1] * (len(built) - 1) + [0.05]
    chosen = chance.choices(built, weights, k=chance.randrange(1, 12))
    frames = []
    for message in chosen:
        if not isinstance(message, wire.Goodbye):
            message.request = chance.randrange(1, 60)

        frames.append(message.encode())

    return frames


def stream(chance: random.Random) -> bytes:
    """Requests, then something wrong with them: cut, spoilt, shuffled, repeated, or noise."""
    frames = requests(chance)
    raw = bytearray(b"".join(frames))
    match chance.randrange(8):
        case 0:
            del raw[chance.randrange(len(raw)) :]
        case 1:
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
        case 2:
            chance.shuffle(frames)
            raw = bytearray(b"".join(frames))
        case 3:
            at = chance.randrange(len(raw))
            raw[at:at] = chance.randbytes(chance.randrange(1, 40))
        case 4:
            raw = bytearray(HELLO) + raw

    return bytes(raw)


async def one(it: Lab, chance: random.Random) -> None:
    """One client: it sends, may read a little, and is gone."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.setblocking(False)
    try:
        sock.connect(it.address.removeprefix("unix:"))
        begin = chance.choice([HELLO] * 12 + [b"", HELLO[:20], chance.randbytes(31)])
        sock.send(begin)
        if begin == HELLO and chance.random() < 0.95:
            await anyio.wait_readable(sock)
            sock.recv(4096)

        raw = stream(chance)
        while raw:
            size = chance.choice([len(raw), 1 + len(raw) // 3])
            sock.send(raw[:size])
            raw = raw[size:]
            await anyio.lowlevel.checkpoint()

        if chance.random() < 0.5:
            await anyio.lowlevel.checkpoint()
            sock.recv(1 << 20)
    except (BlockingIOError, ConnectionError):
        pass
    finally:
        sock.close()


async def fuzz(folder: Path, rounds: int, seed: int, caplog: pytest.LogCaptureFixture) -> None:
    chance = random.Random(seed)
    limits = Limits(frame_size=8192, handles=8, connections=64, in_flight=32)
    async with lab(folder, limits=limits) as it, it.connect("bystander") as hub:
        handle = await hub.open("/dev/mem")
        before = len(await handle.ranges())
        tracked = 0
        for number in range(rounds):
            await one(it, chance)
            if number % 50 == 49:
                await it.settled(1)
                assert len(await handle.ranges()) == before
                await handle.claim(0, 1, lease=1)
                await handle.release(0, 1)

            if number == rounds // 2:
                gc.collect()
                tracked = len(gc.get_objects())

        await it.settled(1)
        gc.collect()
        assert len(gc.get_objects()) < tracked + 2000
        report = it.hub.report()["machines"][0]
        assert (report["claims"], report["waits"], report["commits"]) == ([], [], [])
        assert [row["process"] for row in report["processes"]] == ["bystander"]
        assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == []
        ends = it.records("service.disconnect")
        broken = [r for r in ends if r["cause"] == "protocol"]
        named = {r["reason"] for r in it.records("service.reject") if r["op"] == "protocol"}
        assert {r["reason"] for r in broken} <= named
        assert len(broken) > rounds // 20


async def test_wrong_bytes_hurt_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await fuzz(tmp_path, 600, 1, caplog)


@pytest.mark.campaign
@pytest.mark.timeout(300)
async def test_wrong_bytes_hurt_nobody_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await fuzz(tmp_path, 50_000, random.randrange(1 << 30), caplog)
