"""Requests that fault rules leave without an answer fail a test of a rig, and do not hang it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import FaultRule, machines
from memhub.errors import NeverAnswered
from memhub.service.local import LocalClient
from rig.inner_runs import NEITHER, run_inner

if TYPE_CHECKING:
    from memhub import Hub
    from memhub.rig.clients import Clients
    from memhub.rig.virtual_clock import VirtualClock

SHORT = pytest.mark.memhub(answer_limit=0.02)
DROPPED = (
    r"^fault rule 'fault-1' drops this request, which is never answered: "
    r"read 0x1000/0x10 of Xorg on pc, and nobody gave it up within 0.02 s of real time$"
)
HUNG = r"^the SET 0xd0000000/0x100000 .*of Xorg on pc would block .*hangs by a fault rule, and nob"


@SHORT
@pytest.mark.anyio
async def test_who_awaits_a_dropped_request_is_told_which_rule_dropped_what(
    memhub_client: Clients, memhub_hub: Hub
) -> None:
    memhub_hub.faults.add(FaultRule("drop", op="read"))
    async with memhub_client("Xorg") as xorg:
        mem = await xorg.open()
        with anyio.fail_after(10), pytest.raises(NeverAnswered, match=DROPPED):
            await mem.pread(16, 0x1000)

        memhub_hub.faults.add(FaultRule("drop", op="open"))
        with anyio.fail_after(10), pytest.raises(NeverAnswered, match="open of Xorg on pc"):
            await xorg.open()


@SHORT
@pytest.mark.anyio
async def test_who_awaits_a_commit_that_hangs_is_told_so_and_gives_it_up(
    memhub_client: Clients, memhub_hub: Hub
) -> None:
    memhub_hub.faults.add(FaultRule("hang"))
    async with memhub_client("Xorg") as xorg:
        mem = await xorg.open()
        with anyio.fail_after(10), pytest.raises(NeverAnswered, match=HUNG):
            await mem.set_range(0xD0000000, 1 << 20, "write-combine")

    assert memhub_hub.report()["machines"][0]["commits"] == []


@pytest.mark.anyio
async def test_a_limit_of_the_caller_comes_first(
    memhub_client: Clients, memhub_hub: Hub, memhub_clock: VirtualClock
) -> None:
    memhub_hub.faults.add(FaultRule("drop", op="read"))
    async with memhub_client("Xorg") as xorg:
        mem = await xorg.open()
        with memhub_clock.move_on_after(3600) as scope:
            await mem.pread(16, 0x1000)

    assert scope.cancelled_caught
    assert memhub_clock.mono_ns() == 3600 * 10**9


def test_who_blocks_on_a_clock_that_runs_is_told_too() -> None:
    rules = [FaultRule("drop", op="read"), FaultRule("hang")]
    with LocalClient([machines.pc()], name="Xorg", faults=rules) as client:
        client._engine.deadlines.answer_limit = 0.02
        with client.open("/dev/mem") as mem:
            with pytest.raises(NeverAnswered, match=DROPPED):
                mem.pread(16, 0x1000)

            ended = threading.Event()
            other = threading.Thread(target=ended.wait)  # it could end a wait, and no hang
            other.start()
            try:
                with pytest.raises(NeverAnswered, match=HUNG):
                    mem.set_range(0xD0000000, 1 << 20, "write-combine")
            finally:
                ended.set()
                other.join()


SERVICE = """
import pytest
from memhub import FaultRule
from memhub.service.blocking import BlockingClient

pytestmark = pytest.mark.memhub(over="service", answer_limit=0.05)

@pytest.fixture
def dropping(memhub_service):
    with BlockingClient(memhub_service.address) as client:
        client.add_fault(FaultRule("drop", op="read"))
        client.add_fault(FaultRule("hang"))

def test_blocks(dropping, memhub_client):
    memhub_client("Xorg").open().pread(16, 0x1000)

@pytest.mark.anyio
async def test_awaits(dropping, memhub_client):
    async with memhub_client("Xorg") as xorg:
        await (await xorg.open()).set_range(0xD0000000, 1 << 20, "write-combine")

def test_takes_it_for_an_answer(dropping, memhub_client):
    mem = memhub_client("Xorg").open()
    for _ in range(2):
        with pytest.raises(OSError):
            mem.pread(16, 0x1000)

def test_is_answered(memhub_client):
    memhub_client("Xorg").open().pread(16, 0x1000)
"""


def test_a_service_answers_etimedout_and_a_test_that_takes_it_for_an_answer_fails(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(SERVICE)
    result = run_inner(pytester, "-p", "no:trio", "-p", "no:asyncio", "-k", "not trio")
    result.assert_outcomes(failed=2, passed=2, errors=1)
    said = "fault rule 'fault-1' drops this request, which is never answered: read 0x1000/0x10"
    result.stdout.fnmatch_lines([f"*TimedOut: ETIMEDOUT: {said} of Xorg on pc, and nobody gave*"])
    result.stdout.fnmatch_lines(["*ETIMEDOUT: the SET 0xd0000000/0x100000*hangs by a fault rule*"])


@pytest.mark.parametrize("name", ["answer_limit", "driver_limit"])
@pytest.mark.parametrize("limit", ["0", "-1", "True", "'x'", "float('nan')", "1e9"])
def test_a_limit_that_is_none_is_refused(pytester: pytest.Pytester, name: str, limit: str) -> None:
    marker = f"@pytest.mark.memhub({name}={limit})"
    pytester.makepyfile(f"import pytest\n{marker}\ndef test_it(memhub_hub): pass")
    result = run_inner(pytester, *NEITHER)
    result.stdout.fnmatch_lines([f"*marker memhub: {name} * is not a number of seconds above*"])
