"""A live service answers each request only with the errors that its page lists."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from memhub.abi import LP64
from memhub.service import wire
from memhub.service.wire_page.tables import FRAMES, read_text
from service.service_rig import MIB, WINDOW, RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

#: What every request may be answered with, as the page says.
COMMON = {"ECANCELED", "EIO", "EBADF", "EPERM"}
DECLARED = {kind: {*read_text(kind).errors, *COMMON} for kind in FRAMES}


#: Rules that are wrong, or never met; and a name.
FAULTS = ("", "[]", '{"action":"x"}', '{"action":"errno","nth":1099511627776}', "fault-1", "{")


def requests(chance: random.Random) -> list[wire.Message]:
    """One request of each kind, with values that are often wrong."""
    places = (0, 4096, 3 * MIB, WINDOW, WINDOW + 7, (1 << 36) - 4096, (1 << 64) - 4096)
    handle, base, length, fence, milliseconds, desc = (
        chance.choice((1, 2, 3, 4, 9)),
        chance.choice(places),
        chance.choice((0, 1, 4096, MIB, 1 << 63, (1 << 64) - 1)),
        chance.choice((0, 1, 2, 3, 1 << 40)),
        chance.choice((0, 1, 2)),
        b"",
    )
    flags = chance.choice((0, 1, 2, 4, 0x20, 0x60, 1 << 30 | 1, 1 << 31))
    desc = LP64.desc.pack(base, length, flags, b"x")[: chance.choice((32, 32, 32, 5))]
    op = LP64.op.pack(chance.choice((0, 1)), chance.choice((-1, 0, 0, 1, 7)), 0)
    command = chance.choice((LP64.get, *LP64.set, 0x1234))
    path = chance.choice(("/dev/mem", "/dev/kmem", "arm:/dev/mem", "no:/dev/mem", ":/dev/mem", "x"))
    name = chance.choice(("", "pc", "arm", "no"))

    return [
        wire.Open(0, chance.randrange(8), 0, path),
        wire.Close(0, chance.choice((3, 4, 9))),
        wire.Read(0, handle, length),
        wire.Pread(0, handle, base, chance.choice((0, 8, 4096, 1 << 63))),
        wire.Write(0, handle, 2, b"ab"),
        wire.Pwrite(0, handle, base, 2, b"ab"),
        wire.Seek(0, handle, chance.randrange(5), base),
        wire.Ioctl(0, handle, command, op, desc, 64, milliseconds, fence),
        wire.Set(0, handle, chance.choice((0, 0, 1, 7)), fence, milliseconds, 0, desc),
        wire.Claim(0, handle, chance.choice((0, 50)), milliseconds, base, length),
        wire.Release(0, handle, base, length, fence),
        wire.Renew(0, handle, base, length, fence, 9),
        wire.Wait(0, handle, base, length, milliseconds),
        wire.Break(0, handle, base, length, fence, "why"),
        wire.Subscribe(0, chance.choice((0, 5, 1 << 31)), base, length, name),
        wire.Unsubscribe(0, chance.randrange(4)),
        wire.Report(0, chance.choice(("", "claims", "new")), name),
        wire.Explain(0, handle, base),
        wire.Map(0, handle, chance.choice((1, 2, 3, 4))),
        wire.Ping(0, 1),
        wire.Faults(0, chance.choice(("list", "add", "remove")), chance.choice(FAULTS)),
        wire.Call(0, handle, chance.choice(("get", "set")), chance.choice((b"", b"{}", b"["))),
        wire.Show(0, chance.choice(("list", "bytes", "x")), name, chance.choice(("", "vga"))),
        wire.Snapshot(0, chance.choice(("take", "put", "restore", "reset")), name, b"no file"),
    ]


async def test_each_request_is_answered_with_its_own_errors(tmp_path: Path) -> None:
    chance = random.Random(7)
    seen: set[tuple[str, str]] = set()
    async with lab(tmp_path, machine(), machine("arm", arch="arm64")) as it:
        clients = [await RawClient.dial(it.address, features=wire.FEATURES) for _ in range(2)]
        for client in clients:
            await client.open("pc:/dev/mem")
            await client.open("arm:/dev/mem")

        for _ in range(120):
            client = chance.choice(clients)
            for asked in requests(chance):
                answer = await client.ask(asked)
                if isinstance(answer, wire.Error):
                    assert answer.name in DECLARED[type(asked)], (asked, answer)
                    seen.add((asked.NAME, answer.name))

        for client in clients:
            client.close()

    assert len({name for name, _ in seen}) == 23
    assert len(seen) > 45
