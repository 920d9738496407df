"""`memhub serve` while its audit log is rotated, deleted or cut, and hung up on."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import read_records, verify
from memhub.audit.schema import problems
from memhub.errors import DeviceError
from memhub.service.blocking import BlockingClient
from service.process_rig import CONFIG, Lines, Served
from service.service_rig import MIB, WINDOW
from shell.kit import rebuilt

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKENDS = ["asyncio", "trio", "uvloop"]


@pytest.fixture(params=BACKENDS)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    pytest.importorskip(request.param)
    with Served(tmp_path, "--backend", request.param) as service:
        service.ready()
        yield service


@pytest.fixture
def said(service: Served) -> Lines:
    assert service.process.stderr is not None

    return Lines(service.process.stderr.fileno())


def hang_up(service: Served, said: Lines) -> str:
    """Send SIGHUP, and what the service says of it."""
    service.process.send_signal(signal.SIGHUP)
    while line := said.next():
        if line.startswith("memhub: SIGHUP: "):
            return line.removeprefix("memhub: SIGHUP: ")

    raise AssertionError(service.ended())


def stop(service: Served) -> int:
    service.process.send_signal(signal.SIGTERM)

    return service.process.wait(30)


def events(path: Path) -> list[str]:
    return [record["event"] for record in read_records(path)]


def sound(path: Path) -> list[dict[str, Any]]:
    verdict = verify(path)
    assert (verdict.ok, verdict.closed, verdict.notes) == (True, True, ())
    records = list(read_records(path, typed=True))
    assert [problem for record in records for problem in problems(record)] == []

    return records


def test_sighup_after_a_rename_begins_a_new_file_under_the_same_clients(
    service: Served, said: Lines
) -> None:
    old = service.log.with_name("audit.jsonl.1")
    with (
        BlockingClient(f"unix:{service.socket}") as client,
        client.open("/dev/mem", "r+") as handle,
    ):
        handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        service.log.rename(old)
        handle.set_range(WINDOW + MIB, MIB, MDF_WRITECOMBINE)
        line = hang_up(service, said)
        handle.set_range(WINDOW + 2 * MIB, MIB, MDF_WRITECOMBINE)
        ranges = handle.ranges()

    assert stop(service) == 0
    before, after = sound(old), sound(service.log)
    assert line == (
        f"{service.log}: reopened; the file before ends in record {len(before)}, "
        f"head {before[-1]['hash']}"
    )
    assert [r["base"] for r in before if r["event"] == "request.set"] == [WINDOW, WINDOW + MIB]
    assert next(r["base"] for r in after if r["event"] == "request.set") == WINDOW + 2 * MIB
    assert [r["event"] for r in after[:3]] == ["log.open", "device.attach", "device.attach"]
    assert before[0]["log_id"] == after[0]["log_id"]
    assert {r["cause"] for r in after[1:3]} == {"reopen"}
    assert f"record {len(before)}, hash {before[-1]['hash']}" in after[1]["reason"]
    assert sum(1 for it in ranges if it.mr_base >= WINDOW) == 3
    at_first = rebuilt(after[:3])["pc"][0]
    assert [it.mr_base for it in at_first if it.mr_base >= WINDOW] == [WINDOW, WINDOW + MIB]


def test_a_new_file_goes_on_from_the_generation_of_the_old(service: Served, said: Lines) -> None:
    with (
        BlockingClient(f"unix:{service.socket}") as client,
        client.open("/dev/mem", "r+") as handle,
    ):
        handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        service.log.rename(service.log.with_name("1"))
        hang_up(service, said)
        handle.set_range(WINDOW + MIB, MIB, MDF_WRITECOMBINE)

    stop(service)
    generations = [
        r["generation"]
        for r in sound(service.log)
        if r.get("machine") == "pc" and r["event"] in ("device.attach", "request.set")
    ]
    assert generations[:2] == [generations[0], generations[0] + 1]
    assert generations[0] > 0


def test_sighup_without_a_rotation_changes_nothing(service: Served, said: Lines) -> None:
    kept = service.log.read_bytes()

    assert hang_up(service, said) == (
        f"{service.log}: still the file that is written; nothing to reopen"
    )
    assert kept == service.log.read_bytes()
    assert stop(service) == 0
    sound(service.log)


def test_a_reopening_that_fails_is_reported_and_the_old_file_goes_on(
    service: Served, said: Lines
) -> None:
    old = service.log.with_name("1")
    service.log.rename(old)
    service.log.write_text("precious")

    assert hang_up(service, said) == (
        f"audit log not reopened, the old file goes on: {service.log}: "
        "the file holds something other than an audit log"
    )
    with BlockingClient(f"unix:{service.socket}") as client:
        client.open("/dev/mem").close()

    assert "request.open" in events(old)
    assert service.log.read_text() == "precious"
    service.log.unlink()
    assert "reopened" in hang_up(service, said)
    assert stop(service) == 0
    sound(old)
    sound(service.log)


def test_a_deleted_log_is_reported_and_requests_are_refused_until_it_is_reopened(
    service: Served, said: Lines
) -> None:
    with (
        BlockingClient(f"unix:{service.socket}") as client,
        client.open("/dev/mem", "r+") as handle,
    ):
        service.log.unlink()
        told = said.next()
        with pytest.raises(DeviceError, match="the file was deleted") as caught:
            handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        assert re.fullmatch(
            rf"memhub: {service.log}: the file was deleted, .*; SIGHUP reopens the log", told
        )
        assert caught.value.errno == errno.EIO
        assert not service.log.exists()
        assert "without a log.close" in hang_up(service, said)
        handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

    assert stop(service) == 0
    assert [r["event"] for r in sound(service.log)].count("request.set") >= 1


def test_a_renamed_log_is_reported_and_put_back(service: Served, said: Lines) -> None:
    old = service.log.with_name("1")
    service.log.rename(old)
    assert "the file was renamed or its path leads elsewhere" in said.next()
    old.rename(service.log)
    assert said.next() == f"memhub: {service.log}: the audit log is where it should be again"
    assert stop(service) == 0
    sound(service.log)


def test_a_log_that_is_copied_and_cut_is_begun_anew(service: Served, said: Lines) -> None:
    os.truncate(service.log, 0)
    assert "the file was cut short by another program" in said.next()
    assert "reopened" in hang_up(service, said)
    assert stop(service) == 0
    assert sound(service.log)[0]["event"] == "log.open"


def test_sighup_does_not_end_a_service_without_a_log(tmp_path: Path) -> None:
    config = tmp_path / "lab.toml"
    config.write_text('default = "pc"\n' + CONFIG)
    command = (
        sys.executable,
        "-m",
        "memhub",
        "serve",
        str(config),
        "--socket",
        str(tmp_path / "s"),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert "no log" in Lines(process.stdout.fileno()).next()
        process.send_signal(signal.SIGHUP)
        said = Lines(process.stderr.fileno())
        assert said.next() == "memhub: SIGHUP: there is no audit log"
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


def test_sighup_of_a_terminal_that_is_gone_does_not_end_a_service(tmp_path: Path) -> None:
    """What it says then goes to a terminal that fails every write."""
    with Served(tmp_path) as service:
        service.ready()
        assert service.process.stderr is not None
        service.process.stderr.close()
        service.log.rename(service.log.with_name("1"))
        service.process.send_signal(signal.SIGHUP)
        with BlockingClient(f"unix:{service.socket}") as client:
            for _ in range(10_000):
                if service.log.exists() and "device.attach" in events(service.log):
                    break
                client.report("claims", "pc")

        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(30) == 0

    sound(service.log)
