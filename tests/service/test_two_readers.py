"""Tasks that wait for the events of one subscription over the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from service.service_rig import MIB, WINDOW, lab

if TYPE_CHECKING:
    from pathlib import Path


async def test_each_of_two_readers_of_one_subscription_is_woken(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect("a") as one, it.connect("b") as two:
        handle = await one.open("/dev/mem")
        with two.subscribe() as news, anyio.fail_after(20):
            await two.ping()
            got: list[int] = []
            read_so_far = [anyio.Event(), anyio.Event()]

            async def read() -> None:
                got.append((await news.receive())["base"])
                read_so_far[len(got) - 1].set()

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                tasks.start_soon(read)
                await two.ping()
                await handle.claim(WINDOW, 1)
                await read_so_far[0].wait()
                await handle.claim(WINDOW + MIB, 1)
                await read_so_far[1].wait()

        assert got == [WINDOW, WINDOW + MIB]
