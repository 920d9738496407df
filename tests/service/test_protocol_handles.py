"""What `docs/protocol.md` says of handles, names and limits, one by one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, WINDOW, RawClient, get, lab, machine, update

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


async def names_of(client: RawClient, asked: Sequence[wire.Message]) -> list[str]:
    """The errno of each answer, or its frame."""
    answers: list[Any] = [await client.ask(it) for it in asked]

    return [getattr(it, "name", it.NAME) for it in answers]


@pytest.mark.parametrize("flags", [wire.OPEN_READ, wire.OPEN_WRITE])
async def test_ranges_take_a_handle_of_any_mode(tmp_path: Path, flags: int) -> None:
    """As memcontrol(8) needs it, which opens for reading and sets."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open(flags=flags)
        other = await it.hub.open("/dev/mem")
        claim = await other.claim(0, 4096)
        assert await names_of(
            client,
            (
                update(handle, WINDOW, MIB, MDF_WRITECOMBINE),
                get(handle),
                wire.Explain(0, handle, 0),
                wire.Claim(0, handle, 0, 0, MIB, MIB),
                wire.Release(0, handle, MIB, MIB, 0),
                wire.Break(0, handle, 0, 4096, claim.fence, "why"),
                wire.Wait(0, handle, 0, 4096, 0),
                wire.Seek(0, handle, 0, 5),
            ),
        ) == [*("IOCTL_DONE", "IOCTL_DONE", "DATA", "CLAIMED"), *["DONE"] * 4]
        other.close()
        client.close()


@pytest.mark.parametrize(
    ("flags", "rights", "answers"),
    [
        (wire.OPEN_READ, wire.MAP_READ, ["DATA", "EBADF", "MAPPED"]),
        (wire.OPEN_READ, wire.MAP_WRITE, ["DATA", "EBADF", "EPERM"]),
        (wire.OPEN_WRITE, wire.MAP_WRITE, ["EBADF", "DONE", "EPERM"]),
        (wire.OPEN_WRITE, wire.MAP_READ, ["EBADF", "DONE", "EPERM"]),
        (3, 3, ["DATA", "DONE", "MAPPED"]),
    ],
)
async def test_memory_takes_a_handle_that_is_open_for_it(
    tmp_path: Path, flags: int, rights: int, answers: list[str]
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.MAP_FEATURES)
        handle = await client.open(flags=flags)
        asked = (
            wire.Pread(0, handle, 0, 1),
            wire.Pwrite(0, handle, 0, 1, b"x"),
            wire.Map(0, handle, rights),
        )
        assert await names_of(client, asked) == answers
        client.close()


