"""`memhub top` shows who holds what, who waits for whom, and how busy the service is."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from memhub import FaultRule, Sickness
from memhub.abi import MDF_WRITECOMBINE
from memhub.cli.top_strips import health_marks, strip_lines
from memhub.cli.top_view import headline, requests_per_second, sheets, text
from memhub.errors import DeviceError, NotSupported
from memhub.folding import cells
from memhub.machines import pc
from memhub.maps import map_at_start
from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import BOARD, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

BASE, LENGTH = 0x200000, 0x1000


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "lab.sock"
    with served(path, PAT, BOARD):
        monkeypatch.setenv("MEMHUB_SOCKET", str(path))
        yield path


@pytest.fixture
def contended(socket: Path) -> Iterator[Path]:
    """rig-a holds a range, and rig-b waits for it."""
    with BlockingClient(socket, label="rig-a") as a, BlockingClient(socket, label="rig-b") as b:
        mine, theirs = a.open("/dev/mem"), b.open("/dev/mem")
        mine.set_range(BASE, LENGTH, MDF_WRITECOMBINE, owner="Xorg")
        mine.claim(0x300000, LENGTH, lease=60)
        waiter = threading.Thread(target=_remove, args=(theirs,))
        waiter.start()
        while not a.report()["machines"][0]["waits"]:
            pass

        yield socket
        mine.close()
        waiter.join(10)


def _remove(handle: Any) -> None:
    try:
        handle.remove_range(BASE, LENGTH, wait=30)
    except DeviceError as error:
        pytest.fail(str(error))


def rows(out: str) -> list[list[str]]:
    """The tables, words by lines: the view without its first line and its strips."""
    _, machines, _, *tables = out.split("\n\n")

    return [line.split() for part in (machines, *tables) for line in part.splitlines()]


def strips(out: str) -> list[str]:
    """The lines of the strips."""
    return out.split("\n\n")[2].splitlines()


def test_one_view_shows_machines_claims_and_waits(run: Run, contended: Path) -> None:
    code, out, err = run("top", "--once")
    pid = str(os.getpid())
    lines = rows(out)

    assert (code, err) == (0, "")
    assert lines[1] == ["pat", "amd64", "1/4", "1", "1", "2", "(2", "open)", "2", "0", "1"]
    assert lines[2] == ["board", "arm64", "-", "0", "0", "0", "0", "0", "0"]
    assert lines[3] == ["claims"]
    assert lines[5][:7] == ["pat", "rig-a", pid, "0x200000/0x1000", "0", "Xorg", "1"]
    assert lines[6][:7] == ["pat", "rig-a", pid, "0x300000/0x1000", "-", "-", "2"]
    assert 0 < float(lines[6][-2]) <= 60
    assert lines[7] == ["waits"]
    assert lines[9][:5] == ["pat", "rig-b", pid, "set", "0x200000/0x1000"]
    assert lines[9][-1] == "rig-a"


def test_a_quiet_lab_has_its_machines_alone(run: Run, socket: Path) -> None:
    lines = run("top", "--once").out.splitlines()

    assert lines[0].split("  ")[2:] == ["1 connection", "0 requests"]
    assert [line.split()[0] for line in lines[2:5]] == ["MACHINE", "pat", "board"]
    assert lines[5:] == [
        "",
        "       0                1M                               4G  64G",
        f"pat    {'B' * 16} {'B' * 32} BBBB",
        f"board  {'-' * 16} {'-' * 32} ----",
        "       B WB - none ^ BUSY",
    ]


def test_one_machine_can_be_watched_alone(run: Run, socket: Path) -> None:
    assert [row[0] for row in rows(run("top", "--once", "--machine", "board").out)] == [
        "MACHINE",
        "board",
    ]
    code, _, err = run("top", "--once", "--machine", "no")
    assert code == 2
    assert "there is no machine 'no' that you may see (there are pat, board)" in err


def test_json_is_the_report_on_one_line(run: Run, contended: Path) -> None:
    code, out, _ = run("top", "--once", "--json")
    report = json.loads(out)
    pat, _ = report["machines"]

    assert (code, out.count("\n")) == (0, 1)
    assert report["service"]["connections"] == 3
    ((waits, holds),) = pat["waits_for"]
    assert [it["process_id"] for it in pat["processes"]] == [holds, waits]


def test_views_follow_each_other_with_the_rate_between_them(
    run: Run, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("memhub.cli.top.time.sleep", nap)
    code, out, _ = run("top", "--interval", "0.25")
    first, second = (line for line in out.splitlines() if line.startswith("memhub"))

    assert (code, naps) == (130, [0.25, 0.25])
    assert not first.endswith("/s")
    assert second.endswith("/s")


@pytest.mark.parametrize("interval", ["0", "-1", "inf", "nan", "soon"])
def test_an_interval_is_a_time_to_come(run: Run, socket: Path, interval: str) -> None:
    code, _, err = run("top", f"--interval={interval}")

    assert (code, "is not a number of seconds above 0" in err) == (2, True)


def test_machines_of_a_file_can_be_looked_at_too(run: Run, lab: Path) -> None:
    code, out, _ = run("top", "--once", "--config", lab, "--machine", "netbook")

    assert code == 0
    assert out.splitlines()[0] == "machines of this command's own"
    assert rows(out)[1][:3] == ["netbook", "i386", "8/8"]


@pytest.mark.parametrize("columns", [40, 120])
@pytest.mark.parametrize("rich", [True, False])
def test_a_terminal_shows_a_view_that_is_renewed_in_place(
    contended: Path, rich: bool, columns: int
) -> None:
    """With rich and without it, and with no number cut on a narrow one."""
    if rich:
        pytest.importorskip("rich")

    master, slave = pty.openpty()
    hide = "" if rich else "sys.modules['rich.live'] = None;"
    code = f"import sys; {hide} from memhub.cli import main; sys.exit(main(sys.argv[1:]))"
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns), "LINES": "60"}
    with subprocess.Popen(
        [sys.executable, "-c", code, "top", "--interval", "0.01"],
        stdout=slave,
        stderr=slave,
        env=environment,
    ) as process:
        os.close(slave)
        seen = b""
        while seen.count(b"\x1b[H") < 3 or b"waits" not in seen.rpartition(b"\x1b[H")[2]:
            seen += os.read(master, 65536)

        process.terminate()
        os.close(master)

    assert b"0x200000/0x1000" in seen
    assert (b"SLOTS 1/4" in seen) == (columns == 40)
    assert (b"\x1b[?1049h" in seen) == rich
    assert (b"memhub[cli]" in seen) != rich


# Strips


def test_a_range_that_is_held_stands_in_the_strip_over_its_sign(run: Run, contended: Path) -> None:
    _, strip, busy, *_ = strips(run("top", "--once").out)

    assert strip[strip.index("c")] == busy.strip().replace("^", "c")
    assert strip.index("c") == busy.index("^")


def test_the_health_of_a_machine_stands_below_its_strip(run: Run, socket: Path) -> None:
    with BlockingClient(socket) as client:
        client.add_fault(FaultRule(action="errno", name="no-reads", op="read", machine="board"))
        client.add_fault(FaultRule(action="delay", name="slow", op="explain", delay=0.001))
        with client.open("pat:/dev/mem") as handle:
            handle.explain(0)

        client.add_fault(Sickness(action="stuck_slot", slot=0, name="stuck", machine="pat"))
        client.hardware.suspend("pat")
        lines = strips(run("top", "--once").out)

    assert lines.pop(-2) == "any    fault slow delay 1/1"
    assert [line.strip() for line in lines if not line[:1].strip()] == [
        "0                1M                               4G  64G",
        "SUSPENDED  sick: stuck",
        "fault no-reads errno 0/0",
        "B WB - none ^ BUSY",
    ]


def test_a_service_without_maps_and_faults_has_no_strips(
    run: Run, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier version refuses both."""

    def refuse(*_: Any) -> Any:
        raise NotSupported("no")

    report = BlockingClient.report
    monkeypatch.setattr(BlockingClient, "list_faults", refuse)
    monkeypatch.setattr(
        BlockingClient, "report", lambda it, what="": (refuse if what else report)(it)
    )
    code, out, err = run("top", "--once")

    assert (code, err) == (0, "")
    assert [line.split()[0] for line in out.splitlines()[2:]] == ["MACHINE", "pat", "board"]


