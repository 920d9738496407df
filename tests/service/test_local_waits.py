"""Machines in this process: commits that take time, and threads that wait for each other."""

from __future__ import annotations

import threading
from dataclasses import replace
from time import monotonic_ns
from typing import TYPE_CHECKING, Any

import pytest

from memhub import ManualClock, SystemClock
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import BadHandle, RangeBusy, TimedOut
from memhub.service.local import LocalClient
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.service.local.handle import LocalHandle

#: Seconds of a commit that is still in flight when the tests have done what they do meanwhile.
LONG = 3600
BASE, LENGTH = 0x200000, 0x1000


def local(latency: float = 0.02, **options: Any) -> LocalClient:
    return LocalClient([replace(PAT, commit_latency=latency)], arches=ARCHES, **options)


def test_a_commit_takes_its_time_by_the_clock_that_was_given() -> None:
    clock = ManualClock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert not [row for row in device.ranges() if row.mr_base == BASE]
        clock.advance(seconds)

    with local(clock=clock, sleep=sleep) as client, client.open("/dev/mem") as device:
        device.set_range(BASE, LENGTH, MDF_UNCACHEABLE)

        assert slept == [0.02]
        assert [row for row in device.ranges() if row.mr_base == BASE]


def test_a_commit_that_is_interrupted_leaves_nothing_behind() -> None:
    def sleep(_: float) -> None:
        raise KeyboardInterrupt

    with local(sleep=sleep) as client, client.open("/dev/mem") as handle:
        before = handle.ranges()
        with pytest.raises(KeyboardInterrupt):
            handle.set_range(BASE, LENGTH, MDF_UNCACHEABLE)

        assert handle.ranges() == before
        assert client.report()["machines"][0]["commits"] == []


class Gate(SystemClock):
    """The computer's clock, and a commit of another thread that ends when it is told."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()
        self._skipped_ns = 0

    def mono_ns(self) -> int:
        return monotonic_ns() + self._skipped_ns

    def sleep(self, seconds: float) -> None:
        assert seconds <= LONG
        self.begun.set()
        assert self.go.wait(10)
        self._skipped_ns += round(seconds * 1e9)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def busy(gate: Gate) -> Iterator[tuple[LocalClient, LocalHandle]]:
    """A client and a handle, while another thread commits BASE/LENGTH."""
    with (
        local(LONG, clock=gate, sleep=gate.sleep) as client,
        client.open("/dev/mem", "r+") as handle,
    ):
        thread = threading.Thread(target=handle.set_range, args=(BASE, LENGTH, MDF_UNCACHEABLE))
        thread.start()
        assert gate.begun.wait(10)
        yield client, handle
        gate.go.set()
        thread.join(10)


def test_a_commit_of_one_thread_keeps_no_other_from_reading(
    busy: tuple[LocalClient, LocalHandle],
) -> None:
    _, handle = busy

    assert handle.pread(4, 0) == bytes(4)
    with pytest.raises(RangeBusy) as refused:
        handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE)

    assert [it.kind for it in refused.value.obstacles] == ["commit"]


def test_a_thread_waits_for_anothers_commit(
    busy: tuple[LocalClient, LocalHandle], gate: Gate
) -> None:
    client, handle = busy
    opener = threading.Thread(target=_open_once_waiting, args=(client, gate))
    opener.start()
    handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, wait=2 * LONG)
    opener.join(10)

    (found,) = (row for row in handle.ranges() if row.mr_base == BASE)
    assert found.mr_flags & MDF_WRITECOMBINE


def _open_once_waiting(client: LocalClient, gate: Gate) -> None:
    _until_waiting(client)
    gate.go.set()


def _until_waiting(client: LocalClient) -> None:
    while not client.report()["machines"][0]["waits"]:
        pass


def test_a_wait_ends_in_time(busy: tuple[LocalClient, LocalHandle]) -> None:
    _, handle = busy
    with pytest.raises(TimedOut):
        handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, wait=0.01)


def test_a_wait_ends_when_its_handle_is_closed(busy: tuple[LocalClient, LocalHandle]) -> None:
    client, _ = busy
    other = client.open("/dev/mem")

    def close() -> None:
        _until_waiting(client)
        other.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(BadHandle):
        other.set_range(BASE, LENGTH, MDF_WRITECOMBINE, wait=10)

    closer.join(10)