async def test_the_name_of_a_process_is_its_label_made_printable(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        for label, name in ((" a\x1b[31m\0b ", "a?[31m?b"), ("é" * 70, "é" * 64)):
            client = await RawClient.dial(it.address, greet=False)
            client.send(client.protocol.hello(label))
            await client.receive()
            await client.open()
            report: Any = await client.ask(wire.Report(0, "", ""))
            (row,) = json.loads(report.data)["machines"][0]["processes"]
            assert row["process"] == name
            client.close()
            await it.settled(0)


async def test_an_undo_has_no_range_and_reaches_each_subscriber(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        await client.ask(wire.Subscribe(0, 0, 0, 1, ""))
        here = await it.hub.process("guest").open("/dev/mem", undo=True)
        await here.set_range(WINDOW, MIB, MDF_UNCACHEABLE)
        here.close()
        (event,) = [m for m in await client.receive() if isinstance(m, wire.Event)]
        assert (event.event, event.base, event.length) == ("undo", 0, 0)
        client.close()


async def test_the_limit_of_waits_counts_what_need_not_wait(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(waits=1)) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*client.protocol.send(wire.Wait(50, handle, WINDOW, MIB, 0xFFFFFFFF)))
        asked = [wire.Wait(0, handle, 0, MIB, milliseconds) for milliseconds in (9, 0)]
        assert await names_of(client, asked) == ["ENOSPC", "DONE"]
        here.close()
        client.close()


async def test_requests_that_come_together_are_counted_together(tmp_path: Path) -> None:
    """None of them is answered before it counts."""
    async with lab(tmp_path, limits=Limits(in_flight=64)) as it:
        client = await RawClient.dial(it.address)
        client.send(b"".join(wire.Ping(number, 0).encode() for number in range(1, 501)))
        data = b""
        with anyio.fail_after(20):
            while b"too-many: request 65 " not in data:
                await anyio.wait_readable(client.socket)
                data += client.socket.recv(1 << 20)

        client.close()


async def test_a_streamed_write_holds_up_nothing_behind_it(tmp_path: Path) -> None:
    """However short it is: what is behind it reads what was there before."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        client.send(*client.protocol.send(wire.Pwrite(50, handle, 0, 4, b"")))
        read: Any = await client.ask(wire.Pread(0, handle, 0, 4))
        assert read.data == bytes(4)
        client.send(*client.protocol.send(wire.Data(50, True, b"late")))
        assert await client.receive() == [wire.Done(50, 4)]
        client.close()


async def test_ones_own_commit_on_its_way_is_busy_too(tmp_path: Path) -> None:
    async with lab(tmp_path, machine(commit_latency=0.05)) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        first = update(handle, WINDOW, MIB, MDF_WRITECOMBINE)
        client.send(*client.protocol.send(first))
        busy: Any = await client.ask(update(handle, WINDOW, MIB, MDF_UNCACHEABLE))
        (obstacle,) = json.loads(busy.obstacles)
        assert (busy.name, obstacle["kind"], obstacle["process"]) == ("EBUSY", "commit", "raw")
        assert await client.receive() == [wire.IoctlDone(first.request, b"")]
        client.close()


def test_the_kinds_of_the_page_are_those_of_the_errors() -> None:
    """`ConnectionCut` is never answered; the others that the code gives an errno are listed."""
    from memhub.service.wire_page.tables import errors

    rows = {line.split("`")[1]: line for line in errors().splitlines()[2:]}
    assert "`NotSupported`" in rows["ENOTTY"]
    assert "`NoSuchRange`" in rows["ENOENT"]
    assert "ConnectionCut" not in "".join(rows.values())


async def test_a_subscription_that_names_no_queue_gets_what_the_limit_has(tmp_path: Path) -> None:
    async with lab(tmp_path, limits=Limits(unread_events=100)) as it:
        client = await RawClient.dial(it.address)
        asked = [wire.Subscribe(0, queue, 0, 0, "") for queue in (101, 0, 1)]
        assert await names_of(client, asked) == ["ENOSPC", "DONE", "ENOSPC"]
        client.close()


async def test_which_refusals_a_subscriber_to_them_is_told_of(tmp_path: Path) -> None:
    """MEMRANGE_SET with a descriptor, CLAIM, RENEW and RELEASE."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        watcher = await RawClient.dial(it.address, features=wire.FEATURES)
        await watcher.ask(wire.Subscribe(0, 0, 0, 0, "", wire.SUBSCRIBE_REFUSED))
        handle = await client.open()
        asked = (
            wire.Set(0, handle, 0, 0, 0, 0, b"short"),
            wire.Ioctl(0, handle, 0x1234, b""),
            wire.Break(0, handle, 0, 5, 0, ""),
            wire.Pread(0, handle, 1 << 60, 4),
            update(handle, WINDOW + 1, MIB, MDF_UNCACHEABLE),
            wire.Claim(0, handle, 0, 0, 0, 0),
            wire.Renew(0, handle, 0, 0, 999, 0),
            wire.Release(0, handle, 0, 5, 0),
        )
        names = ["EFAULT", "ENOTTY", "ENOENT", "EFAULT", "EINVAL", "EINVAL", "EBUSY", "ENOENT"]
        assert await names_of(client, asked) == names
        told: list[Any] = []
        while len(told) < 4:
            told += await watcher.receive()

        assert [event.event for event in told] == [
            "request.set",
            "claim.take",
            "claim.renew",
            "claim.release",
        ]
        client.close()
        watcher.close()
