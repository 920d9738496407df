"""Machines in this process: commits that take time, and threads that wait for each other."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from memhub import ManualClock
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import BadHandle, RangeBusy, TimedOut
from memhub.service.local import LocalClient
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.service.local.handle import LocalHandle

LATENCY = 60.0
SLOW = replace(PAT, commit_latency=LATENCY)
BASE, LENGTH = 0x200000, 0x1000


def local(**options: Any) -> LocalClient:
    return LocalClient([SLOW], arches=ARCHES, **options)


def test_a_commit_takes_its_time_by_the_clock_that_was_given() -> None:
    clock = ManualClock()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        assert not [row for row in device.ranges() if row.mr_base == BASE]
        clock.advance(seconds)

    with local(clock=clock, sleep=sleep) as client, client.open("/dev/mem") as device:
        device.set_range(BASE, LENGTH, MDF_UNCACHEABLE)

        assert slept == [LATENCY]
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


class Gate:
    """A commit that another thread has begun, and that ends when it is told.

    The clock stands still until then: whoever asks the machine for something ends what is due.
    """

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.begun, self.go = threading.Event(), threading.Event()

    def sleep(self, seconds: float) -> None:
        assert seconds <= LATENCY
        self.begun.set()
        assert self.go.wait(10)
        self.clock.advance(seconds)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@contextmanager
def committing(gate: Gate, **options: Any) -> Iterator[tuple[LocalClient, LocalHandle]]:
    """A client and a handle, while another thread commits BASE/LENGTH."""
    with local(sleep=gate.sleep, **options) as client, client.open("/dev/mem", "r+") as handle:
        thread = threading.Thread(target=_commit, args=(handle,))
        thread.start()
        assert gate.begun.wait(10)
        yield client, handle
        gate.go.set()

    thread.join(10)


def _commit(handle: LocalHandle) -> None:
    with suppress(BadHandle):  # the commit may still be on its way when all is closed
        handle.set_range(BASE, LENGTH, MDF_UNCACHEABLE)


@pytest.fixture
def busy(gate: Gate) -> Iterator[tuple[LocalClient, LocalHandle]]:
    with committing(gate, clock=gate.clock) as made:
        yield made


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
    handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, wait=10)
    opener.join(10)

    (found,) = (row for row in handle.ranges() if row.mr_base == BASE)
    assert found.mr_flags & MDF_WRITECOMBINE


def _open_once_waiting(client: LocalClient, gate: Gate) -> None:
    _until_waiting(client)
    gate.go.set()


def _until_waiting(client: LocalClient) -> None:
    while not client.report()["machines"][0]["waits"]:
        pass


def test_a_wait_ends_in_time(gate: Gate) -> None:
    with committing(gate) as (_, handle), pytest.raises(TimedOut):
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
