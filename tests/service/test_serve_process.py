"""`memhub serve` as an operator runs it: started, stopped, restarted, and with real clients."""

from __future__ import annotations

import re
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import read_records, verify
from memhub.audit.schema import problems
from memhub.errors import RangeBusy
from memhub.service.blocking import BlockingClient
from service.process_rig import CONFIG, Script, Served
from service.service_rig import MIB, WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable

HOLD = """
import sys
from memhub.service.blocking import BlockingClient
with BlockingClient(sys.argv[1], label=sys.argv[2]) as client, client.open("/dev/mem") as handle:
    handle.wait_free(0xd0000000, 1 << 20, 30)
    handle.set_range(0xd0000000, 1 << 20, 2, owner=sys.argv[2], wait=30)
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])
def test_it_says_that_it_is_ready_serves_and_stops_in_order(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    with Served(tmp_path, "--backend", backend, warm=False) as service:
        line = service.ready()
        assert line == f"memhub: ready on unix:{service.socket} (2 machines, log {service.log})"
        with BlockingClient(f"unix:{service.socket}") as client:
            assert client.open("old:/dev/mem").pread(1, 0) == b"\0"
            assert client.software.startswith("memhub ")

        code, errors = service.stop()

    assert (code, errors) == (0, "memhub: stopping on SIGTERM\n")
    assert not service.socket.exists()
    assert verify(service.log).ok
    records = list(read_records(service.log))
    assert records[-1]["event"] == "log.close"
    assert [problem for record in records for problem in problems(record)] == []


@pytest.mark.parametrize("backend", ["asyncio", "trio", "uvloop"])
def test_further_signals_change_nothing(tmp_path: Path, backend: str) -> None:
    pytest.importorskip(backend)
    with Served(tmp_path, "--backend", backend) as service:
        service.ready()
        service.process.send_signal(signal.SIGTERM)
        assert service.process.stderr is not None
        assert service.process.stderr.readline() == "memhub: stopping on SIGTERM\n"
        while service.process.poll() is None:
            service.process.send_signal(signal.SIGTERM)
            service.process.send_signal(signal.SIGINT)

        assert service.ended() == (0, "")

    assert list(read_records(service.log))[-1]["event"] == "log.close"


def test_it_serves_though_nobody_reads_that_it_is_ready(tmp_path: Path) -> None:
    """The reader of its standard output has gone, which is no concern of its clients."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Served(tmp_path, environ=told) as service:
            assert service.process.stdout is not None
            service.process.stdout.close()
            assert manager.recv(100) == b"READY=1"
            with BlockingClient(f"unix:{service.socket}") as client:
                client.ping()

            assert service.stop() == (0, "memhub: stopping on SIGTERM\n")


def test_a_service_manager_is_told(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30)
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Served(tmp_path, environ=told) as service:
            assert manager.recv(100) == b"READY=1"
            service.stop(signal.SIGINT)
            assert manager.recv(100) == b"STOPPING=1"


def test_it_does_not_start_on_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("precious")
    with Served(tmp_path, warm=False) as service:
        code, errors = service.ended()

    assert (code, "exists and is not a socket" in errors) == (2, True)


