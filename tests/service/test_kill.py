"""SIGKILL, of clients and of the service: what was acknowledged is in the log, and it verifies."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from memhub.audit import read_records, verify
from memhub.audit.schema import problems
from service.process_rig import Script, Served

if TYPE_CHECKING:
    from pathlib import Path

# Each change that was acknowledged is said to the test, which is the witness.
CHANGES = """
import sys, random
from memhub.service.blocking import BlockingClient
seed = int(sys.argv[2])
chance = random.Random(seed)
base = 0x80000000 + (seed << 24)
try:
    with BlockingClient(sys.argv[1], label=f"worker-{seed}") as client:
        handle = client.open("/dev/mem", "r+")
        print("ready", flush=True)
        while True:
            at = base + (chance.randrange(8) << 20)
            handle.set_range(at, 1 << 20, 2, owner="w")
            print("set", at, flush=True)
            handle.pwrite(seed.to_bytes(8, "little"), seed * 4096)
            print("write", seed * 4096, flush=True)
            handle.remove_range(at, 1 << 20)
            print("remove", at, flush=True)
except (ConnectionError, OSError):
    pass
"""


def acknowledged(lines: list[str]) -> list[tuple[str, int]]:
    """What a worker had been told was done when the service died."""
    rows = [line.split() for line in lines if " " in line]

    return [(verb, int(at)) for verb, at in rows]


def done(log: Path, since: int) -> dict[str, list[tuple[str, int]]]:
    """What the log says was done, by process."""
    verbs = {"update": "set", "remove": "remove", "pwrite": "write"}
    found: dict[str, list[tuple[str, int]]] = {}
    for record in read_records(log):
        if record["seq"] > since and record.get("op") in verbs and record["errno"] is None:
            found.setdefault(record["process"], []).append((verbs[record["op"]], record["base"]))

    return found


def kill_the_service(folder: Path, times: int, workers: int, seed: int) -> None:
    chance = random.Random(seed)
    seen = 0
    for _ in range(times):
        with Served(folder, "--replace-stale") as service:
            service.ready()
            address = f"unix:{service.socket}"
            crew = [Script(CHANGES, address, str(number)) for number in range(workers)]
            for worker in crew:
                assert worker.line() == "ready"

            heard = [crew[0].line() for _ in range(chance.randrange(1, 30))]
            service.process.kill()
            service.process.wait()
            told = [acknowledged(worker.lines.rest()) for worker in crew]
            told[0][:0] = acknowledged(heard)
            for worker in crew:
                worker.close()

        verdict = verify(service.log)
        assert verdict.broken is None or verdict.broken.kind == "torn", verdict
        logged = done(service.log, seen)
        for number, rows in enumerate(told):
            kept = logged.get(f"worker-{number}", [])
            # The last change may be logged and its answer lost; never the other way round.
            assert kept[: len(rows)] == rows
            assert len(kept) <= len(rows) + 1

        seen = max(record["seq"] for record in read_records(service.log))

    with Served(folder, "--replace-stale") as service:
        service.ready()
        service.stop()

    assert verify(service.log).ok
    assert [p for record in read_records(service.log) for p in problems(record)] == []


def test_no_acknowledged_change_is_missing_when_the_service_is_killed(tmp_path: Path) -> None:
    kill_the_service(tmp_path, times=3, workers=2, seed=1)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_the_same_a_hundred_times(tmp_path: Path) -> None:
    kill_the_service(tmp_path, times=100, workers=2, seed=2)
