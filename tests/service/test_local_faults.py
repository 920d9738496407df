"""Fault rules of machines in this process, for callers that block."""

from __future__ import annotations

import pytest

from memhub import FaultRule
from memhub.abi import MDF_WRITECOMBINE
from memhub.clock import ManualClock
from memhub.errors import BadHandle, ConnectionCut, DeviceError
from memhub.service.local import LocalClient
from service.service_rig import MIB, WINDOW, machine


def client_with(*rules: FaultRule) -> tuple[LocalClient, ManualClock]:
    clock = ManualClock()

    return LocalClient([machine()], clock=clock, sleep=clock.advance, faults=rules), clock


def test_a_delay_blocks_for_its_time_on_the_clock() -> None:
    client, clock = client_with(FaultRule("delay", delay=2.5, times=2))
    with client, client.open("/dev/mem", "r+") as mem:
        assert mem.pwrite(b"abc", MIB) == 3
        assert clock.mono_ns() == 2_500_000_000
        mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        assert clock.mono_ns() == 5_000_000_000
        assert mem.pread(3, MIB) == b"abc"
        assert clock.mono_ns() == 5_000_000_000


def test_requests_are_refused_shortened_and_cut() -> None:
    client, _ = client_with(
        FaultRule("errno", op="set", errno="EPERM"),
        FaultRule("short", moved=2),
        FaultRule("cut", op="explain"),
    )
    with client, client.open("/dev/mem", "r+") as mem:
        with pytest.raises(DeviceError, match="EPERM"):
            mem.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        assert mem.pread(8, MIB) == bytes(2)
        with pytest.raises(ConnectionCut):
            mem.explain(0)

        with pytest.raises(BadHandle):
            mem.pread(1, 0)

        with client.open("/dev/mem") as again:
            assert again.pread(1, 0) == b"\0"

        assert [it.injected for it in client.faults] == [1, 1, 1]
