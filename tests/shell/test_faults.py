"""Fault rules of a hub: what each action does to a request, and what the log says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import FaultRule
from memhub.abi import LP64, MDF_UNCACHEABLE, MDF_WRITECOMBINE, MEMRANGE_SET_UPDATE
from memhub.audit import read_records
from memhub.audit.history.rebuild import rebuild
from memhub.clock import ManualClock
from memhub.core.instant import NEVER
from memhub.errors import BadHandle, ConnectionCut, DeviceError, LogFailed, RangeBusy
from shell.kit import ARCHES, MTRR, OLD, PAT, K, Lab, M, desc, lab, op

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from memhub.core.holding.commits import Commit
    from memhub.handles.handle import Handle

pytestmark = pytest.mark.anyio

BASE = 0x40000000

#: A request of each operation that a rule can be for.
REQUESTS: dict[str, Callable[[Handle], Awaitable[Any]]] = {
    "read": lambda it: it.pread(16, M),
    "write": lambda it: it.pwrite(b"x" * 16, M),
    "seek": lambda it: it.seek(16),
    "get": lambda it: it.ranges(),
    "set": lambda it: it.set_range(BASE, 16 * M, MDF_WRITECOMBINE),
    "ioctl": lambda it: it.ioctl(0, b""),
    "claim": lambda it: it.claim(M, 4 * K),
    "wait": lambda it: it.wait_free(M, 4 * K, 1),
    "release": lambda it: it.release(M, 4 * K),
    "renew": lambda it: it.renew(1, None),
    "explain": lambda it: it.explain(M),
}
every_operation = pytest.mark.parametrize("word", sorted(REQUESTS))


async def ask_for(word: str, mem: Handle) -> None:
    await REQUESTS[word](mem)


def faults_in(it: Lab) -> list[dict[str, Any]]:
    return [record for record in it.news() if record["event"] == "fault"]


@every_operation
async def test_an_errno_refuses_every_kind_of_request_and_changes_nothing(
    tmp_path: Path, word: str
) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        await mem.claim(M, 4 * K)
        it.news()
        before = it.state()
        with it.hub.faults.add(FaultRule("errno", op=word, errno="ENOSPC")) as fault:
            with pytest.raises(DeviceError) as refusal:
                await REQUESTS[word](mem)

            assert refusal.value.code.name == "ENOSPC"
            assert it.state() == before
            assert fault.injected == 1

        (record,) = it.news()
        assert record["event"] == "fault"
        assert (record["rule"], record["action"], record["op"]) == ("fault-1", "errno", word)
        assert (record["errno"], record["process"], record["count"]) == ("ENOSPC", "X", 1)


@every_operation
async def test_a_delayed_request_takes_effect_when_its_time_has_come(
    tmp_path: Path, word: str
) -> None:
    clock, done = ManualClock(), anyio.Event()
    async with lab(tmp_path, MTRR, clock=clock) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        await mem.claim(M, 4 * K)
        it.hub.faults.add(FaultRule("delay", op=word, delay=5))
        before = it.state()

        async def ask() -> None:
            if word == "ioctl":
                with pytest.raises(DeviceError, match="ENOTTY"):
                    await REQUESTS[word](mem)
            else:
                await REQUESTS[word](mem)

            done.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            clock.advance(4.9)
            await anyio.wait_all_tasks_blocked()
            assert not done.is_set()
            assert it.state() == before
            clock.advance(0.1)
            with anyio.fail_after(5):
                await done.wait()

        (record,) = faults_in(it)
        assert (record["op"], record["delay_ns"]) == (word, 5_000_000_000)


@every_operation
async def test_a_dropped_request_has_neither_effect_nor_answer(tmp_path: Path, word: str) -> None:
    clock = ManualClock()
    async with lab(tmp_path, MTRR, clock=clock) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        await mem.claim(M, 4 * K)
        it.hub.faults.add(FaultRule("drop", op=word))
        it.news()
        before = it.state()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask_for, word, mem)
            await anyio.wait_all_tasks_blocked()
            clock.advance(1e6)
            await anyio.wait_all_tasks_blocked()
            assert it.state() == before
            assert [record["event"] for record in it.news()] == ["fault"]
            tasks.cancel_scope.cancel()


async def test_a_short_transfer_moves_as_much_as_the_rule_allows(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("mtrr:/dev/mem", "r+")
        with it.hub.faults.add(FaultRule("short", moved=3)):
            assert await mem.pwrite(b"abcdefgh", M) == 3
            assert await mem.pread(8, M) == b"abc"
            assert await mem.pread(2, M) == b"ab"  # short already

        assert await mem.pread(8, M) == b"abc" + bytes(5)
        assert [(r["op"], r["length"], r["moved"]) for r in faults_in(it)] == [
            ("write", 8, 3),
            ("read", 8, 3),
        ]


async def test_a_cut_ends_all_that_the_process_has(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR, OLD) as it, it.hub.process("X") as x:
        mem, other = await x.open("mtrr:/dev/mem", "r+"), await x.open("old:/dev/mem", "r+")
        await mem.claim(M, 4 * K)
        with it.hub.faults.add(FaultRule("cut", op="read", nth=2)):
            await mem.pread(1, M)
            with pytest.raises(ConnectionCut, match="'fault-1' cut the connection of X"):
                await mem.pread(1, M)

        assert mem.closed
        assert other.closed
        with pytest.raises(BadHandle):
            await other.pread(1, M)

        again = await x.open("mtrr:/dev/mem", "r+")
        assert it.hub.claims("mtrr") == []
        await again.pread(1, M)
        closes = [r["cause"] for r in it.news() if r["event"] == "request.close"]
        assert closes == ["disconnect", "disconnect"]


@pytest.mark.parametrize("wait", [None, 100.0])
async def test_a_commit_hangs_until_its_caller_gives_up(tmp_path: Path, wait: float | None) -> None:
    clock = ManualClock()
    async with (
        lab(tmp_path, PAT, clock=clock) as it,
        it.hub.process("X") as x,
        it.hub.process("Y") as y,
    ):
        mem, other = await x.open("/dev/mem", "r+"), await y.open("/dev/mem", "r+")
        it.hub.faults.add(FaultRule("hang", process="X"))
        before = it.state()["pat"][0]
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                await mem.set_range(BASE, 4 * K, MDF_WRITECOMBINE, wait=wait)

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            clock.advance(1e6)
            await anyio.wait_all_tasks_blocked()
            (commit,) = it.hub.machines["pat"].commits
            assert commit.due_ns == NEVER
            with pytest.raises(RangeBusy):
                await other.set_range(BASE, 4 * K, MDF_UNCACHEABLE)

            assert _rebuilt_commits(it) == [commit]
            tasks.cancel_scope.cancel()

        assert it.state()["pat"][0] == before
        assert not it.hub.machines["pat"].commits
        await other.set_range(BASE, 4 * K, MDF_UNCACHEABLE)


def _rebuilt_commits(it: Lab) -> list[Commit]:
    return list(rebuild(read_records(it.path), ARCHES)["pat"].commits)


async def test_a_set_that_is_refused_anyway_does_not_hang(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", "r+")
        with it.hub.faults.add(FaultRule("hang")) as fault, pytest.raises(DeviceError):
            await mem.set_range(BASE + 1, 4 * K, MDF_WRITECOMBINE)

        assert (fault.seen, fault.injected) == (1, 0)


async def test_a_rule_meets_only_what_it_names(tmp_path: Path) -> None:
    rule = FaultRule(
        "errno", machine="mtrr", op=("read", "write"), process="X", base=M, length=4 * K
    )
    async with (
        lab(tmp_path, MTRR, OLD) as it,
        it.hub.process("X") as x,
        it.hub.process("Y") as y,
    ):
        mem = await x.open("mtrr:/dev/mem", "r+")
        it.hub.faults.add(rule)
        of_another, elsewhere = await y.open("mtrr:/dev/mem"), await x.open("old:/dev/mem")
        await of_another.pread(1, M)
        await elsewhere.pread(1, M)
        await mem.pread(1, M - 1)
        await mem.pread(1, M + 4 * K)
        await mem.explain(M)
        for base, length in ((M, 1), (M - 1, 2), (M + 4 * K - 1, 9)):
            with pytest.raises(DeviceError, match="EIO: fault rule 'mtrr-fault-1' refuses this"):
                await mem.pread(length, base)

        await mem.seek(M)
        with pytest.raises(DeviceError, match="EIO"):
            await mem.read(1)


async def test_rules_count_requests_and_faults(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", "r+")

        async def refused(number: int) -> list[int]:
            found = []
            for n in range(1, number + 1):
                try:
                    await mem.pread(1, M)
                except DeviceError:
                    found.append(n)

            return found

        with it.hub.faults.add(FaultRule("errno", nth=3)):
            assert await refused(6) == [3]

        with it.hub.faults.add(FaultRule("errno", times=2)) as fault:
            assert await refused(6) == [1, 2]
            assert (fault.seen, fault.injected) == (6, 2)

        draws = []
        for seed in (1, 1, 2):
            with it.hub.faults.add(
                FaultRule("errno", name="half", probability=0.5, seed=seed)
            ) as fault:
                draws.append(await refused(40))
                assert fault.injected == len(draws[-1])

        assert draws[0] == draws[1] != draws[2]
        assert 5 < len(draws[0]) < 35
        assert await refused(3) == []


async def test_the_first_rule_that_meets_a_request_decides(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", "r+")
        first = it.hub.faults.add(FaultRule("errno", errno="EPERM", times=1))
        second = it.hub.faults.add(FaultRule("errno", errno="ENOMEM"))
        for name in ("EPERM", "ENOMEM"):
            with pytest.raises(DeviceError, match=name):
                await mem.pread(1, M)

        assert (first.seen, second.seen) == (2, 1)
        assert [it.rule.name for it in it.hub.faults] == ["fault-1", "fault-2"]
        it.hub.faults.remove("fault-2")
        it.hub.faults.remove("fault-1")
        assert await mem.pread(1, M) == b"\0"


async def test_a_fault_that_cannot_be_logged_is_none(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem", "r+")
        with it.hub.faults.add(FaultRule("short", moved=1)) as fault:
            before, it.disk.full = it.state(), True
            with pytest.raises(LogFailed):
                await mem.pwrite(b"abc", M)

            assert it.state() == before
            assert fault.injected == 0
            it.disk.full = False
            assert await mem.pwrite(b"abc", M) == 1


async def test_a_delayed_transfer_reaches_a_device(tmp_path: Path) -> None:
    class Device:
        async def read(self, offset: int, size: int) -> bytes:
            return bytes([offset]) * size

        async def write(self, offset: int, data: bytes) -> None:
            raise NotImplementedError

    clock, found = ManualClock(), []
    async with lab(tmp_path, MTRR, clock=clock) as it, it.hub.process("X") as x:
        it.hub.map_device(BASE, 4 * K, Device())
        mem = await x.open("/dev/mem")
        it.hub.faults.add(FaultRule("delay", delay=1))
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                found.append(await mem.pread(2, BASE + 7))

            tasks.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            assert found == []
            clock.advance(1)

        assert found == [b"\7\7"]


async def test_what_does_not_wait_would_block(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it, it.hub.process("X") as x:
        mem = await x.open("/dev/mem")
        it.hub.faults.add(FaultRule("delay", delay=1))
        with pytest.raises(anyio.WouldBlock):
            mem.pread_nowait(1, M)

        with pytest.raises(anyio.WouldBlock):
            mem.ioctl_nowait(LP64.set[0], op(LP64, MEMRANGE_SET_UPDATE), desc(LP64, BASE, M, 1))


async def test_a_rule_is_refused_where_it_could_never_be_meant(tmp_path: Path) -> None:
    async with lab(tmp_path, MTRR) as it:
        with pytest.raises(ValueError, match="there is no machine 'x' \\(machines: mtrr\\)"):
            it.hub.faults.add(FaultRule("errno", machine="x"))

        it.hub.faults.add(FaultRule("errno", name="a"))
        with pytest.raises(ValueError, match="there is a fault rule 'a' already"):
            it.hub.faults.add(FaultRule("errno", name="a"))
