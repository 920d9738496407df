"""How handles and connections end, as `docs/protocol.md` says it."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import FaultRule
from memhub.service import wire
from memhub.service.server import Server
from memhub.service.settings import Limits, ServiceConfig
from service.service_rig import MIB, WINDOW, RawClient, frames, lab, update

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from anyio.abc import TaskStatus

    from service.service_rig import Lab


def refuse_records(records: Sequence[object], **_: Any) -> None:
    if records:
        raise OSError(28, "no space left")


async def test_a_close_that_cannot_be_logged_says_that_it_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what needs no record is answered while the log fails."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle, other = await client.open(), await client.open()
        with monkeypatch.context() as patch:
            patch.setattr(it.hub.engine._recorder, "append", refuse_records)
            for asked in (
                wire.Seek(0, handle, 0, 5),
                wire.Ping(0, 1),
                wire.Explain(0, handle, 0),
                wire.Report(0, "", ""),
                wire.Subscribe(0, 0, 0, 0, ""),
                wire.Unsubscribe(0, 1),
            ):
                answer = await client.ask(asked)
                assert not isinstance(answer, wire.Error), answer

            refused: Any = await client.ask(update(handle, 0, 4096, 1))
            assert (refused.name, refused.reason.partition(",")[0]) == (
                "EIO",
                "nothing was changed",
            )
            closed: Any = await client.ask(wire.Close(0, handle))
            assert (closed.name, closed.kind) == ("EIO", "LogFailed")
            assert closed.reason.startswith("the file is closed, and what it held ends once")
            again: Any = await client.ask(wire.Close(0, handle))
            assert again.name == "EBADF"

        assert isinstance(await client.ask(wire.Close(0, other)), wire.Done)
        client.close()


@asynccontextmanager
async def stopping(it: Lab, path: Path, grace: float) -> AsyncIterator[tuple[str, anyio.Event]]:
    """A second service of a lab's hub: its address, and what stops it."""
    stop = anyio.Event()

    async def serve(*, task_status: TaskStatus[str]) -> None:
        async with Server(it.hub, ServiceConfig(socket=path), grace=grace) as server:
            task_status.started(server.addresses[0])
            await stop.wait()

    async with anyio.create_task_group() as tasks:
        yield await tasks.start(serve), stop


