"""`memhub rig replay` and `memhub rig shrink`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub.audit import verify
from rig.test_log_replay import write_log

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "a.jsonl"
    write_log(path, "amd64-mtrr", 1, 300)

    return path


def test_a_log_is_replayed_on_its_own_machines(run: Run, log: Path) -> None:
    done = run("rig", "replay", log)
    assert done.code == 0
    assert done.out.splitlines()[-1].endswith(" differences=0")


def test_differences_are_printed_and_make_the_exit_code_1(run: Run, log: Path) -> None:
    done = run("rig", "replay", log, "--arch", "powerpc", "--json")
    assert done.code == 1
    facts = json.loads(done.out)
    text = run("rig", "replay", log, "--arch", "powerpc").out
    assert facts["differences"][0]["request"] in text
    assert f"requests={facts['steps']} differences={len(facts['differences'])}" in text


def test_a_log_is_shrunk_and_what_is_left_replayed(run: Run, log: Path, tmp_path: Path) -> None:
    out = tmp_path / "small.jsonl"
    done = run("rig", "shrink", log, "--against", "powerpc", "--out", out)
    assert done.code == 0
    assert "  3. amd64-mtrr: p3 update 0x0+0x8000 uncacheable\n3 of 2" in done.out
    assert verify(out).ok
    assert run("rig", "replay", out).code == 0
    assert run("rig", "replay", out, "--arch", "powerpc").code == 1
    steps = json.loads(run("rig", "shrink", log, "--against", "powerpc", "--json").out)["steps"]
    assert [it["request"].split()[2] for it in steps] == ["open", "update", "update"]


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("replay nothing.jsonl", 2, "nothing.jsonl"),
        ("replay {log} --arch vax", 2, "vax"),
        ("replay {log} --arch k6 --config x.toml", 2, "--arch and --config: one of both"),
        ("shrink {log}", 2, "one of --check, --against and --config says what fails"),
        ("shrink {log} --against amd64-mtrr", 1, "does not fail"),
        ("shrink {log} --check /nowhere/program", 2, "the check cannot be run"),
    ],
)
def test_what_is_wrong_is_named(run: Run, log: Path, words: str, code: int, says: str) -> None:
    done = run("rig", *words.format(log=log).split())
    assert says in done.err + done.out
    assert done.code == code


@pytest.mark.parametrize("verb", ["replay", "shrink --against powerpc"])
def test_a_machine_that_the_log_does_not_have_is_named(run: Run, log: Path, verb: str) -> None:
    done = run("rig", *verb.split(), str(log), "--machine", "nope")
    assert done.code == 2
    assert "has no record of a machine 'nope'" in done.err


def test_no_log_is_appended_to(run: Run, log: Path) -> None:
    before = log.read_bytes()
    done = run("rig", "shrink", str(log), "--against", "powerpc", "--out", str(log))
    assert done.code == 2
    assert "there is a log already" in done.err
    assert log.read_bytes() == before


@pytest.mark.parametrize("verb", ["replay", "shrink --against powerpc"])
def test_a_log_whose_chain_breaks_is_not_taken_for_what_happened(
    run: Run, log: Path, verb: str
) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:50] + lines[51:]))
    done = run("rig", *verb.split(), str(log))
    assert done.code == 1
    assert "broken after 50 records" in done.err
    assert done.out == ""
    assert run("rig", *verb.split(), str(log), "--unverified").out


def test_a_target_that_cannot_be_written_is_named_before_the_work(
    run: Run, log: Path, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    words = ("rig", "shrink", log, "--check", f"sh -c 'touch {ran}; exit 1'")
    done = run(*words, "--out", "/nonexistent/x")
    assert (done.code, done.out) == (2, "")
    assert done.err == "memhub: /nonexistent/x: No such file or directory\n"
    assert not ran.exists()
    done = run("rig", "shrink", log, "--check", "/nonexistent/command")
    assert "the check cannot be run: /nonexistent/command: No such file" in done.err
    done = run("rig", "shrink", log, "--against", "amd64-mtrr", "--out", tmp_path / "none")
    assert (done.code, (tmp_path / "none").exists()) == (1, False)


def test_what_is_left_of_a_log_goes_to_standard_output(run: Run, log: Path, tmp_path: Path) -> None:
    done = run("rig", "shrink", log, "--against", "powerpc", "--out", "-")
    assert done.code == 0
    assert "3 of 2" in done.err
    (tmp_path / "small.jsonl").write_text(done.out)
    assert verify(tmp_path / "small.jsonl").ok