def test_a_stale_socket_is_reported_and_replaced_if_asked(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        service.ready()
        service.process.kill()

    with Served(tmp_path) as service:
        code, errors = service.ended()
        assert (code, "Start with --replace-stale" in errors) == (2, True)

    with Served(tmp_path, "--replace-stale") as service:
        service.ready()
        with Served(tmp_path, "--replace-stale", "--log", str(tmp_path / "b")) as second:
            code, errors = second.ended()
            assert (code, "a service answers there" in errors) == (2, True)

        assert service.stop()[0] == 0


def test_what_a_service_says_fits_80_columns_and_names_it(tmp_path: Path) -> None:
    """Told of: a torn tail, SIGHUP before and behind a rename, a deleted log, the end."""
    folder = tmp_path / ("d" * 24)
    folder.mkdir()
    with Served(folder) as service:
        service.ready()
        service.stop()

    with service.log.open("ab") as log:
        log.write(b'{"v":1,"seq":')

    with Served(folder, environ={"COLUMNS": "", "JOURNAL_STREAM": ""}) as service:
        service.ready()
        service.process.send_signal(signal.SIGHUP)
        service.log.rename(folder / "old")
        service.process.send_signal(signal.SIGHUP)
        code, errors = service.stop()

    lines = errors.splitlines()
    assert code == 0
    assert "unfinished last line" in " ".join(errors.split())
    assert "stopping on SIGTERM" in errors
    assert [line for line in lines if len(line) > 80] == []
    assert [line for line in lines if not line.startswith(("memhub: ", " " * 8))] == []


def test_the_journal_keeps_one_line_an_event(tmp_path: Path) -> None:
    with Served(tmp_path, environ={"COLUMNS": "", "JOURNAL_STREAM": "8:1"}) as service:
        service.ready()
        service.process.send_signal(signal.SIGHUP)
        _, errors = service.stop()

    assert [line for line in errors.splitlines() if not line.startswith("memhub: ")] == []


def _leave_a_file(folder: Path, _port: int) -> None:
    (folder / "s").write_text("precious")


def _leave_a_stale_socket(folder: Path, _port: int) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.bind(str(folder / "s"))


def _want_tokens_that_are_not_there(folder: Path, _port: int) -> None:
    _listen(folder, 'port = 0\ntoken_file = "none"')


def _want_a_port_in_use(folder: Path, port: int) -> None:
    _listen(folder, f"port = {port}")


def _listen(folder: Path, settings: str) -> None:
    config = folder / "lab.toml"
    config.write_text(f"{config.read_text()}[service.tcp]\n{settings}\n")


@pytest.mark.parametrize(
    "spoil",
    [_leave_a_file, _leave_a_stale_socket, _want_tokens_that_are_not_there, _want_a_port_in_use],
    ids=["a file", "a stale socket", "tokens", "a port"],
)
@pytest.mark.parametrize("old", [False, True], ids=["no log", "a log"])
def test_a_start_that_is_refused_leaves_the_log_as_it_was(
    tmp_path: Path, spoil: Callable[[Path, int], None], *, old: bool
) -> None:
    (tmp_path / "lab.toml").write_text('default = "pc"\n' + CONFIG)
    log = tmp_path / "audit.jsonl"
    if old:
        with Served(tmp_path) as service:
            service.ready()
            service.stop()

    before = log.read_bytes() if old else None
    with socket.create_server(("127.0.0.1", 0)) as taken:
        spoil(tmp_path, taken.getsockname()[1])
        with Served(tmp_path) as service:
            code, errors = service.ended()

    assert (code, errors[:8]) == (2, "memhub: ")
    assert (log.read_bytes() if log.exists() else None) == before


def test_a_restart_continues_the_chain_and_reports_a_torn_tail(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        service.ready()
        service.stop()

    with service.log.open("ab") as log:
        log.write(b'{"v":1,"seq":')

    with Served(tmp_path) as service:
        service.ready()
        _, errors = service.stop()

    assert re.search(r"an unfinished last line of 13 bytes at offset \d+ was cut off", errors)
    assert verify(service.log).ok
    events = [record["event"] for record in read_records(service.log)]
    assert [e for e in events if e.startswith("log.")] == [
        *("log.open", "log.close", "log.resume", "log.recovered", "log.close"),
    ]


def test_separate_processes_contend_for_a_range(tmp_path: Path) -> None:
    with Served(tmp_path) as service:
        service.ready()
        address = f"unix:{service.socket}"
        with (
            Script(HOLD, address, "first") as first,
            BlockingClient(address, label="test") as client,
            client.open("/dev/mem") as handle,
        ):
            assert first.line() == "held"
            with pytest.raises(RangeBusy, match="is claimed by first") as caught:
                handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

            assert caught.value.obstacles[0].pid == first.process.pid
            with Script(HOLD, address, "second") as second:
                first.kill()
                assert second.line() == "held"
                (claim,) = client.report("claims", "pc")["machines"][0]["claims"]
                assert (claim["process"], claim["pid"]) == ("second", second.process.pid)
                second.say("done")
                second.process.wait()

            handle.remove_range(WINDOW, MIB)

        service.stop()

    ended = [r for r in read_records(service.log) if r["event"] == "request.close"]
    assert {r["process"]: r["cause"] for r in ended} == {
        "first": "disconnect",
        "second": "close",
        "test": "close",
    }


def test_the_limit_of_descriptors_is_raised(tmp_path: Path) -> None:
    with Served(tmp_path, warm=False) as service:
        service.ready()
        limits = Path(f"/proc/{service.process.pid}/limits").read_text()
        (line,) = [row for row in limits.splitlines() if row.startswith("Max open files")]

    soft, hard = line.split()[3:5]
    assert soft == hard
