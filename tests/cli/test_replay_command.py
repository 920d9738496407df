"""`memhub replay` counts, reports each mismatch, and tells a bad file from a bad driver."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

from memhub.rig import trace_lines

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def test_the_last_line_counts(run: Run, data: Path) -> None:
    files = [data / f"freebsd-{name}.open.jsonl.gz" for name in ("k6", "powerpc")]

    assert run("replay", *files) == (0, "scenarios=200 steps=5920 mismatches=0\n", "")


def test_machines_and_types_are_replayed_too(run: Run, data: Path) -> None:
    done = run(
        "replay", data / "machines.open.jsonl", data / "effective-mtrr.open.jsonl.gz", "--json"
    )
    facts = json.loads(done.out)

    assert done.code == 0
    assert (facts["scenarios"], facts["mismatches"], facts["errors"]) == (203, 0, [])
    assert facts["arches"] == {"amd64-mtrr": 203}


def test_one_value_altered_is_one_mismatch(run: Run, data: Path, tmp_path: Path) -> None:
    lines = gzip.decompress((data / "freebsd-k6.open.jsonl.gz").read_bytes()).splitlines()
    trace = json.loads(lines[0])
    trace["steps"][0]["changed"][0][3] = 2
    file = tmp_path / "altered.jsonl"
    file.write_bytes(b"\n".join([json.dumps(trace).encode(), *lines[1:]]))
    done = run("replay", file)

    assert done.code == 1
    mismatch, count = done.out.splitlines()
    assert count == "scenarios=100 steps=3100 mismatches=1"
    assert mismatch == (
        "freebsd-k6-open-0000 step 0: slot 0: "
        "expected 0xf0000000/0x4000000 flags 0x2 (inactive) owner 'Xorg', "
        "found 0xf0000000/0x4000000 flags 0x1 (inactive) owner 'Xorg'"
    )


def test_another_architecture_answers_otherwise(run: Run, data: Path) -> None:
    done = run("replay", "--arch", "powerpc", data / "freebsd-k6.open.jsonl.gz", "--json")

    assert done.code == 1
    assert json.loads(done.out)["details"][0]["scenario"].startswith("freebsd-k6")


def test_an_architecture_that_is_not_installed_is_refused(run: Run, data: Path) -> None:
    done = run("replay", "--arch", "vax", data / "freebsd-k6.open.jsonl.gz")

    assert done.code == 2
    assert "architecture 'vax' is not installed" in done.err


def test_files_that_are_no_traces_are_named_and_the_others_replayed(
    run: Run, data: Path, tmp_path: Path
) -> None:
    good = data / "freebsd-k6.open.jsonl.gz"
    cut, text, empty = tmp_path / "cut.gz", tmp_path / "text", tmp_path / "empty"
    cut.write_bytes(good.read_bytes()[:5000])
    text.write_text('{"id":"freebsd-k6-1","steps":[]}\n')
    empty.write_text("\n")
    done = run("replay", cut, text, empty, good)

    assert (done.code, done.out) == (1, "scenarios=100 steps=3100 mismatches=0\n")

    done = run("replay", cut, text, empty, tmp_path / "nix", good)

    assert (done.code, done.out) == (2, "scenarios=100 steps=3100 mismatches=0\n")
    wrong = done.err.splitlines()
    assert wrong[0].startswith(f"memhub: {cut}: damaged gzip: ")
    assert wrong[1:] == [
        f"memhub: {text}: trace 1: scenario freebsd-k6-1: 'cpu' is missing",
        f"memhub: {empty}: it has no traces",
        f"memhub: {tmp_path / 'nix'}: No such file or directory",
    ]


def test_transfers_are_replayed_and_what_is_not_judged_is_counted(run: Run, data: Path) -> None:
    done = run("replay", data / "transfers" / "freebsd-i386-10.4.open.jsonl.gz")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "not judged: mmap: 233",
        "not judged: user fault: 223",
        "scenarios=300 steps=4202 mismatches=0",
    ]


def test_transfers_of_a_kernel_that_memhub_does_not_have_are_not_understood(
    run: Run, data: Path, tmp_path: Path
) -> None:
    line = trace_lines(data / "transfers" / "freebsd-i386-10.4.open.jsonl.gz")[0]
    file = tmp_path / "other"
    file.write_bytes(line.replace(b"freebsd-i386-10.4", b"netbsd-i386-7.99"))
    done = run("replay", file)

    assert (done.code, done.out) == (1, "scenarios=0 steps=0 mismatches=0\n")
    assert "netbsd-i386-7.99-open-0000: it is of a kernel that memhub does not have" in done.err
