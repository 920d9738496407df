"""What single sentences of `docs/protocol.md` say, where no other test has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, WINDOW, RawClient, frames, get, lab, update

if TYPE_CHECKING:
    from pathlib import Path

HELLO = wire.ClientProtocol().hello("raw")
BROKEN_HELLOS = {
    "magic": HELLO[:12] + b"x" + HELLO[13:],
    "model": HELLO[:24] + b"\3" + HELLO[25:],
    "reserved": HELLO[:26] + b"\1" + HELLO[27:],
}


@pytest.mark.parametrize("hello", BROKEN_HELLOS.values(), ids=BROKEN_HELLOS)
async def test_a_hello_with_a_value_that_is_not_defined_is_a_breach(
    tmp_path: Path, hello: bytes
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        client.protocol.hello("raw")
        client.send(hello)
        (abort,) = await client.last_words()
        assert isinstance(abort, wire.Abort)
        assert abort.reason.startswith("malformed: HELLO ")
        client.close()


async def test_a_hello_above_4096_bytes_is_too_long(tmp_path: Path) -> None:
    """At most so many are taken, whatever the limit of frames is."""
    async with lab(tmp_path) as it:
        for size, name in ((4096, "REFUSED"), (4097, "ABORT")):
            client = await RawClient.dial(it.address, greet=False)
            client.protocol.hello("raw")
            label = b"x" * (size - 24)
            body = HELLO[12:20] + b"\x09\0\x09\0" + HELLO[24:32]
            body += len(label).to_bytes(2, "little") + label + b"\0\0"
            client.send(len(body).to_bytes(4, "little") + HELLO[4:12] + body)
            (answer,) = await client.last_words()
            assert (len(body), answer.NAME) == (size, name)
            client.close()


async def test_a_welcome_allows_bodies_of_4096_bytes_at_least(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(frame_size=1)) as it:
        client = await RawClient.dial(it.address)
        assert client.protocol.limits.max_body == 4096
        client.close()

    for wrong in ({"max_body": 4095}, {"max_in_flight": 0}):
        with pytest.raises(ValueError, match="is not between"):
            wire.Limits(**wrong)


class Slow:
    """A device model that answers when it is told to."""

    def __init__(self) -> None:
        self.go = anyio.Event()

    async def read(self, offset: int, length: int) -> bytes:
        await self.go.wait()
        return bytes(length)

    async def write(self, offset: int, data: bytes) -> None:
        await self.go.wait()


async def test_a_device_that_takes_time_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        slow = Slow()
        it.hub.map_device(WINDOW, 4096, slow)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for asked in (wire.Pread(50, handle, WINDOW, 8), wire.Pwrite(51, handle, WINDOW, 2, b"ab")):
            client.send(*client.protocol.send(asked))

        assert isinstance(await client.ask(wire.Ping(0, 7)), wire.Done)
        assert client.protocol.in_flight == {50, 51}
        slow.go.set()
        found: dict[int, wire.Message] = {}
        while client.protocol.in_flight:
            found |= {m.request: m for m in await client.receive()}

        assert found == {50: wire.Data(50, True, bytes(8)), 51: wire.Done(51, 2)}
        client.close()


async def test_ping_keeps_a_connection(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(idle_timeout=0.4)) as it:
        client, silent = [await RawClient.dial(it.address) for _ in range(2)]
        with anyio.fail_after(20):
            while it.server.connections == 2:
                assert isinstance(await client.ask(wire.Ping(0, 1)), wire.Done)

        assert isinstance((await silent.last_words())[-1], wire.Goodbye)
        assert isinstance(await client.ask(wire.Ping(0, 1)), wire.Done)
        client.close()
        silent.close()


async def test_map_works_without_its_bit(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        assert client.protocol.features == 0
        handle = await client.open()
        assert isinstance(await client.ask(wire.Map(0, handle, wire.MAP_READ)), wire.Mapped)
        client.close()


async def test_a_token_over_a_unix_socket_is_not_looked_at(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        client.send(client.protocol.hello("raw", token=b"of nobody"))
        (welcome,) = await client.receive()
        assert isinstance(welcome, wire.Welcome)
        client.close()


async def test_last_before_the_total_ends_a_write(tmp_path: Path) -> None:
    """What was sent until then is written, and each piece has its own record."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*client.protocol.send(wire.Pwrite(50, handle, 0, 100, b"ab")))
        client.send(*frames(wire.Data(50, False, b"cde"), wire.Data(50, True, b"f")))
        assert await client.receive() == [wire.Done(50, 6)]
        client.protocol._due.clear()
        read: Any = await client.ask(wire.Pread(0, handle, 0, 8))
        assert read.data == b"abcdef\0\0"
        assert [r["length"] for r in it.records("request.write")] == [2, 3, 1]
        client.close()


