"""The fixtures of memhub in use, embedded and over a service, by tests that await or do not."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub import DeviceError, Hub, MachineSpec, load_arches, machines
from memhub.abi import MDF_WRITECOMBINE
from memhub.clock import ManualClock
from memhub.rig import ServiceProcess
from memhub.rig.service_process import ServiceFailed
from rounds import rounds

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from memhub.rig import Clients, LogView, VirtualClock
    from memhub.rig.service_process import ServiceStarter

WINDOW = (0xD0000000, 1 << 24)
GIB = 1 << 30


@pytest.mark.memhub(over="each")
def test_a_test_that_does_not_await_drives_hub_and_service_alike(
    memhub_client: Clients, memhub_log: LogView
) -> None:
    with memhub_client("Xorg") as xorg, memhub_client("driver") as driver:
        xorg.open().set_range(*WINDOW, "write-combine", owner="Xorg")
        mem = driver.open()
        with pytest.raises(DeviceError, match="EBUSY"):
            mem.set_range(*WINDOW, "uncacheable")

        assert mem.explain(WINDOW[0]).type == "WC"
        xorg.crash()
        memhub_log.expect("claim.release", cause="disconnect", process="Xorg", within=10)
        mem.set_range(*WINDOW, "uncacheable")

    refused = memhub_log.expect("request.set", errno="EBUSY", process="driver")
    refused.then("request.set", errno=None, process="driver").then("request.close", within=10)
    memhub_log.expect("request.close", process="driver", cause="close", within=10)


@pytest.mark.memhub(over="each")
async def test_a_test_that_awaits_drives_hub_and_service_alike(
    memhub_client: Clients, memhub_log: LogView
) -> None:
    async with memhub_client("Xorg") as xorg, memhub_client("driver") as driver:
        await (await xorg.open()).set_range(*WINDOW, "write-combine", owner="Xorg")
        mem = await driver.open("pc:/dev/mem", "r")
        with pytest.raises(DeviceError, match="EBUSY"):
            await mem.set_range(*WINDOW, "uncacheable")

        await xorg.crash()
        await mem.set_range(*WINDOW, "uncacheable", wait=10)
        with pytest.raises(RuntimeError, match="client 'Xorg' is not in use"):
            await xorg.open()

    memhub_log.expect("claim.release", cause="disconnect").then("request.set", errno=None)
    memhub_log.expect("request.close", process="driver", cause="close", within=10)


async def test_time_goes_on_while_everybody_waits(
    memhub_hub: Hub, memhub_clock: VirtualClock, memhub_log: LogView
) -> None:
    async with memhub_hub.process("one") as one, memhub_hub.process("two") as two:
        held = await one.open("/dev/mem")
        await held.claim(*WINDOW, lease=3600)
        mem = await two.open("/dev/mem")
        with anyio.fail_after(20):
            claim = await mem.claim(*WINDOW, wait=7200)

        assert memhub_clock.mono_ns() == 3600 * 10**9
        await memhub_clock.sleep(1e6)

    assert claim.fence == 2
    memhub_log.expect("claim.expire", process="one").then("claim.take", process="two")


def test_a_lease_ends_on_time_for_the_log_of_a_test_that_does_not_await(
    memhub_client: Clients, memhub_clock: ManualClock, memhub_log: LogView
) -> None:
    memhub_client("one").open().claim(*WINDOW, lease=5)
    memhub_clock.advance(4.9)
    memhub_log.expect_none("claim.expire")
    memhub_clock.advance(0.2)
    memhub_log.expect("claim.expire", process="one")


def test_a_commit_takes_the_hubs_time_and_none_of_the_tests(
    memhub_machine: MachineSpec, memhub_client: Clients, memhub_clock: ManualClock
) -> None:
    before = memhub_clock.mono_ns()
    memhub_client().open().set_range(*WINDOW, "write-combine")

    assert memhub_clock.mono_ns() == before
    assert memhub_machine.firmware == "ordinary"


class TestAMachineOfOnesOwn:
    @pytest.fixture
    def memhub_machine(self) -> MachineSpec:
        return machines.pc("slow", commit_latency=30.0)

    def test_replaces_the_ordinary_one(
        self, memhub_client: Clients, memhub_clock: ManualClock, memhub_log: LogView
    ) -> None:
        memhub_client().open("slow:/dev/mem").set_range(*WINDOW, "write-combine")

        assert memhub_clock.mono_ns() == 30 * 10**9
        memhub_log.expect("request.set", machine="slow", duration_ns=30 * 10**9)

    async def test_is_that_of_a_test_that_awaits(
        self, memhub_client: Clients, memhub_clock: VirtualClock
    ) -> None:
        async with memhub_client() as client:
            await (await client.open()).set_range(*WINDOW, "write-combine")

        assert memhub_clock.mono_ns() == 30 * 10**9


class TestAClockOfOnesOwn:
    @pytest.fixture
    def memhub_clock(self) -> ManualClock:
        return ManualClock(wall_ns=5)

    async def test_stands_until_it_is_advanced(
        self, memhub_client: Clients, memhub_clock: ManualClock, memhub_log: LogView
    ) -> None:
        async with memhub_client("one") as one, memhub_client("two") as two:
            await (await one.open()).claim(*WINDOW, lease=5)
            mem = await two.open()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(mem.claim, *WINDOW, wait=60))
                await anyio.wait_all_tasks_blocked()
                memhub_log.expect_none("claim.expire")
                memhub_clock.advance(6)

        memhub_log.expect("claim.expire", wall_ns=6 * 10**9 + 5).then("claim.take", process="two")


@pytest.mark.memhub(machines=["acer-aspire-one", machines.pc(ram=4 * GIB)], arch="i386")
def test_several_machines_have_the_architecture_of_the_marker(memhub_hub: Hub) -> None:
    assert [(it.name, it.arch.name) for it in memhub_hub.machines.values()] == [
        ("acer-aspire-one-8-slots-full", "i386"),
        ("pc", "i386"),
    ]
    assert memhub_hub.default == "acer-aspire-one-8-slots-full"


@pytest.mark.memhub(arch=["i386", "powerpc"], seed=7)
def test_the_seed_is_that_of_the_marker(
    memhub_hub: Hub, memhub_arch: str, memhub_random: random.Random
) -> None:
    assert memhub_hub.machines["pc"].arch.name == memhub_arch
    assert memhub_random.random() == 0.32383276483316237


@pytest.mark.memhub(machines="each")
def test_every_real_machine_makes_a_hub(memhub_hub: Hub, memhub_machine: MachineSpec) -> None:
    assert memhub_hub.machines[memhub_machine.name].table is not None


def test_a_service_is_a_process_of_its_own_that_can_be_killed(
    memhub_service: ServiceProcess, memhub_client: Clients, memhub_log: LogView
) -> None:
    mem = memhub_client("Xorg").open()
    opened = memhub_log.expect("service.connect", process="Xorg")

    assert opened["pid"] != memhub_service.pid
    assert memhub_service.kill() == -9
    with pytest.raises(ConnectionError):
        mem.pread(1, 0)


@pytest.mark.campaign
@pytest.mark.alone
def test_a_service_is_started_and_stopped_within_150_milliseconds(
    memhub_service_starter: ServiceStarter,
) -> None:
    specs = [machines.pc()]

    def measure() -> float:
        start = monotonic()
        with ServiceProcess(memhub_service_starter, specs) as service:
            assert service.stop() == 0

        return monotonic() - start

    assert min(rounds(measure, 0.150, 20)) <= 0.150


def test_a_service_that_does_not_start_says_why(memhub_service_starter: ServiceStarter) -> None:
    with pytest.raises(ServiceFailed, match=r"(?s)did not start: .*unrecognized arguments: --nix"):
        ServiceProcess(memhub_service_starter, [machines.pc()], ["--nix"])


@pytest.mark.parametrize("name", [None, 5, ""])
@pytest.mark.memhub(over="each")
def test_a_client_without_a_name_is_refused(memhub_client: Clients, name: Any) -> None:
    for make in (memhub_client, memhub_client.blocking, memhub_client.awaiting):
        with pytest.raises((TypeError, ValueError), match="name"):
            make(name)


KILLED = """
import os, signal

