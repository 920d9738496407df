"""`memhub audit` finds where a log breaks, and counts what is in it."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from memhub.audit import AuditLog
from memhub.audit.reading.segments import PACKED
from memhub.cli.audit import duration
from memhub.cli.demo.run import run_demo

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("log") / "a.jsonl"
    run_demo(3, path)

    return path.read_bytes()


@pytest.fixture
def log(whole: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(whole)

    return path


def test_a_whole_log_verifies_and_its_head_is_told(run: Run, log: Path) -> None:
    records = log.read_bytes().count(b"\n")
    facts = json.loads(run("audit", "verify", log, "--json").out)
    code, out, err = run("audit", "verify", log, "--head", facts["head"])

    assert (facts["ok"], facts["records"]) == (True, records)
    assert (code, err) == (0, "")
    assert out == f"{log}: {records} records verified, head {facts['head']}\n"


def test_an_altered_record_is_located(run: Run, log: Path) -> None:
    lines = log.read_bytes().split(b"\n")
    lines[41] = lines[41].replace(b'"errno":', b'"ERRNO":')
    log.write_bytes(b"\n".join(lines))
    code, out, _ = run("audit", "verify", log)
    offset = sum(len(line) + 1 for line in lines[:41])

    assert code == 1
    assert f"broken after 41 records: line 42, byte {offset}, seq 42: " in out


def test_a_log_without_its_end_does_not_hold_the_head_that_was_kept(run: Run, log: Path) -> None:
    head = json.loads(run("audit", "verify", log, "--json").out)["head"]
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:-2]))

    assert run("audit", "verify", log).code == 0
    assert run("audit", "verify", log, "--head", head).code == 1


def test_a_file_that_cannot_be_read_is_no_broken_chain(run: Run, tmp_path: Path) -> None:
    for verb in ("verify", "summary", "show"):
        done = run("audit", verb, tmp_path / "nix")
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"memhub: {tmp_path / 'nix'}: ")


def test_a_summary_counts_records_and_refusals(run: Run, log: Path) -> None:
    facts = json.loads(run("audit", "summary", log, "--json").out)
    records = [json.loads(line) for line in log.read_text().splitlines()]
    errors = [record for record in records if record.get("errno") is not None]
    refused = [record for record in errors if record["event"] != "wait.end"]

    assert len(refused) < len(errors), "a wait that ends in an error is one refusal, not two"
    assert (facts["records"], facts["refused"]) == (len(records), len(refused))
    assert f"{len(records)} records over " in run("audit", "summary", log).out


def test_each_record_is_shown_on_a_line(run: Run, log: Path) -> None:
    records = log.read_text().splitlines()
    refused = [json.loads(line) for line in records if '"errno":"E' in line]

    day, *shown = run("audit", "show", log).out.splitlines()
    assert (day, len(shown)) == ("2026-01-01 UTC", len(records))
    day, *shown = run("audit", "show", "--refused", log).out.splitlines()
    assert len(shown) == len(refused)
    assert all(row["errno"] in line for row, line in zip(refused, shown, strict=True))


# Which records


def numbers(out: str) -> list[int]:
    """The records of `audit show`, whose lines begin with their number."""
    return [int(line.split()[0]) for line in out.splitlines() if line.startswith(" ")]


def selected(log: Path, **members: object) -> list[int]:
    rows = [json.loads(line) for line in log.read_text().splitlines()]

    return [row["seq"] for row in rows if members.items() <= row.items()]


@pytest.mark.parametrize(
    ("words", "members"),
    [
        (["--machine", "k6"], {"machine": "k6"}),
        (["--process", "Xorg"], {"process": "Xorg"}),
        (["--process", "1", "--machine", "desk"], {"process": "Xorg", "machine": "desk"}),
        (["--event", "wait.begin"], {"event": "wait.begin"}),
        (["--op", "pread"], {"op": "pread"}),
        (["--errno", "ebusy"], {"errno": "EBUSY"}),
        (["--since", "12", "--until", "12"], {"seq": 12}),
    ],
)
def test_options_select_records(
    run: Run, log: Path, words: list[str], members: dict[str, object]
) -> None:
    code, out, err = run("audit", "show", *words, log)

    assert (code, err) == (0, "")
    assert numbers(out) == selected(log, **members)


@pytest.mark.parametrize(
    "where",
    ["0xd0000000", "3489660928", "0xd0000000+1M", "0xd0000000-0xd00fffff", "0xd0000000/0x100000"],
)
def test_an_address_or_a_stretch_of_them_selects_what_touches_it(
    run: Run, log: Path, where: str
) -> None:
    found = numbers(run("audit", "show", "--address", where, "--machine", "legacy", log).out)
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    bases = ("before_base", "after_base")
    begin_there = [
        row["seq"]
        for row in rows
        if row.get("machine") == "legacy"
        and 0xD0000000 in (row.get("base"), *(it for key in bases for it in row.get(key, ())))
    ]

    assert len(found) > 3
    assert set(begin_there) <= set(found) <= {*begin_there, *selected(log, event="device.attach")}
    assert numbers(run("audit", "show", "--address", "0xffffffffffffffff", log).out) == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--event", "clam.*"], "'clam.*' is not an event of the log: the nearest are claim.*"),
        (["--errno", "EBUSSY"], "'EBUSSY' is not an errno of the log: the nearest are EBUSY"),
        (["--address", "0x2000-0x1000"], "'0x2000-0x1000' is not a stretch of addresses: LAST is"),
        (["--address", "0x2000+0"], "'0x2000+0' is not a stretch of addresses: LEN is 0"),
        (["--address", "0xffffffffffffffff+2"], "the end is beyond 2**64"),
        (["--address", "screen"], "'screen' is not an address"),
        (["--address", "+5"], "'+5' is not ADDR, BASE+LEN or BASE-LAST"),
        (["--since", "yesterday"], "'yesterday' is neither a record's number nor a time"),
        (["--limit", "0"], "'0' is not a whole number from 1 to"),
        (["--tail", "1e3"], "'1e3' is not a whole number from 1 to"),
        (["--limit", "1", "--tail", "1"], "not allowed with argument"),
    ],
)
def test_what_selects_nothing_that_can_be_is_refused(
    run: Run, log: Path, words: list[str], says: str
) -> None:
    code, out, err = run("audit", "show", *words, log)

    assert (code, out) == (2, "")
    assert says in err


def test_the_times_that_are_shown_can_be_given_back(run: Run, log: Path) -> None:
    day, *lines = run("audit", "show", log).out.splitlines()
    when = f"{day.split()[0]}T{lines[15].split()[1]}"
    found = numbers(run("audit", "show", "--since", when, "--until", when, log).out)
    others = numbers(run("audit", "show", "--until", f"{when}Z", log).out)

    assert 16 in found
    assert others == list(range(1, found[-1] + 1))


def test_the_first_or_the_last_are_enough(run: Run, log: Path) -> None:
    every = selected(log, machine="legacy")

    def show(*words: str) -> list[int]:
        return numbers(run("audit", "show", "--machine", "legacy", *words, log).out)

    assert show("--limit", "3") == every[:3]
    assert show("--tail", "3") == every[-3:]
    assert show("--tail", "100000") == show("--limit", "100000") == every


def test_json_is_the_lines_of_the_log_as_they_are(run: Run, log: Path) -> None:
    lines = log.read_text().splitlines(keepends=True)
    code, out, _ = run("audit", "show", "--json", log)

    assert (code, out) == (0, log.read_text())
    assert run("audit", "show", "--json", "--tail", 2, log).out == "".join(lines[-2:])
    refused = [line for line in lines if '"errno":"EPERM"' in line]
    assert run("audit", "show", "--json", "--errno", "EPERM", log).out == "".join(refused)


def test_a_pipe_is_shown_as_it_comes(log: Path, tmp_path: Path) -> None:
    """The first three come out before the writer has ended, and the fourth has to be read."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with subprocess.Popen(
        [sys.executable, "-m", "memhub", "audit", "show", "--json", "--limit", "3", str(fifo)],
        stdout=subprocess.PIPE,
    ) as process:
        lines = log.read_bytes().splitlines(keepends=True)[:3]
        with fifo.open("wb", buffering=0) as end:
            end.write(b"".join(lines))
            out, _ = process.communicate(timeout=60)

    assert (process.returncode, out) == (0, b"".join(lines))


