"""A model that is past its limit, and answers or fails all the same: alike on both event loops."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from devices.strange import BASE, Hangs
from devices.test_misbehaviour import WHO, answer_or_reason, last_transfer, rig
from memhub import ManualClock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("op", ["pread", "pwrite"])
async def test_one_that_shields_itself_is_waited_for_and_its_answer_counts(
    tmp_path: Path, op: str
) -> None:
    clock, answers = ManualClock(), list[object]()
    async with rig(tmp_path, "shielded", clock, limit=3.0) as (hub, path):
        model: Hangs = hub.device("it")
        async with await hub.open("/dev/mem", "r+") as mem:

            async def ask() -> None:
                call = mem.pread(8, BASE) if op == "pread" else mem.pwrite(bytes(8), BASE)
                answers.append(await call)

            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(ask)
                    await model.asked.wait()
                    clock.advance(3.1)
                    await anyio.wait_all_tasks_blocked()
                    assert answers == []
                    model.go.set()

            assert answers == [bytes(8) if op == "pread" else 8]
            assert last_transfer(path)["moved"] == 8


@pytest.mark.parametrize("op", ["pread", "pwrite"])
async def test_a_caller_that_is_cancelled_gets_no_answer_of_one_that_shields_itself(
    tmp_path: Path, op: str
) -> None:
    answers = list[object]()
    async with rig(tmp_path, "shielded") as (hub, path), await hub.open("/dev/mem", "r+") as mem:
        model: Hangs = hub.device("it")

        async def ask() -> None:
            call = mem.pread(8, BASE) if op == "pread" else mem.pwrite(bytes(8), BASE)
            answers.append(await call)

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await model.asked.wait()
                tasks.cancel_scope.cancel()
                model.go.set()

        assert answers == []
        record = last_transfer(path)
        assert (record["errno"], record["moved"]) == ("ECANCELED", 0)


async def test_one_that_fails_as_it_is_cancelled_says_how(tmp_path: Path) -> None:
    clock = ManualClock()
    async with (
        rig(tmp_path, "late", clock, limit=3.0) as (hub, _),
        await hub.open("/dev/mem") as mem,
    ):
        said: list[object] = []

        async def ask() -> None:
            said.append(await answer_or_reason(mem, BASE))

        with anyio.fail_after(5):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(ask)
                await hub.device("it").asked.wait()
                clock.advance(3.1)

        assert said == [
            f"at {BASE:#x}: {WHO.format('late')} failed in read(0x0, 8): ZeroDivisionError: a bug"
        ]
