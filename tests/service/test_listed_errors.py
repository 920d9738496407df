"""Each error that the page lists for a request is the answer to some request."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import anyio

from memhub import DeviceSpec, Hub
from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE, Errno
from memhub.core.kernel import KernelLayout
from memhub.core.memory import backing, memfile
from memhub.core.spec import Content
from memhub.images.packed import pack_contents
from memhub.plugin import Arch
from memhub.service import wire
from memhub.service.server import Server, snapshots
from memhub.service.settings import Limits, RightsRule, ServiceConfig
from memhub.service.wire.decoder import ANSWERS
from memhub.service.wire_page.tables import FRAMES, read_text
from service.refused_calls import ask_calls
from service.service_rig import MIB, RawClient, get
from shell.kit import ARCHES, BOARD, K6, MTRR, OFF, PAT, SECURE

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

WC, UC = MDF_WRITECOMBINE, MDF_UNCACHEABLE
BARE = Arch(
    name="bare",
    summary="no ranges",
    kernel=KernelLayout(kernel_base=0xF0000000),
    no_ranges=Errno.ENODEV,
)
UNKNOWN = {0x2FF: 0xC06, 0xFE: 0x508, 0x250: 0x06060606060606FF}
SPECS = (
    PAT,
    replace(MTRR, msrs={**MTRR.msrs, **UNKNOWN}),
    replace(K6, devices=(DeviceSpec(name="vga", kind="vga-text"),)),
    BOARD,
    SECURE,
    OFF,
    replace(BOARD, name="bare", arch="bare"),
    replace(MTRR, name="slow", commit_latency=1000.0),
    replace(PAT, name="caches", coherent=False),
    replace(MTRR, name="linux", kernel="linux-6.18"),
    replace(PAT, name="net", options={}, msrs={0xFE: 0x508, 0x2FF: 0x800}, kernel="netbsd-7"),
    replace(PAT, name="no-wc", options={}, msrs={0xFE: 0x108, 0x2FF: 0x800}, kernel="netbsd-7"),
    replace(K6, name="bare-net", cpu=replace(K6.cpu, vendor="Intel"), kernel="netbsd-7"),
    replace(MTRR, name="old", kernel="linux-6.18", kernel_options={"bridge": "1166:9:0"}),
)
TOP = (1 << 64) - 4096


class Asker:
    """Two clients of a service, and which errors were answered to which request."""

    def __init__(self, one: RawClient, two: RawClient) -> None:
        self.one, self.two = one, two
        self.seen: set[tuple[str, str]] = set()

    async def ask(self, asked: wire.Message, client: RawClient | None = None) -> wire.Message:
        answer = await (client or self.one).ask(asked)
        if isinstance(answer, wire.Error):
            self.seen.add((asked.NAME, answer.name))

        return answer

    async def open(self, path: str) -> int:
        """Open a device as a program of LP64 does."""
        opened = await self.ask(wire.Open(0, 3, wire.MODEL_LP64, path))
        assert isinstance(opened, wire.Opened)

        return opened.handle

    async def change(self, handle: int, base: int, length: int, flags: int, **terms: int) -> None:
        """MEMRANGE_SET both as IOCTL and as SET."""
        desc = LP64.desc.pack(base, length, flags, b"raw")
        arg, wait = terms.get("arg", 0), terms.get("wait_ms", 0)
        op = LP64.op.pack(1, arg, 0)
        await self.ask(wire.Ioctl(0, handle, LP64.set[0], op, desc, wait_ms=wait))
        await self.ask(wire.Set(0, handle, arg, 0, wait, 0, desc))


async def ask_ranges(it: Asker) -> None:
    """Errors of IOCTL and SET."""
    names = ("mtrr", "k6", "board", "off", "bare")
    mtrr, k6, board, off, bare = [await it.open(f"{name}:/dev/mem") for name in names]
    pat = await it.one.open("pat:/dev/mem")
    other = await it.two.open("pat:/dev/mem")
    await it.change(mtrr, 0, 65536, MDF_WRITEBACK)
    await it.change(mtrr, 0, 65536, MDF_WRITEBACK, arg=1)
    await it.change(mtrr, 1 << 26, MIB, WC, arg=1)
    for _ in range(2):
        await it.change(k6, 0, 1 << 17, UC)

    for handle in (board, off, bare):
        await it.change(handle, 0, 4096, WC)
        await it.ask(get(handle))

    await it.ask(wire.Set(0, pat, 0, 0, 0, 0, b"short"))
    await it.ask(wire.Ioctl(0, pat, LP64.set[0], b"short"))
    await it.ask(wire.Ioctl(0, pat, 0x1234, b""))
    for place in range(4):
        desc = LP64.desc.pack(place * MIB, 4096, WC, b"raw")
        await it.ask(wire.Set(0, other, 0, 0, 0, 0, desc), it.two)

    await it.change(pat, 8 * MIB, 4096, UC)
    await it.change(pat, 0, 4096, UC)
    await it.change(pat, 0, 4096, UC, wait_ms=1)
    await it.change(pat, 9, 4096, UC)
    await it.ask(wire.Claim(0, pat, 0, 0, 16 * MIB, 4096))
    waits = wire.Wait(90, other, 16 * MIB, 4096, 0xFFFFFFFF)
    it.two.send(*it.two.protocol.send(waits))
    await it.two.ask(wire.Ping(0, 1))
    await it.change(pat, 0, 4096, UC, wait_ms=1000)
    await it.ask(wire.Claim(0, pat, 0, 1000, 0, 4096))
    await it.ask(wire.Wait(0, pat, 0, 4096, 1000))
    it.two.send(*it.two.protocol.send(wire.Cancel(90)))


async def ask_kernel(it: Asker) -> None:
    """Errors of reads and writes of another kernel's file."""
    old, linux = await it.open("old:/proc/mtrr"), await it.open("linux:/proc/mtrr")
    other = await it.two.open("linux:/proc/mtrr")
    line = b"base=0x%x size=0x1000 type=write-combining\n"

    def write(handle: int, data: bytes) -> wire.Write:
        return wire.Write(0, handle, len(data), data)

    await it.ask(write(old, line % 0x10000000))
    await it.ask(wire.Claim(0, other, 0, 0, 0x10000000, 4096), it.two)
    await it.ask(write(linux, line % 0x10000000))
    await it.ask(wire.Seek(0, linux, 2, 0))
    await it.ask(wire.Set(0, linux, 0, 0, 0, 0, bytes(32)))
    await it.ask(wire.Pwrite(0, linux, 0, 1, b"x"))
    for place in range(9):
        await it.ask(write(linux, line % (0x20000000 + 8192 * place)))

    for handle in (old, linux):
        await it.ask(wire.Close(0, handle))

    await it.ask(wire.Close(0, other), it.two)