@pytest.mark.parametrize("how", ["-", "/dev/stdin"])
def test_a_compressed_log_on_standard_input_is_selected_from(log: Path, how: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "memhub", "audit", "show", "--json", "--event", "log.*", how],
        input=gzip.compress(log.read_bytes()), capture_output=True, check=True,
    )  # fmt: skip
    lines = log.read_bytes().splitlines(keepends=True)

    assert done.stdout == lines[0] + lines[-1]


def test_json_on_a_terminal_moves_no_cursor(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "foreign"
    foreign = {"process": "\u202e\u009b2J"}
    with AuditLog.open(path) as writer:
        writer.record({"event": "service.connect", "wall_ns": 1, "mono_ns": 1, **foreign})

    line = path.read_text(encoding="utf-8").splitlines()[1]
    piped = run("audit", "show", "--json", "--event", "service.connect", path).out
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    shown = run("audit", "show", "--json", "--event", "service.connect", path).out

    assert piped == line + "\n"
    assert "\u202e" in piped
    assert "\u202e" not in shown
    assert json.loads(shown) == json.loads(line)


def test_the_last_records_take_a_bounded_memory(
    run: Run, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memhub.cli.audit.record_view._MOST_BYTES", 1 << 14)

    assert run("audit", "show", "--tail", 3, log).code == 0
    code, out, err = run("audit", "show", "--tail", 1000, log)
    assert (code, out) == (2, "")
    assert err.startswith("memhub: --tail 1000: the records have more than ")


def test_a_summary_is_short_unless_all_is_asked_for(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "many"
    with AuditLog.open(path) as writer:
        for number in range(50):
            facts = {"event": "service.connect", "process": f"p{number:02}"}
            day = 86_400_000_000_000
            writer.record({**facts, "wall_ns": number * day, "mono_ns": 1})

    short = run("audit", "summary", path).out
    long = run("audit", "summary", "--all", path).out

    assert len([line for line in short.splitlines() if line.endswith(("p00", "p19", "p20"))]) == 2
    assert "           30  of 30 more: --all\n" in short
    assert "p49" in long
    assert "--all" not in long
    assert "1  p07" in run("audit", "summary", "--process", "p07", path).out


def test_the_length_of_a_log_is_said_in_fitting_units() -> None:
    seconds = (0.1094, 59.9994, 61, 3725, 90_061)

    assert [duration(int(it * 1e9)) for it in seconds] == [
        "0.109 s", "59.999 s", "1 min 1 s", "1 h 2 min", "1 d 1 h",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--op", "set"), ": --op set: the log has claim, close, list, open, pread, pwrite"),
        (("--process", "nobody"), ": --process nobody: the log has Mac"),
        (("--machine", "pc", "--op", "pread"), ": --machine pc: the log has board, desk"),
        (("--refused", "--machine", "desk", "--errno", "EDEADLK"), ""),
    ],
)
def test_who_selects_no_record_is_told_what_the_log_has(
    run: Run, log: Path, options: tuple[str, ...], said: str
) -> None:
    for form in ((), ("--json",), ("--tail", "3")):
        code, out, err = run("audit", "show", log, *options, *form)

        assert (code, out) == (0, "")
        assert f"memhub: no record is selected{said}" in " ".join(err.split())


def test_a_packed_set_says_which_verbs_read_it(run: Run, tmp_path: Path) -> None:
    (tmp_path / PACKED).touch()
    code, _, err = run("audit", "summary", tmp_path)

    assert code == 2
    assert "a packed set answers questions, lint and sql" in " ".join(err.split())


def test_the_state_behind_the_end_of_all_machines_says_where_they_were(run: Run, log: Path) -> None:
    first = next(
        seq for seq, it in enumerate(log.read_bytes().split(b"\n"), 1) if b'"device.detach"' in it
    )
    said = f"the first of them was detached by record {first}: ask for what was at {first - 1}"
    code, out, _ = run("audit", "state", log)

    assert (code, f"no machine; {said}") == (0, " ".join(out.split(maxsplit=4)[4].split()))
    assert "desk" in run("audit", "state", log, "--at", str(first - 1)).out
    assert f"(machines: none); {said}" in " ".join(run("audit", "blame", log, "0").err.split())


def test_a_query_behind_its_log_is_named(run: Run, log: Path) -> None:
    code, _, err = run("audit", "sql", log, "SELECT 1")

    assert code == 2
    assert "is a file and no query: QUERY comes before the logs" in " ".join(err.split())
