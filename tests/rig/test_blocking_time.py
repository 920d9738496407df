"""Time in tests that do not await: clients that block advance the clock where they wait."""

from __future__ import annotations

import math
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from memhub import FaultRule, Hub, SystemClock
from memhub.clock import ManualClock
from memhub.errors import TimedOut
from memhub.service.local import LocalClient
from memhub.service.local.passing_time import NeverAnswered
from service.service_rig import machine

if TYPE_CHECKING:
    from memhub.rig import Clients, LogView

WINDOW = (0xD0000000, 0x1000)
SECOND = 10**9


def test_a_wait_ends_with_anothers_lease(
    memhub_client: Clients, memhub_clock: ManualClock, memhub_log: LogView
) -> None:
    one, two = memhub_client("one").open(), memhub_client("two").open()
    one.claim(*WINDOW, lease=2)
    two.claim(*WINDOW, wait=3600)

    assert memhub_clock.mono_ns() == 2 * SECOND
    memhub_log.expect("claim.expire", process="one").then("claim.take", process="two")


def test_a_wait_ends_at_its_own_limit(memhub_client: Clients, memhub_clock: ManualClock) -> None:
    one, two = memhub_client("one").open(), memhub_client("two").open()
    one.claim(*WINDOW)
    with pytest.raises(TimedOut):
        two.claim(*WINDOW, wait=2)

    assert memhub_clock.mono_ns() == 2 * SECOND
    with pytest.raises(TimedOut):
        two.wait_free(*WINDOW, 3)

    with pytest.raises(TimedOut):
        two.set_range(*WINDOW, "write-combine", wait=1.5)

    assert memhub_clock.mono_ns() == 6.5 * SECOND


def test_a_lease_that_ends_meanwhile_ends_on_time(
    memhub_client: Clients, memhub_log: LogView
) -> None:
    one, two = memhub_client("one").open(), memhub_client("two").open()
    one.claim(*WINDOW)
    one.claim(WINDOW[0] + 0x10000, 0x1000, lease=4)
    with pytest.raises(TimedOut):
        two.claim(*WINDOW, wait=60)

    (ended,) = memhub_log.find("claim.expire")
    (taken,) = [it for it in memhub_log.find("claim.take") if it["length"] == 0x1000][:1]
    assert ended["wall_ns"] - taken["wall_ns"] == 4 * SECOND


@pytest.mark.parametrize("wait", [math.inf, 2**33])
def test_a_wait_that_nothing_can_end_is_given_up(
    memhub_client: Clients, memhub_hub: Hub, wait: float
) -> None:
    one, two = memhub_client("one").open(), memhub_client("two").open()
    one.claim(*WINDOW)
    says = "the claim 0xd0000000-0xd0000fff of two on pc would block for ever: no lease and no time"
    with pytest.raises(NeverAnswered, match=says):
        two.claim(*WINDOW, wait=wait)

    with pytest.raises(NeverAnswered, match="the wait_free 0xd0"):
        two.wait_free(*WINDOW, wait)

    assert memhub_hub.report()["machines"][0]["waits"] == []


def test_a_commit_that_hangs_is_given_up(memhub_client: Clients, memhub_hub: Hub) -> None:
    memhub_hub.faults.add(FaultRule("hang"))
    with pytest.raises(NeverAnswered, match=r"the SET 0xd0.* of Xorg on pc would block for ever"):
        memhub_client("Xorg").open().set_range(*WINDOW, "write-combine")

    assert memhub_hub.report()["machines"][0]["commits"] == []


def test_a_request_that_a_rule_drops_is_given_up_at_once(
    memhub_client: Clients, memhub_hub: Hub, memhub_clock: ManualClock
) -> None:
    memhub_hub.faults.add(FaultRule("drop", op="get"))
    with pytest.raises(NeverAnswered, match="fault rule 'fault-1' drops this request, which is"):
        memhub_client("Xorg").open().ranges()

    assert memhub_clock.mono_ns() == 0


def test_an_open_is_delayed_and_dropped_too(
    memhub_client: Clients, memhub_hub: Hub, memhub_clock: ManualClock
) -> None:
    with memhub_hub.faults.add(FaultRule("delay", op="open", delay=2)):
        memhub_client("Xorg").open().ranges()

    assert memhub_clock.mono_ns() == 2 * SECOND
    memhub_hub.faults.add(FaultRule("drop", op="open"))
    with pytest.raises(NeverAnswered, match="fault rule 'fault-2' drops this request"):
        memhub_client("Xorg").open()