async def ask_claims(it: Asker) -> None:
    """Errors of CLAIM, RELEASE, RENEW, WAIT and BREAK; 0 to 4 KiB is the other client's."""
    handle = await it.one.open("pat:/dev/mem")
    for base, length, wait in ((0, 4096, 0), (0, 4096, 1), (TOP, 8192, 0)):
        await it.ask(wire.Claim(0, handle, 0, wait, base, length))
        await it.ask(wire.Wait(0, handle, base, length, wait))

    for fence, base, length in ((99, 0, 4096), (0, TOP, 8192), (0, 1 << 30, 4096)):
        await it.ask(wire.Release(0, handle, base, length, fence))
        await it.ask(wire.Break(0, handle, base, length, fence, ""))

    claimed = await it.ask(wire.Claim(0, handle, 0, 0, 32 * MIB, 4096))
    assert isinstance(claimed, wire.Claimed)
    for fence, length in ((99, 0), (claimed.fence, 1 << 63), (claimed.fence, TOP)):
        await it.ask(wire.Renew(0, handle, 1 << 63, length, fence, 1))

    await it.ask(wire.Renew(0, handle, 0, 4096, claimed.fence, 1))
    it.one.send(*it.one.protocol.send(wire.Wait(91, handle, 0, 4096, 0xFFFFFFFF)))
    await it.ask(wire.Wait(0, handle, 0, 4096, 1))
    await it.ask(wire.Claim(0, handle, 0, 1, 0, 4096))
    await it.change(handle, 0, 4096, UC, wait_ms=1)
    it.one.send(*it.one.protocol.send(wire.Cancel(91)))