def test_is_killed(memhub_service, tmp_path):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_pytest_is_killed(tmp_path: Path) -> None:
    (tmp_path / "test_killed.py").write_text(KILLED)
    left = tmp_path / "tmp"
    left.mkdir()
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:xdist"]  # -s: no capture
    read, write = os.pipe()
    with os.fdopen(read, "rb") as ends:
        done = subprocess.run(
            [*command, "-c", os.devnull, "--rootdir", str(tmp_path), str(tmp_path)],
            env={**os.environ, "TMPDIR": str(left)},
            stdout=write,
            stderr=write,
            check=False,
        )
        os.close(write)
        assert done.returncode == -9
        ends.read()  # until the last process that has the pipe, the starter, has ended

    assert [it for it in left.iterdir() if it.name.startswith("memhub-rig-")] == []


def test_two_hundred_hubs_stay_independent() -> None:
    opened = []
    arches = load_arches()
    spec = machines.pc(arches=arches)
    hubs = [Hub([spec], arches=arches, clock=ManualClock()) for _ in range(200)]
    for number, hub in enumerate(hubs):
        hub.begin()
        file = hub.process(f"p{number}").open_nowait("/dev/mem", "r+")
        model = file.file.model
        row = model.desc.pack(WINDOW[0] + (number << 20), 1 << 20, MDF_WRITECOMBINE, b"rig")
        file.ioctl_nowait(model.set[0], model.op.pack(1, 0, 0), row)
        opened.append(file)

    for number, hub in enumerate(hubs):
        (claim,) = hub.claims()
        table = hub.machines["pc"].table
        assert table is not None
        combined = [it.base for it in table.types.segments() if it.type == "WC"]

        assert combined == [claim.base] == [WINDOW[0] + (number << 20)]
        assert (claim.process.name, claim.fence) == (f"p{number}", 1)
        hub.end()
