"""`memhub audit` finds where a log breaks, and counts what is in it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

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

    assert len(run("audit", "show", log).out.splitlines()) == len(records)
    shown = run("audit", "show", "--refused", log).out.splitlines()
    assert len(shown) == len(refused)
    assert all(row["errno"] in line for row, line in zip(refused, shown, strict=True))