async def ask_memory(it: Asker, patch: pytest.MonkeyPatch) -> None:
    """Errors of transfers, MAP, SEEK, FLUSH and EXPLAIN."""
    handle = await it.one.open("pat:/dev/mem")
    kmem = await it.one.open("pat:/dev/kmem")

    await it.ask(wire.Pwrite(0, await it.one.open("k6:/dev/mem"), 0, 1, b"x"))

    def no_descriptor(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    with patch.context() as full:
        full.setattr(backing, "make_memfd", no_descriptor)
        await it.ask(wire.Seek(0, handle, 0, MIB))
        await ask_transfers(it, handle, MIB, 1)
        await it.ask(wire.Map(0, handle, wire.MAP_READ))
        full.setattr(memfile, "map_file", no_descriptor)
        await it.ask(wire.Snapshot(0, "take", "k6", b""))

    await it.ask(wire.Seek(0, handle, 0, 1 << 40))
    await ask_transfers(it, handle, 1 << 40, 1)
    await ask_transfers(it, handle, 0, 1 << 31)
    await it.ask(wire.Seek(0, handle, 3, 0))
    await it.ask(wire.Map(0, kmem, wire.MAP_READ))
    for where, address in ((handle, 1 << 40), (kmem, 5)):
        await it.ask(wire.Explain(0, where, address))
        await it.ask(wire.Flush(0, where, wire.FLUSH_DROP, address, 8))

    await it.ask(wire.Flush(0, handle, wire.FLUSH_KEEP, TOP, 8192))
    await it.ask(wire.Explain(0, await it.one.open("board:/dev/mem"), 0))
    for _ in range(2):
        await it.ask(wire.Map(0, handle, wire.MAP_READ))


async def ask_transfers(it: Asker, handle: int, offset: int, size: int) -> None:
    await it.ask(wire.Pread(0, handle, offset, size))
    await it.ask(wire.Read(0, handle, size))
    for asked in (wire.Pwrite(0, handle, offset, size, b"x"), wire.Write(0, handle, size, b"x")):
        await it.ask(asked)
        if size > 1:
            it.one.send(wire.Data(asked.request, True, b"").encode())


async def ask_hub(it: Asker, strict: RawClient, patch: pytest.MonkeyPatch) -> None:
    """Errors of OPEN and of what concerns the hub."""
    for flags, path in ((0, "pat:/dev/mem"), (1, "no:/dev/mem"), (2, "secure:/dev/mem")):
        await it.ask(wire.Open(0, flags, 0, path))

    for name in ("", "no"):
        await it.ask(wire.Report(0, "claims,", name))
        await it.ask(wire.Subscribe(0, 0, TOP, 8192, name))

    await it.ask(wire.Report(0, "", "pat"), strict)
    await it.ask(wire.Subscribe(0, 0, 0, 0, "pat"), strict)
    await it.ask(wire.Unsubscribe(0, 7))
    for what, rule in (("x", ""), ("remove", "none")):
        await it.ask(wire.Faults(0, what, rule))

    await it.ask(wire.Faults(0, "remove", "none"), strict)
    desc = LP64.desc.pack(1 << 26, 4096, WC, b"raw")
    commit = wire.Set(91, await it.two.open("slow:/dev/mem"), 0, 0, 0, 0, desc)
    it.two.send(*it.two.protocol.send(commit))
    await it.two.ask(wire.Ping(0, 1))
    for what, name in (("suspend", "slow"), ("check", "off"), ("reinit", "board")):
        await it.ask(wire.Faults(0, what, name))

    for what, name in (("x", ""), ("take", "no"), ("restore", "pat")):
        await it.ask(wire.Snapshot(0, what, name, b""))

    await it.ask(wire.Snapshot(0, "put", "", pack_contents([Content(base=MIB, data=b"x")])))
    await it.ask(wire.Snapshot(0, "load", "caches", b""))

    for what, name in (("x", ""), ("list", "no"), ("bytes", "pat")):
        await it.ask(wire.Show(0, what, name, ""))

    await it.ask(wire.Show(0, "list", "pat", ""), strict)
    await it.ask(wire.Snapshot(0, "reset", "pat", b""), strict)
    with patch.context() as less:
        less.setattr(snapshots, "FILE_MAX", 1)
        await it.ask(wire.Snapshot(0, "put", "", b"two"))

    for _ in range(2):
        await it.ask(wire.Subscribe(0, 0, 0, 0, ""))

    asked: list[wire.Message] = [wire.Report(number, "", "") for number in (70, 71, 72)]
    asked.append(wire.Show(73, "bytes", "pat", ""))
    names = {one.request: one.NAME for one in asked}
    it.one.send(*(b for one in asked for b in it.one.protocol.send(one)))
    while it.one.protocol.in_flight:
        for answer in await it.one.receive():
            if isinstance(answer, wire.Error):
                it.seen.add((names[answer.request], answer.name))

    for _ in range(30):
        await it.ask(wire.Open(0, 1, 0, "pat:/dev/mem"))

    for number in range(260):
        await it.ask(wire.Claim(0, 1, 0, 0, (64 + number) * MIB, 4096))


async def ask_suspended(it: Asker) -> None:
    """What a suspended machine is asked."""
    handle = await it.one.open("k6:/dev/mem")
    await it.ask(wire.Faults(0, "suspend", "k6"))
    await it.ask(wire.Open(0, 1, 0, "k6:/dev/mem"))
    await ask_transfers(it, handle, 0, 1)
    await it.change(handle, 0, 1 << 17, UC)
    for asked in (
        wire.Claim(0, handle, 0, 0, 0, 1),
        wire.Wait(0, handle, 0, 1, 0),
        wire.Explain(0, handle, 0),
        wire.Map(0, handle, wire.MAP_READ),
        wire.Flush(0, handle, wire.FLUSH_KEEP, 0, 8),
        wire.Show(0, "bytes", "k6", "vga"),
        wire.Faults(0, "check", "k6"),
        wire.Call(0, handle, "get", b""),
    ):
        await it.ask(asked)

    await it.ask(wire.Faults(0, "resume", "k6"))
    await it.ask(wire.Close(0, handle))


async def test_each_listed_error_is_reached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = Limits(handles=24, waits=1, subscriptions=1, reports=1, maps=1, claims=40)
    rights = (RightsRule(uid=os.getuid(), allow=frozenset({"read-memory"})),)
    free = ServiceConfig(socket=tmp_path / "a", limits=limits)
    strict = ServiceConfig(socket=tmp_path / "b", rights=rights)
    async with (
        Hub(SPECS, arches={**ARCHES, "bare": BARE}) as hub,
        Server(hub, free) as server,
        Server(hub, strict) as other,
    ):
        clients = [
            await RawClient.dial(server.addresses[0], features=wire.FEATURES | wire.MAP_FEATURES)
            for _ in range(2)
        ]
        bound = await RawClient.dial(other.addresses[0], features=wire.FEATURES | wire.MAP_FEATURES)
        it = Asker(*clients)
        with anyio.fail_after(60):
            await ask_suspended(it)
            await ask_memory(it, monkeypatch)
            await ask_ranges(it)
            await ask_claims(it)
            await ask_kernel(it)
            await ask_calls(it)
            await ask_hub(it, bound, monkeypatch)

        for client in (*clients, bound):
            client.close()

    listed = {
        (kind.NAME, name)
        for kind in FRAMES
        if kind.TYPE in ANSWERS
        for name in read_text(kind).errors
    }
    common = {"ECANCELED", "EIO", "EBADF", "EPERM"}
    assert listed - it.seen == set()
    assert {pair for pair in it.seen if pair[1] not in common} <= listed
