"""What has ended is gone without a collection of garbage, during which all clients would wait."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub.core.events import SetRefused, WaitBegun
from memhub.errors import Cancelled, InvalidRange, TimedOut
from memhub.service.server.connection import Connection
from service.service_rig import MIB, lab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

BASE = 0xD0000000
KINDS = (Connection, SetRefused, WaitBegun)


@pytest.fixture
def fresh() -> Iterator[Callable[[type], int]]:
    """How many objects of a type there are that were not there before; nothing is collected."""
    gc.collect()
    gc.disable()
    before = {id(it): it for it in gc.get_objects() if type(it) in KINDS}  # no id is used again
    yield lambda kind: sum(type(it) is kind and id(it) not in before for it in gc.get_objects())
    gc.enable()


async def test_a_connection_that_has_ended_is_gone(
    tmp_path: Path, fresh: Callable[[type], int]
) -> None:
    async with lab(tmp_path) as it:
        for _ in range(3):
            async with it.connect() as hub, await hub.open("/dev/mem", "r+") as file:
                await file.set_range(BASE, MIB, 1)
                news = hub.subscribe()
                await file.set_range(BASE, MIB, 2)
                assert (await news.receive())["event"] == "request.set"

        with anyio.fail_after(20):
            while fresh(Connection):
                await anyio.lowlevel.checkpoint()


async def test_a_refusal_that_was_answered_is_gone(
    tmp_path: Path, fresh: Callable[[type], int]
) -> None:
    async with lab(tmp_path) as it, it.connect() as hub, await hub.open("/dev/mem") as file:
        for _ in range(10):
            with pytest.raises(InvalidRange):
                await file.set_range(BASE + 1, MIB, 1)

        assert fresh(SetRefused) <= 1  # that of the last request may be in the log's hands


async def test_a_wait_that_has_ended_is_gone(tmp_path: Path, fresh: Callable[[type], int]) -> None:
    async with lab(tmp_path) as it, it.connect() as holder, it.connect() as other:
        held = await holder.open("/dev/mem")
        await held.claim(BASE, MIB)
        file = await other.open("/dev/mem")
        for _ in range(10):
            with pytest.raises((TimedOut, Cancelled)):
                await file.claim(BASE, MIB, wait=0.001)

        assert fresh(WaitBegun) <= 1