async def test_what_is_in_flight_at_the_end_of_the_grace_is_cancelled(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        with anyio.fail_after(20):
            async with stopping(it, tmp_path / "two", 0.1) as (address, stop):
                client = await RawClient.dial(address)
                handle = await client.open()
                it.hub.faults.add(FaultRule("drop", op="read"))
                for asked in (
                    wire.Wait(50, handle, WINDOW, MIB, 0xFFFFFFFF),
                    wire.Pwrite(51, handle, 0, 6, b"abc"),
                    wire.Pread(52, handle, 0, 6),
                ):
                    client.send(*client.protocol.send(asked))

                await client.ask(wire.Ping(0, 1))
                stop.set()
                found: list[wire.Message] = []
                while len(found) < 4:
                    found += await client.receive()

                client.send(*frames(wire.Data(51, True, b"")))
                found += await client.last_words()

        goodbye, *answers = found
        assert isinstance(goodbye, wire.Goodbye)
        assert {m.request: getattr(m, "name", "") for m in answers} == {
            50: "ECANCELED",
            51: "ECANCELED",
            52: "ECANCELED",
        }
        here.close()
        client.close()


async def test_a_service_that_stops_takes_no_connections(tmp_path: Path) -> None:
    """Not into its backlog either, while those in flight are answered."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        async with stopping(it, tmp_path / "two", 60.0) as (address, stop):
            client = await RawClient.dial(address)
            asked = wire.Wait(0, await client.open(), WINDOW, MIB, 0xFFFFFFFF)
            client.send(*client.protocol.send(asked))
            await client.ask(wire.Ping(0, 1))
            stop.set()
            (goodbye,) = await client.receive()
            assert isinstance(goodbye, wire.Goodbye)
            await anyio.wait_all_tasks_blocked()
            with (
                socket.socket(socket.AF_UNIX) as late,
                pytest.raises((ConnectionRefusedError, FileNotFoundError)),
            ):
                late.connect(address.removeprefix("unix:"))

            here.close()
            assert await client.last_words() == [wire.Done(asked.request)]

        client.close()


async def test_a_second_goodbye_is_out_of_order(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        asked = wire.Wait(0, await client.open(), WINDOW, MIB, 0xFFFFFFFF)
        client.send(*client.protocol.send(asked), *frames(*[wire.Goodbye(0, 9, "")] * 2))
        (abort,) = [m for m in await client.last_words() if isinstance(m, wire.Abort)]
        assert abort.reason.startswith("out-of-order: GOODBYE came twice")
        here.close()
        client.close()


async def test_the_grace_of_a_clients_goodbye_ends_nothing(tmp_path: Path) -> None:
    """What is in flight is answered, however long that takes."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        asked = wire.Wait(0, await client.open(), WINDOW, MIB, 0xFFFFFFFF)
        client.send(*client.protocol.send(asked), client.protocol.goodbye("", 1))
        other = await RawClient.dial(it.address)
        longer: Any = await other.ask(wire.Wait(0, await other.open(), WINDOW, MIB, 20))
        assert longer.name == "ETIMEDOUT"
        here.close()
        assert await client.last_words() == [wire.Done(asked.request)]
        other.close()
        client.close()


async def test_a_half_closed_connection_has_ended(tmp_path: Path) -> None:
    """Its claims are gone, and what waited is not granted."""
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        await here.claim(WINDOW, MIB)
        client = await RawClient.dial(it.address)
        handle = await client.open()
        await client.ask(wire.Claim(0, handle, 0, 0, 0, MIB))
        client.send(*client.protocol.send(wire.Wait(50, handle, WINDOW, MIB, 0xFFFFFFFF)))
        client.socket.shutdown(socket.SHUT_WR)
        answers = await client.last_words()
        assert [getattr(m, "name", "") for m in answers] in ([], ["EBADF"])
        await it.settled(0)
        assert [claim.base for claim in it.hub.claims()] == [WINDOW]
        here.close()
        client.close()


async def test_a_part_of_a_request_is_not_in_flight(tmp_path: Path) -> None:
    """It keeps no connection from being idle."""
    async with lab(tmp_path, limits=Limits(idle_timeout=0.2)) as it:
        client = await RawClient.dial(it.address)
        client.send(wire.Ping(5, 1).encode()[:15])
        (last,) = await client.last_words()
        assert isinstance(last, wire.Goodbye)
        client.close()


def grown(frame: bytes) -> bytes:
    """A frame with a byte behind its last field."""
    return (len(frame) - 11).to_bytes(4, "little") + frame[4:] + b"\0"


BROKEN_ABORTS = {
    "bytes behind it": grown(wire.Abort(0, "malformed: why").encode()),
    "an id": wire.Abort(5, "malformed: why").encode(),
    "a flag": wire.Abort(0, "why").encode()[:6] + b"\1\0" + wire.Abort(0, "why").encode()[8:],
    "too long": (1 << 21).to_bytes(4, "little") + wire.Abort(0, "").encode()[4:],
}


@pytest.mark.parametrize("broken", BROKEN_ABORTS.values(), ids=BROKEN_ABORTS)
async def test_an_abort_is_not_answered_though_it_breaks_a_rule(
    tmp_path: Path, broken: bytes
) -> None:
    """What came before it is."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        client.send(*client.protocol.send(wire.Ping(0, 7)), broken)
        assert [m.NAME for m in await client.last_words()] == ["DONE"]
        await it.settled(0)
        (ended,) = it.records("service.disconnect")
        assert ended["cause"] == "protocol"
        client.close()


async def test_an_abort_right_behind_hello_is_not_answered(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, greet=False)
        client.send(client.protocol.hello("raw"), wire.Abort(0, "malformed: why").encode())
        assert await client.last_words() == []
        await it.settled(0)
        client.close()