def test_strips_fit_every_width_with_names_of_any_length() -> None:
    names = ["a", "b" * 24, "c" * 90, "名" * 30]
    machines: list[dict[str, Any]] = [{"machine": it, "failed": {"reason": "x"}} for it in names]
    maps = [map_at_start(pc())._replace(machine=it) for it in names]
    faults = [{"name": "f" * 200, "action": "errno", "injected": 1, "seen": 2}]
    for columns in (20, 45, 60, 80, 120, 200):
        lines = ["".join(t for t, _ in it) for it in strip_lines(machines, maps, faults, columns)]
        assert max(map(cells, lines)) <= columns
        assert sum("FAILED" in line for line in lines) == len(names)
        assert any("BBBBBBBBBBUUPPPP" in line for line in lines) == (columns >= 45)
        told = "the address space is shown from 45 columns on" in " ".join(map(str.strip, lines))
        assert told == (columns < 45)


def test_a_well_machine_has_no_mark_and_each_trouble_has_one() -> None:
    sick = {"suspended": {"seconds": 3}, "cpus": [1, 3], "sicknesses": ["a", "b"]}
    faults = [
        {"name": "f", "action": "delay", "injected": 3, "seen": 10, "machine": "m"},
        {"name": "g", "action": "drop", "injected": 0, "seen": 0, "machine": "other"},
        {"name": "a", "action": "stuck_slot", "count": 2, "machine": "m"},
    ]
    row = {"machine": "m", "failed": {"reason": "x"}, "sick": sick}

    assert list(health_marks({"machine": "m", "failed": None, "sick": None}, [])) == []
    assert [text for text, _ in health_marks(row, faults)] == [
        "FAILED", "SUSPENDED", "CPUs 1,3 out of step", "sick: a,b", "fault f delay 3/10",
    ]  # fmt: skip