def test_a_client_of_its_own_on_a_clock_that_stands_gives_up_too() -> None:
    clock, rule = ManualClock(), FaultRule("drop", op="get")
    with (
        LocalClient([machine()], clock=clock, sleep=clock.advance, faults=[rule]) as client,
        client.open("/dev/mem") as mem,
        pytest.raises(NeverAnswered),
    ):
        mem.ranges()


def test_another_thread_ends_a_wait_before_the_clock_goes_on(
    memhub_client: Clients, memhub_clock: ManualClock, memhub_hub: Hub
) -> None:
    one, two = memhub_client("one"), memhub_client("two").open()
    one.open().claim(*WINDOW)

    def release_once_waited_for() -> None:
        while not memhub_hub.report()["machines"][0]["waits"]:
            pass

        one.crash()

    for wait in (3600, math.inf):
        thread = threading.Thread(target=release_once_waited_for)
        thread.start()
        two.claim(*WINDOW, wait=wait)
        thread.join(10)
        two.release(*WINDOW)
        one = memhub_client("one")
        one.open().claim(*WINDOW)

    assert memhub_clock.mono_ns() == 0


def test_threads_that_all_wait_do_not_wait_for_each_other(
    memhub_client: Clients, memhub_clock: ManualClock
) -> None:
    memhub_client("one").open().claim(*WINDOW)
    ended = []

    def wait() -> None:
        with pytest.raises(TimedOut):
            memhub_client("thread").open().claim(*WINDOW, wait=50)

        ended.append(memhub_clock.mono_ns())

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join(20)

    assert len(ended) == 3
    assert max(ended) < 151 * SECOND


class TestTheComputersClock:
    @pytest.fixture
    def memhub_clock(self) -> SystemClock:
        return SystemClock()

    def test_replaces_the_one_that_stands(self, memhub_client: Clients) -> None:
        one, two = memhub_client("one").open(), memhub_client("two").open()
        one.claim(*WINDOW, lease=0.02)
        assert two.claim(*WINDOW, wait=60).fence == 2


def test_a_clock_is_not_advanced_past_its_end() -> None:
    clock = ManualClock(wall_ns=5)
    clock.advance(2**62 / 1e9)
    before = clock.mono_ns(), clock.wall_ns()
    with pytest.raises(ValueError, match=rf"monotonic clock would advance from {2**62} to \d+ ns"):
        clock.advance(2**62 / 1e9)

    assert (clock.mono_ns(), clock.wall_ns()) == before
    with pytest.raises(ValueError, match="the wall clock would advance"):
        ManualClock(wall_ns=2**63 - 5).advance(1)


def test_a_clock_at_the_end_of_time_breaks_no_request() -> None:
    clock = ManualClock(mono_ns=2**63)
    with LocalClient([machine()], clock=clock, sleep=clock.advance) as client:
        mem = client.open("/dev/mem", "r+")
        assert mem.claim(*WINDOW).fence == 1
        assert mem.ranges()


ALONE = """
import threading
from memhub import Hub, SystemClock
from memhub.machines import pc
from memhub.rig.clients import Clients
from memhub.service.local import NeverAnswered

hub = Hub([pc()], clock=SystemClock())
hub.begin()
clients = Clients(hub, "", awaiting=False)
one, two = (clients(name).open() for name in ("one", "two"))
one.claim(0, 4096)
try:
    two.claim(0, 4096, wait=float("inf"))
except NeverAnswered as error:
    print(error)

print(len(hub.report()["machines"][0]["waits"]))
threading.Timer(0.2, lambda: one.release(0, 4096)).start()
print(two.claim(0, 4096, wait=float("inf")).fence)
clients.close()
hub.end()
"""


def test_on_a_clock_that_runs_a_wait_that_nobody_can_end_is_told_too() -> None:
    """In a process of its own, as that of the tests may have other threads."""
    done = subprocess.run(
        [sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    told, waits, fence = done.stdout.splitlines()
    assert "the claim 0x0-0xfff of two on pc would block for ever" in told
    assert (waits, fence) == ("0", "2")