async def test_an_ioctl_updates_and_removes_and_does_not_use_its_second_argument(
    tmp_path: Path,
) -> None:
    """The answer has neither `op` nor `desc`."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        desc = LP64.desc.pack(WINDOW, MIB, MDF_WRITECOMBINE, b"raw")
        for what, second, left in ((0, 77, 1), (1, -1, 0)):
            op = LP64.op.pack(1, what, second)
            asked = wire.Ioctl(0, handle, LP64.set[0], op, desc)
            answer = await client.ask(asked)
            assert answer == wire.IoctlDone(asked.request, b"", b"")
            table: Any = await client.ask(get(handle))
            found = [it for it in LP64.unpack_table(table.desc) if it.mr_base == WINDOW]
            assert len([it for it in found if it.mr_flags & 0x08000000]) == left

        client.close()


async def test_a_fence_that_is_held_is_enough_and_what_the_driver_refuses_comes_first(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        held: Any = await client.ask(wire.Claim(0, handle, 0, 0, WINDOW, MIB))
        for base, fence, said in (
            (1 << 28, held.fence, "IOCTL_DONE"),
            (1 << 29, held.fence + 9, "EBUSY"),
            (WINDOW + 5, held.fence + 9, "EINVAL"),
        ):
            asked = update(handle, base, MIB, MDF_UNCACHEABLE)
            asked.fence = fence
            answer: Any = await client.ask(asked)
            assert getattr(answer, "name", answer.NAME) == said

        client.close()


async def test_ones_own_claims_are_neither_released_in_part_nor_broken_nor_merged(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        spans = ((WINDOW, MIB), (WINDOW, 2 * MIB), (WINDOW + 4096, 4096))
        held: list[Any] = [await client.ask(wire.Claim(0, handle, 0, 0, *span)) for span in spans]
        assert [(it.base, it.length) for it in held] == list(spans)
        assert len({it.fence for it in held}) == 3
        for asked in (
            wire.Release(0, handle, WINDOW, 4096, 0),
            wire.Break(0, handle, WINDOW, MIB, 0, "mine"),
            wire.Break(0, handle, 0, 0, held[0].fence, "mine"),
        ):
            refused: Any = await client.ask(asked)
            assert (asked.NAME, refused.name) == (asked.NAME, "ENOENT")

        assert len(it.hub.claims()) == 3
        client.close()


async def test_no_event_comes_behind_the_answer_to_unsubscribe(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        asked = (
            wire.Subscribe(1000, 0, 0, 0, ""),
            wire.Claim(1001, handle, 0, 0, WINDOW, MIB),
            wire.Unsubscribe(1002, 1),
            wire.Release(1003, handle, WINDOW, MIB, 0),
            wire.Ping(1004, 1),
        )
        client.send(*[b for each in asked for b in client.protocol.send(each)])
        found: list[wire.Message] = []
        while client.protocol.in_flight:
            found += await client.receive()

        numbers = [m.request for m in found]
        assert 0 not in numbers[numbers.index(1002) :]
        client.close()


async def test_a_lease_that_ran_out_is_told_as_a_break_is(tmp_path: Path) -> None:
    """And its event, like that of a release at the end, names whose claim it was."""
    async with lab(tmp_path) as it:
        client, other = await RawClient.dial(it.address), await RawClient.dial(it.address)
        await other.ask(wire.Subscribe(0, 0, 0, 0, ""))
        handle = await client.open()
        await client.ask(wire.Claim(0, handle, 1, 0, WINDOW, MIB))
        await client.ask(wire.Claim(0, handle, 0, 0, 0, MIB))
        told: list[Any] = []
        while not any(m.event == "claim.expire" for m in told):
            told += await other.receive()

        stale: Any = await client.ask(update(handle, WINDOW, MIB, MDF_UNCACHEABLE))
        assert (stale.name, stale.kind) == ("EBUSY", "StaleClaim")
        assert "its lease ran out" in stale.reason
        assert b'"kind":"broken"' in stale.obstacles
        again = await client.ask(update(handle, WINDOW, MIB, MDF_UNCACHEABLE))
        assert isinstance(again, wire.IoctlDone)
        client.close()
        while not any(m.event == "claim.release" for m in told):
            told += await other.receive()

        ends = [m for m in told if m.event in ("claim.expire", "claim.release")]
        assert all(b'"process":"raw"' in m.detail for m in ends)
        assert [m.sequence for m in told] == sorted(m.sequence for m in told)
        other.close()


async def test_the_sequence_begins_again_with_another_log_file(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
        told: list[Any] = []
        for base in (0, MIB, 2 * MIB):
            if base == 2 * MIB:
                (tmp_path / "audit.jsonl").rename(tmp_path / "old.jsonl")
                it.log.reopen()

            client.send(*client.protocol.send(wire.Claim(0, handle, 0, 0, base, MIB)))
            while client.protocol.in_flight or len(told) <= base // MIB:
                told += [m for m in await client.receive() if isinstance(m, wire.Event)]

        first, second, third = [m.sequence for m in told]
        assert third < first < second
        client.close()
