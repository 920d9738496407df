"""What refusals and events say to whoever knows the page alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import DeviceSpec
from memhub.clock import ManualClock
from memhub.core.spec import Region
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, WINDOW, RawClient, frames, lab, machine, update
from service.test_protocol_ends import refuse_records
from shell.kit import MTRR

if TYPE_CHECKING:
    from pathlib import Path

U64 = (1 << 64) - 1


async def test_a_handle_that_is_closed_amid_a_transfer_is_not_named_by_the_hubs_number(
    tmp_path: Path,
) -> None:
    """A client knows its own numbers alone."""
    async with lab(tmp_path, limits=Limits(queued_bytes=1 << 16)) as it:
        for _ in range(3):
            (await it.hub.open("/dev/mem")).close()

        client = await RawClient.dial(it.address)
        handle = await client.open()
        for asked in (
            wire.Pread(51, handle, 0, 60 * MIB),
            wire.Pwrite(52, handle, 0, 6, b"abc"),
            wire.Close(53, handle),
            wire.Data(52, True, b"def"),
        ):
            client.send(*client.protocol.send(asked))

        found: dict[int, Any] = {}
        while client.protocol.in_flight:
            found |= {m.request: m for m in await client.receive()}

        assert found[53] == wire.Done(53)
        for number in (51, 52):
            assert (found[number].name, found[number].kind) == ("EBADF", "BadHandle")
            assert found[number].reason == "the handle was closed before the request had ended"

        client.close()


@pytest.mark.parametrize("size", [1 << 31, U64])
async def test_a_transfer_that_is_too_long_is_told_the_limit(tmp_path: Path, size: int) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for asked in (
            wire.Pread(0, handle, 0, size),
            wire.Read(0, handle, size),
            wire.Pwrite(0, handle, 0, size, b""),
            wire.Write(0, handle, size, b""),
        ):
            answer: Any = await client.ask(asked)
            assert answer.name == "EINVAL"
            assert answer.reason == f"length {size:#x} is not between 0 and 0x7fffffff"
            if isinstance(asked, wire.Pwrite | wire.Write):
                client.send(*frames(wire.Data(asked.request, True, b"")))

        client.close()


BREACHES: dict[str, bytes] = {
    "flags of OPEN": next(frames(wire.Open(1, 1, 0, "m")))[:12] + b"\x08" + bytes(5),
    "model of OPEN": next(frames(wire.Open(1, 1, 0, "")))[:14] + b"\x03\0\0\0",
    "whence": next(frames(wire.Seek(1, 1, 0, 0)))[:16] + b"\x05\0\0\0" + bytes(8),
    "rights": next(frames(wire.Map(1, 1, 1)))[:16] + b"\x05\0\0\0",
    "rights of 0": next(frames(wire.Map(1, 1, 1)))[:16] + bytes(4),
    "what of FLUSH": next(frames(wire.Flush(1, 1, 0, 0, 0)))[:16] + b"\x03\0\0\0" + bytes(16),
    "options": next(frames(wire.Subscribe(1, 0, 0, 0, "", 1)))[:-4] + b"\2\0\0\0",
    "total": next(frames(wire.Write(1, 1, 4, b"four"))).replace(b"\4" + bytes(7), bytes(8)),
    "op_size": next(frames(wire.Ioctl(1, 1, 0, b"abc"))).replace(b"\3\0\0\0abc", b"\4\0\0\0abc"),
    "text": next(frames(wire.Open(1, 1, 0, "a"))).replace(b"a", b"\xff"),
}


@pytest.mark.parametrize("frame", BREACHES.values(), ids=BREACHES)
async def test_a_value_that_is_not_defined_is_a_breach(tmp_path: Path, frame: bytes) -> None:
    """Each that the page lists."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=0x1FF)
        client.send((len(frame) - 12).to_bytes(4, "little"), frame[4:])
        (abort,) = await client.last_words()
        assert isinstance(abort, wire.Abort)
        assert abort.reason.startswith("malformed: ")
        client.close()