# What the words mean


def view(**machine: Any) -> str:
    row = {
        "machine": "m",
        "arch": "amd64",
        "slots": 2,
        "used": 1,
        "generation": 3,
        "processes": [],
        "claims": [],
        "commits": [],
        "waits": [],
        **machine,
    }

    return text("", list(sheets({"machines": [row]})))


def test_a_commit_makes_its_slots_busy_and_is_listed() -> None:
    who = {"process": "p", "process_id": 1, "pid": None}
    commit = {**who, "base": 0, "length": 4096, "slots": [0, 1], "seconds": 0.02}
    waits = {**who, "op": "set", "base": 0, "length": 1, "seconds": 6000, "waits_for": []}
    out = view(commits=[commit], waits=[waits])

    assert "m        amd64  1/2    2     3 " in out
    assert "m        p        -    0x0/0x1000  0,1    0.0 s" in out
    assert "100 min  a commit" in out


@pytest.mark.parametrize(
    ("slots", "shown"),
    [([], "-"), ([3], "3"), ([0, 1], "0,1"), ([*range(16, 24)], "16-23"), ([1, 4, 5, 6], "1,4-6")],
)
def test_slots_that_follow_one_another_are_a_run(slots: list[int], shown: str) -> None:
    who = {"process": "p", "process_id": 1, "pid": None}
    commit = {**who, "base": 0, "length": 4096, "slots": slots, "seconds": 0.02}

    assert f"0x0/0x1000  {shown} " in view(commits=[commit])


def test_one_who_waits_for_a_process_that_has_no_name_here_gives_its_number() -> None:
    who = {"process": "p", "process_id": 1, "pid": 5}
    waits = {**who, "op": "claim", "base": 0, "length": 1, "seconds": 1, "waits_for": [7, 1]}

    assert view(waits=[waits]).endswith("1.0 s  process 7, p\n")


def test_a_rate_needs_two_reports_of_one_service() -> None:
    def report(requests: int, seconds: float, pid: int = 1) -> dict[str, Any]:
        service = {"pid": pid, "requests": requests, "mono_ns": int(seconds * 1e9)}

        return {"service": {**service, "software": "memhub 1", "connections": 2}}

    assert requests_per_second(report(30, 3), report(10, 1)) == 10
    assert headline(report(30, 3), report(10, 1)) == (
        "memhub 1  pid 1  2 connections  30 requests  10/s"
    )
    for before in (None, {}, report(10, 1, pid=2), report(10, 3)):
        assert requests_per_second(report(30, 3), before) is None


def test_top_shows_what_is_sick_and_suspended(run: Run, socket: Path) -> None:
    assert "sick hardware" not in run("top", "--once").out
    with BlockingClient(socket) as client:
        client.add_fault(Sickness(action="stuck_slot", slot=0, name="stuck"))
        client.hardware.suspend()
        shown = run("top", "--once").out.partition("sick hardware")[2]
        head, row = (line.split() for line in shown.splitlines()[1:3])
        assert head == ["MACHINE", "SUSPENDED", "CPUS", "SICKNESSES"]
        assert (row[0], row[-2:]) == ("pat", ["-", "stuck"])
