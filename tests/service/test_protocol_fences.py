"""What `docs/protocol.md` says of fencing numbers: which requests need them, and what they do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit.history.rebuild import rebuild
from memhub.core.spec import KernelMapping
from memhub.service import wire
from service.service_rig import MIB, WINDOW, Lab, RawClient, lab, machine
from shell.kit import ARCHES

if TYPE_CHECKING:
    from pathlib import Path

FAR = WINDOW + 64 * MIB
SECOND = 60_000
KERNEL = 0xC0000000


def set_at(handle: int, base: int, *, fence: int = 0, wait_ms: int = 0) -> wire.Set:
    desc = LP64.desc.pack(base, MIB, MDF_UNCACHEABLE, b"")
    return wire.Set(0, handle, 0, fence, wait_ms, 0, desc)


def ioctl_at(handle: int, base: int, *, fence: int = 0, wait_ms: int = 0) -> wire.Ioctl:
    desc = LP64.desc.pack(base, MIB, MDF_UNCACHEABLE, b"")
    op = LP64.op.pack(1, 0, 0)
    return wire.Ioctl(0, handle, LP64.set[0], op, desc, fence=fence, wait_ms=wait_ms)


async def lost_claim(it: Lab, client: RawClient, handle: int, base: int) -> int:
    """A fencing number that the client has lost, and knows nothing of."""
    claimed: Any = await client.ask(wire.Claim(0, handle, 0, 0, base, MIB))
    it.hub.break_claim("pc", claimed.fence, "needed elsewhere")

    return int(claimed.fence)


@pytest.mark.parametrize("ask", [set_at, ioctl_at])
@pytest.mark.parametrize("wait_ms", [0, SECOND])
async def test_a_fence_that_is_not_held_is_stale_on_a_busy_range_too(
    tmp_path: Path, ask: Any, wait_ms: int
) -> None:
    """At once, whatever `wait_ms` says: unknown, another's, lost elsewhere and lost there."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        other = await it.hub.open("/dev/mem")
        lost = [await lost_claim(it, client, handle, base) for base in (WINDOW, FAR)]
        held = (await other.set_range(WINDOW, MIB, MDF_WRITECOMBINE)).fence
        assert held is not None
        for fence in (12345, held, *lost):
            refused: Any = await client.ask(ask(handle, WINDOW, fence=fence, wait_ms=wait_ms))
            assert (refused.name, refused.kind) == ("EBUSY", "StaleClaim"), fence

        other.close()
        client.close()


@pytest.mark.parametrize("wait_ms", [0, SECOND])
async def test_a_lost_claim_is_told_once_on_a_range_that_is_busy_by_now(
    tmp_path: Path, wait_ms: int
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        await lost_claim(it, client, handle, WINDOW)
        other = await it.hub.open("/dev/mem")
        await other.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        told: Any = await client.ask(set_at(handle, WINDOW, wait_ms=wait_ms))
        again: Any = await client.ask(set_at(handle, WINDOW))
        assert [told.kind, again.kind] == ["StaleClaim", "RangeBusy"]
        assert "needed elsewhere" in told.reason
        other.close()
        client.close()


async def test_a_stale_request_does_not_queue_behind_those_that_wait(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        first = await RawClient.dial(it.address)
        handle, waiter = await client.open(), await first.open()
        other = await it.hub.open("/dev/mem")
        await other.claim(WINDOW, MIB)
        first.send(*first.protocol.send(wire.Claim(9, waiter, 0, SECOND, WINDOW, MIB)))
        while not it.records("wait.begin"):
            await anyio.lowlevel.checkpoint()

        refused: Any = await client.ask(set_at(handle, WINDOW, fence=12345, wait_ms=SECOND))
        assert refused.kind == "StaleClaim"
        other.close()
        client.close()
        first.close()


async def fences(client: RawClient) -> list[int]:
    answer: Any = await client.ask(wire.Report(0, "claims", "pc"))
    return [it["fence"] for it in json.loads(answer.data)["machines"][0]["claims"]]


async def test_a_release_with_a_fence_ends_that_claim_and_no_other(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for base, length in ((0, 3 * MIB), (0, MIB), (MIB, MIB), (FAR, MIB)):
            await client.ask(wire.Claim(0, handle, 0, 0, base, length))

        elsewhere: Any = await client.ask(wire.Release(0, handle, FAR, MIB, 2))
        part: Any = await client.ask(wire.Release(0, handle, 0, MIB, 1))
        assert [elsewhere.name, part.name] == ["ENOENT", "ENOENT"]
        assert "claim 2 is not inside 0xd4000000" in elsewhere.reason
        assert await fences(client) == [1, 2, 3, 4]

        await client.ask(wire.Release(0, handle, 0, 4 * MIB, 2))
        assert await fences(client) == [1, 3, 4]
        built = rebuild(it.records(), ARCHES)
        assert list(built["pc"].claims.claims) == [1, 3, 4]

        await client.ask(wire.Release(0, handle, 0, 4 * MIB, 0))
        assert await fences(client) == [4]
        causes = [row["cause"] for row in it.records("claim.release") if row["errno"] is None]
        assert causes == ["fence", "request"]
        client.close()


async def test_a_renewal_of_no_fence_is_einval_and_of_a_released_one_stale(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        claimed: Any = await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
        released = await client.ask(wire.Release(0, handle, WINDOW, MIB, claimed.fence))
        assert isinstance(released, wire.Done)
        for fence, expected in ((0, ("EINVAL", "InvalidArgument")), (claimed.fence, STALE)):
            answer: Any = await client.ask(wire.Renew(0, handle, WINDOW, MIB, fence, 0))
            assert (answer.name, answer.kind) == expected
            assert json.loads(answer.obstacles or "[]") == []

        client.close()


async def test_a_claim_through_kmem_is_of_physical_addresses(tmp_path: Path) -> None:
    async with lab(
        tmp_path,
        machine(arch="i386", kmem=(KernelMapping(virtual=KERNEL, physical=0, length=MIB),)),
    ) as it:
        one, two = [await RawClient.dial(it.address, features=wire.FEATURES) for _ in range(2)]
        kmem: Any = await one.ask(wire.Open(0, 1, 0, "/dev/kmem"))
        claimed = await one.ask(wire.Claim(0, kmem.handle, 0, 0, KERNEL, MIB))
        assert isinstance(claimed, wire.Claimed)
        handle = await two.open()
        other: Any = await two.ask(wire.Claim(0, handle, 0, 0, KERNEL, 4096))
        assert other.name == "EBUSY"
        assert isinstance(await two.ask(wire.Claim(0, handle, 0, 0, 0, MIB)), wire.Claimed)
        one.close()
        two.close()


STALE = ("EBUSY", "StaleClaim")


async def test_ones_own_claim_is_no_obstacle_beside_ones_own_commit(tmp_path: Path) -> None:
    async with lab(tmp_path, machine(commit_latency=0.2)) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        first: Any = await client.ask(set_at(handle, WINDOW))
        asked = set_at(handle, WINDOW)
        asked.request = 77
        client.send(*client.protocol.send(asked))
        refused: Any = await client.ask(set_at(handle, WINDOW))
        assert isinstance(first, wire.SetDone)
        assert {it["kind"] for it in json.loads(refused.obstacles)} == {"commit"}
        client.close()