async def test_options_without_their_feature_are_einval_and_other_bits_a_breach(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        for options in (0, 1):
            refused: Any = await client.ask(wire.Subscribe(0, 0, 0, 0, "", options))
            assert refused.name == "EINVAL"

        client.send(BREACHES["options"])
        (abort,) = await client.last_words()
        assert isinstance(abort, wire.Abort)
        client.close()


async def test_at_the_limit_of_claims_one_may_have_another_lease(tmp_path: Path) -> None:
    """CLAIM of its very bytes makes no other claim; of any other bytes it does."""
    async with lab(tmp_path, limits=Limits(claims=2)) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        first, second = [
            await client.ask(wire.Claim(0, handle, 0, 0, base, MIB)) for base in (WINDOW, 0)
        ]
        assert isinstance(first, wire.Claimed)
        assert isinstance(second, wire.Claimed)
        again: Any = await client.ask(wire.Claim(0, handle, 60_000, 0, WINDOW, MIB))
        assert (again.NAME, again.fence, again.lease_ms) == ("CLAIMED", first.fence, 60_000)
        for base, length in ((WINDOW, MIB - 1), (WINDOW + 1, MIB), (2 * MIB, MIB), (U64, U64)):
            refused: Any = await client.ask(wire.Claim(0, handle, 0, 0, base, length))
            assert refused.name == "ENOSPC"

        client.close()


async def test_a_range_that_is_none_is_einval_whatever_the_fence_is(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        held: Any = await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
        for fence in (held.fence, held.fence + 5):
            for asked in (
                wire.Renew(0, handle, 2, U64, fence, 0),
                wire.Release(0, handle, 2, U64, fence),
                wire.Break(0, handle, 2, U64, fence, ""),
            ):
                refused: Any = await client.ask(asked)
                assert (asked.NAME, refused.name) == (asked.NAME, "EINVAL")

        client.close()


async def test_each_claim_that_was_lost_is_told_once_by_a_set_and_then_forgotten(
    tmp_path: Path,
) -> None:
    """The first that was lost first; without a reason the text ends after the word."""
    async with lab(tmp_path) as it:
        client, other = await RawClient.dial(it.address), await RawClient.dial(it.address)
        handle, theirs = await client.open(), await other.open()
        fences: list[int] = []
        for base in (WINDOW, WINDOW + 4096):
            held: Any = await client.ask(wire.Claim(0, handle, 0, 0, base, 4096))
            fences.append(held.fence)

        for fence, why in zip(reversed(fences), ("", "it was forgotten"), strict=True):
            assert isinstance(await other.ask(wire.Break(0, theirs, 0, 0, fence, why)), wire.Done)

        for fence in fences:
            for _ in range(2):
                told: Any = await client.ask(wire.Renew(0, handle, 0, 0, fence, 0))
                assert (told.kind, b'"kind":"fence"' in told.obstacles) == ("StaleClaim", True)

        ends = ("broken; repeat", "forgotten; repeat")
        for fence, end in zip(reversed(fences), ends, strict=True):
            told = await client.ask(update(handle, WINDOW, MIB, 1))
            assert (told.kind, end in told.reason) == ("StaleClaim", True)
            assert b'"kind":"broken"' in told.obstacles
            gone: Any = await client.ask(wire.Renew(0, handle, 0, 0, fence, 0))
            assert (gone.kind, gone.obstacles) == ("StaleClaim", b"")

        assert isinstance(await client.ask(update(handle, WINDOW, MIB, 1)), wire.IoctlDone)
        client.close()
        other.close()


async def test_a_refused_renewal_without_a_range_reaches_each_subscriber_to_refusals(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURE_REFUSALS)
        await client.ask(wire.Subscribe(0, 0, WINDOW, MIB, "", wire.SUBSCRIBE_REFUSED))
        handle = await client.open()
        for asked in (
            wire.Renew(0, handle, 0, 4096, 77, 0),
            wire.Renew(0, handle, 0, 0, 77, 0),
            wire.Renew(0, handle, WINDOW, 4096, 77, 0),
        ):
            client.send(*client.protocol.send(asked))

        found: list[Any] = []
        while len(found) < 5:
            found += await client.receive()

        told = [(m.event, m.base, m.length) for m in found if isinstance(m, wire.Event)]
        assert told == [("claim.renew", 0, 0), ("claim.renew", WINDOW, 4096)]
        client.close()


async def test_a_claim_that_a_reset_ends_has_no_holder(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURE_SNAPSHOTS)
        await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
        handle = await client.open()
        await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
        client.send(*client.protocol.send(wire.Snapshot(0, "reset", "", b"")))
        found: list[Any] = []
        with anyio.fail_after(20):
            while not any(getattr(m, "event", "") == "device.restore" for m in found):
                found += await client.receive()

            found.append(await client.ask(wire.Ping(0, 1)))

        assert len(it.records("held.part")) > 0
        assert not any(getattr(m, "event", "") == "held.part" for m in found)
        (broken,) = [m for m in found if getattr(m, "event", "") == "claim.break"]
        assert b'"holder"' not in broken.detail
        client.close()


async def test_memory_of_a_device_is_in_the_file_with_the_ram(tmp_path: Path) -> None:
    """And in no row of the other; a device model is in that one, without a place."""
    screen = DeviceSpec(name="screen", kind="vga-text")
    spec = machine(devices=(screen,), memory=(Region(base=0, length=0xA0000),))
    async with lab(tmp_path, spec) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES | wire.FEATURE_MAP_ROM)
        handle = await client.open()
        ram: Any = await client.ask(wire.Map(0, handle, wire.MAP_READ))
        rest: Any = await client.ask(wire.Map(0, handle, wire.MAP_ROM))
        rows = {base: (offset, kind) for base, _, offset, kind in ram.rows}
        assert rows[0xB8000] == (0xA0000, "device")
        assert all(not base <= 0xB8000 < base + length for base, length, _, _ in rest.rows)
        client.close()


@pytest.mark.parametrize("what", ["restore", "load", "replace"])
async def test_without_a_put_nothing_is_restored(tmp_path: Path, what: str) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURE_SNAPSHOTS)
        refused: Any = await client.ask(wire.Snapshot(0, what, "", b""))
        assert refused.name == "EINVAL"
        assert refused.reason.startswith(f"SNAPSHOT asks to {what}, and nothing was put before")
        client.close()


