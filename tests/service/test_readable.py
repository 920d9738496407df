"""Who is fed gets what comes, in order, on any event loop and however it was started."""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.errors import TimedOut
from memhub.service.readable import Readable, readable
from service.service_rig import MIB, lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def pair() -> Iterator[tuple[Readable, socket.socket]]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with near, far:
        reader = readable(near, partial(near.recv, 4))
        yield reader, far
        reader.close()


async def test_a_feed_ends_when_it_has_had_enough_and_leaves_the_rest() -> None:
    eaten: list[bytes] = []

    def eat(data: bytes) -> bool:
        eaten.append(data)

        return data != b"stop"

    with pair() as (reader, far), anyio.fail_after(20):
        far.sendall(b"one.two.stopleft")
        await reader.feed(eat)
        assert eaten == [b"one.", b"two.", b"stop"]
        assert await reader.receive() == b"left"


async def test_a_feed_brings_the_end_as_no_bytes() -> None:
    eaten: list[bytes] = []

    def eat(data: bytes) -> bool:
        eaten.append(data)

        return bool(data)

    with pair() as (reader, far), anyio.fail_after(20):
        far.sendall(b"last")
        far.shutdown(socket.SHUT_WR)
        await reader.feed(eat)

    assert eaten == [b"last", b""]


async def test_what_the_fed_one_raises_is_raised_by_the_feed() -> None:
    def eat(data: bytes) -> bool:
        raise LookupError(data)

    with pair() as (reader, far), anyio.fail_after(20):
        far.sendall(b"oops")
        with pytest.raises(LookupError, match="oops"):
            await reader.feed(eat)


async def test_a_feed_can_be_cancelled_and_taken_up_again() -> None:
    eaten: list[bytes] = []

    def eat(data: bytes) -> bool:
        eaten.append(data)

        return False

    with pair() as (reader, far), anyio.fail_after(20):
        with anyio.move_on_after(0):
            await reader.feed(eat)

        far.sendall(b"late")
        await anyio.lowlevel.checkpoint()
        await reader.feed(eat)

    assert eaten == [b"late"]


def test_a_service_works_on_a_loop_that_anyio_did_not_start(tmp_path: Path) -> None:
    async def main() -> None:
        async with lab(tmp_path) as it, it.connect() as one, it.connect() as two:
            held, handle = await one.open("/dev/mem"), await two.open("/dev/mem", "r+")
            await held.claim(0, MIB)
            with pytest.raises(TimedOut):
                await handle.wait_free(0, MIB, 0.01)

            assert await handle.pwrite(b"x" * 3 * MIB, 0) == 3 * MIB
            assert len(await handle.pread(3 * MIB, 0)) == 3 * MIB
            with two.subscribe() as news, anyio.fail_after(20):
                await two.ping()
                await held.release(0, MIB)
                assert (await news.receive())["event"] == "claim.release"

    asyncio.run(main())
