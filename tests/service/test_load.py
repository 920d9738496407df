"""Many clients at once, some of them killed: nobody else notices, and nothing is kept of them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.audit import read_records, verify
from memhub.audit.schema import problems
from memhub.service.blocking import BlockingClient
from service.process_rig import Script, Served

if TYPE_CHECKING:
    from collections.abc import Callable

# A process of many clients with mixed work, until it is told to stop. What they are refused by
# one another is asked for; anything else is an error, and is said at the end.
CROWD = """
import sys, random, anyio, memhub
from memhub.errors import NoSpace, NoSuchRange, RangeBusy, TimedOut, WouldDeadlock
address, crowd, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
MIB = 1 << 20
done = 0
async def work(hub, chance):
    global done
    async with await hub.open(chance.choice(["pc:/dev/mem", "old:/dev/mem"]), "r+") as handle:
        for _ in range(20):
            base = 0x80000000 + (chance.randrange(24) << 20)
            try:
                match chance.randrange(8):
                    case 0 | 1: assert len(await handle.ranges()) > 0
                    case 2: assert len(await handle.pread(64, chance.randrange(8 * MIB))) == 64
                    case 3: assert await handle.pwrite(bytes(999), chance.randrange(8 * MIB)) == 999
                    case 4: await handle.set_range(base, MIB, chance.choice([1, 2]), owner="load")
                    case 5: await handle.remove_range(base, MIB)
                    case 6:
                        await handle.claim(base, MIB)
                        await handle.release(base, MIB)
                    case 7:
                        with anyio.move_on_after(chance.random() / 20):
                            await handle.claim(base, MIB, wait=0.05, lease=0.2)
            except (RangeBusy, NoSpace, NoSuchRange, TimedOut, WouldDeadlock):
                pass
            done += 1
            await anyio.sleep(PAUSE)
async def client(number, stop, *, task_status):
    chance = random.Random(crowd * 1000 + number)
    while not stop.is_set():
        async with memhub.connect(address, label=f"crowd-{crowd}-{number}", timeout=60) as hub:
            if task_status is not None:
                task_status.started()
                task_status = None
            for _ in range(chance.randrange(1, 6)):
                await work(hub, chance)
                if stop.is_set():
                    break
async def main():
    stop = anyio.Event()
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            await tasks.start(client, number, stop)
        print("at work", flush=True)
        await anyio.to_thread.run_sync(sys.stdin.readline)
        stop.set()
    print("done", done, flush=True)
anyio.run(main)
"""


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def crowds(
    folder: Path, *, processes: int, each: int, seconds: float, killed: int, pause: float
) -> None:
    with Served(folder) as service:
        service.ready()
        address, pid = f"unix:{service.socket}", service.process.pid
        quiet = descriptors(pid)
        code = CROWD.replace("PAUSE", str(pause))
        crew = [Script(code, address, str(it), str(each)) for it in range(processes)]
        for crowd in crew:
            assert crowd.line() == "at work"

        with BlockingClient(address, label="watch") as watch:
            watched(watch, seconds / 2)
            half = resident(pid)
            for crowd in crew[:killed]:
                crowd.close()

            watched(watch, seconds / 2)
            grown = resident(pid) - half
            for crowd in crew[killed:]:
                crowd.say("stop")

            for crowd in crew[killed:]:
                assert crowd.line().startswith("done"), "a client met an error: see above"
                crowd.close()

            wait_until(lambda: watch.report("rates")["service"]["connections"] == 1)
            report = watch.report()
            for row in report["machines"]:
                assert (row["claims"], row["waits"], row["processes"]) == ([], [], [])

        wait_until(lambda: descriptors(pid) <= quiet + 4)  # both machines have memory open now
        code_, errors = service.stop()
        assert (code_, errors) == (0, "memhub: stopping on SIGTERM\n")

    assert grown < 8 << 20
    assert verify(service.log).ok
    opened = closed = 0
    for record in read_records(service.log):
        opened += record["event"] == "service.connect"
        closed += record["event"] == "service.disconnect"
        assert record["seq"] % 97 or not problems(record)

    assert opened == closed >= processes * each


def watched(client: BlockingClient, seconds: float) -> None:
    """Let time pass, in which a bystander is served."""
    end = time.monotonic() + seconds
    with client.open("/dev/mem") as handle:
        while time.monotonic() < end:
            assert len(handle.pread(8, 0)) == 8
            time.sleep(0.05)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.campaign
def test_forty_clients_a_quarter_of_them_killed(tmp_path: Path) -> None:
    crowds(tmp_path, processes=4, each=10, seconds=2, killed=1, pause=0.01)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("killed", [0, 1])
def test_five_hundred_clients_for_a_minute(tmp_path: Path, killed: int) -> None:
    crowds(tmp_path, processes=10, each=50, seconds=60, killed=killed, pause=0.5)