async def test_a_claim_covers_no_slot_that_was_given_back(tmp_path: Path) -> None:
    """Of fixed ranges a part can be released; a renewal by range is then refused there."""
    async with lab(tmp_path, MTRR) as it:
        client, other = await RawClient.dial(it.address), await RawClient.dial(it.address)
        opened: Any = await client.ask(wire.Open(0, 3, wire.MODEL_LP64, "/dev/mem"))
        handle, theirs = opened.handle, await other.open()
        assert isinstance(await client.ask(update(handle, 0, 0x80000, 1)), wire.IoctlDone)
        (claim,) = it.hub.claims()
        assert await client.ask(wire.Release(0, handle, 0, 0x10000, 0)) is not None
        assert isinstance(await other.ask(wire.Claim(0, theirs, 0, 0, 0, 4096)), wire.Claimed)
        renewed: dict[tuple[int, int], str] = {}
        for span in ((0, 16), (0, 0x80000), (0xFFFF, 2), (0x10000, 0x70000), (0x10000, 1), (0, 0)):
            answer: Any = await client.ask(wire.Renew(0, handle, *span, claim.fence, 0))
            renewed[span] = getattr(answer, "name", answer.NAME)

        assert list(renewed.values()) == ["ENOENT"] * 3 + ["CLAIMED"] * 3
        client.close()
        other.close()


async def test_a_lease_that_is_over_and_cannot_be_ended_has_no_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    async with lab(tmp_path, clock=clock) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        await client.ask(wire.Claim(0, handle, 4000, 0, WINDOW, MIB))
        left: list[float] = []
        with monkeypatch.context() as patch:
            patch.setattr(it.hub.engine._recorder, "append", refuse_records)
            for seconds in (1, 9):
                clock.advance(seconds)
                report: Any = await client.ask(wire.Report(0, "claims", ""))
                (claim,) = json.loads(report.data)["machines"][0]["claims"]
                left.append(claim["lease"])

        assert left == [3, 0]
        client.close()
