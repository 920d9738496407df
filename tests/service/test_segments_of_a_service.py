"""`memhub serve` with a log of segments: hung up on, killed in the middle of rotations."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import read_records, verify
from memhub.audit.seals.note_keys import SigningKey, write_signing_key
from memhub.service.blocking import BlockingClient
from service.process_rig import CONFIG, Lines, Script, Served
from service.service_rig import MIB, WINDOW

if TYPE_CHECKING:
    from pathlib import Path

AUDIT = """
[audit]
path = "log/"
key = "bench.key"
max_bytes = "64K"
seal_every = 0.05
snapshot_every = 64
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a service keeps its log in segments."""
    write_signing_key(tmp_path / "bench.key", SigningKey.generate("lab.example/bench"))

    return tmp_path


def begin(folder: Path) -> Served:
    (folder / "lab.toml").write_text('default = "pc"\n' + CONFIG + AUDIT)

    return Served(folder, "--log", f"{folder}/log/")


def sets(folder: Path) -> int:
    return sum(1 for it in read_records(folder / "log") if it["event"] == "request.set")


def test_sighup_ends_a_segment_and_the_clients_go_on(folder: Path) -> None:
    with begin(folder) as service:
        service.ready()
        with (
            BlockingClient(f"unix:{service.socket}") as client,
            client.open("/dev/mem", "r+") as handle,
        ):
            handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
            service.process.send_signal(signal.SIGHUP)
            assert service.process.stderr is not None
            said = Lines(service.process.stderr.fileno())
            assert said.next() == (
                f"memhub: SIGHUP: {folder}/log/00000001.jsonl has ended; "
                f"{folder}/log/00000002.jsonl goes on"
            )
            handle.set_range(WINDOW + MIB, MIB, MDF_WRITECOMBINE)

        assert service.stop()[0] == 0

    verdict = verify(folder / "log")
    assert (verdict.ok, verdict.closed, sets(folder)) == (True, True, 2)
    assert verdict.sealed == verdict.records - 1


CLIENT = """
import sys
from memhub.service.blocking import BlockingClient
with BlockingClient(sys.argv[1]) as client, client.open("/dev/mem", "r+") as handle:
    print("ready", flush=True)
    for number in range(1 << 30):
        handle.set_range(0xE0000000, 1 << 20, 1 + number % 2, owner="x")
        print(number + 1, flush=True)
"""


def kill_while_it_rotates(folder: Path, rounds: int) -> None:
    """Kill a service under load at several moments; what was acknowledged is in the log."""
    done = 0
    for number in range(rounds):
        with begin(folder) as service:
            service.ready()
            with Script(CLIENT, f"unix:{service.socket}") as client:
                assert client.line() == "ready"
                for _ in range(60 + 23 * number % 140):
                    acknowledged = client.line()

                service.process.kill()
                while line := client.line():
                    acknowledged = line

            service.ended()
            service.socket.unlink(missing_ok=True)

        done += int(acknowledged)
        assert sets(folder) >= done

    with begin(folder) as service:
        service.ready()
        service.stop()

    verdict = verify(folder / "log")
    assert verdict.ok, verdict.broken
    assert any(path.suffix == ".zst" for path in (folder / "log").iterdir())


def test_nothing_acknowledged_is_lost_where_a_service_is_killed(folder: Path) -> None:
    kill_while_it_rotates(folder, 2)


@pytest.mark.campaign
@pytest.mark.timeout(600)
def test_nothing_acknowledged_is_lost_at_many_moments(folder: Path) -> None:
    kill_while_it_rotates(folder, 25)


def test_a_service_that_cannot_have_its_key_does_not_start(folder: Path) -> None:
    (folder / "bench.key").chmod(0o644)
    with begin(folder) as service:
        code, said = service.ended()

    assert (code, "Traceback" in said) == (2, False)
    assert "lets others have it" in " ".join(said.split())
