"""`memhub demo` is the same for a seed, on every event loop, and shows what there is to see."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub.audit import verify

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


@pytest.mark.parametrize("seed", [1, 7])
def test_a_seed_gives_one_output_and_one_log(run: Run, tmp_path: Path, seed: int) -> None:
    log = tmp_path / "demo.jsonl"
    seen = set()
    for backend in ("asyncio", "trio", "asyncio"):
        done = run("demo", "--seed", seed, "--log", log, "--backend", backend)
        assert (done.code, done.err) == (0, "")
        seen.add((done.out, log.read_bytes()))

    assert len(seen) == 1


def test_another_seed_gives_another_run(run: Run, tmp_path: Path) -> None:
    heads = {
        json.loads(run("demo", "--seed", seed, "--json", "--log", tmp_path / "x").out)["audit"][
            "head"
        ]
        for seed in range(4)
    }

    assert len(heads) == 4


@pytest.mark.parametrize("seed", range(6))
def test_every_kind_of_refusal_wait_and_end_is_in_it(run: Run, tmp_path: Path, seed: int) -> None:
    facts = json.loads(run("demo", "--seed", seed, "--json", "--log", tmp_path / "x").out)
    results = {line["result"].split()[0] for line in facts["timeline"]}

    assert {"EBUSY", "EINVAL", "ENOSPC", "EOPNOTSUPP", "EPERM", "EEXIST", "EFAULT"} <= results
    assert {"ETIMEDOUT", "EDEADLK", "waits", "undone", "free", "disconnect", "ok"} <= results
    assert all(line["why"] for line in facts["timeline"] if line["refused"])
    assert [line["what"] for line in facts["timeline"] if line["result"] == "seen"] == [
        "MEMRANGE_GET: slot 89 is BUSY"
    ]


def test_the_tables_and_maps_are_those_of_six_machines(run: Run, tmp_path: Path) -> None:
    facts = json.loads(run("demo", "--json", "--log", tmp_path / "x").out)
    machines = {row["machine"]: row for row in facts["machines"]}

    assert {row["arch"] for row in machines.values()} == {
        "amd64", "amd64-mtrr", "arm64", "i386", "k6", "powerpc"
    }  # fmt: skip
    screen = machines["desk"]["slots"][0]
    assert (screen["attribute"], screen["claimed_by"]) == ("write-through", "wayland")
    assert [0xE0000000, 1 << 28, "WT"] in machines["desk"]["types"]
    assert machines["board"]["types"] == []


def test_the_log_is_written_where_it_says_and_verifies(run: Run, tmp_path: Path) -> None:
    log = tmp_path / "x.jsonl"
    facts = json.loads(run("demo", "--json", "--log", log).out)["audit"]
    verdict = verify(log)

    assert facts["path"] == str(log)
    assert (verdict.ok, verdict.head, verdict.records) == (True, facts["head"], facts["records"])


def test_plain_text_has_no_control_characters_and_a_map_in_letters(
    run: Run, tmp_path: Path
) -> None:
    out = run("demo", "--no-color", "--log", tmp_path / "x").out

    assert "\x1b" not in out
    (strip,) = [line for line in out.splitlines() if line.startswith("server  0 to 1M")]
    assert strip.split()[4] == "B" * 40 + "U" * 8 + "PPPPPPUUPTPTPPPP"


def test_a_file_that_is_no_demos_log_is_left_alone(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "mine"
    file.write_text("precious\n")
    done = run("demo", "--log", file)

    assert (done.code, done.out, file.read_text()) == (2, "", "precious\n")
    assert "is not the log of a demo" in done.err


def test_without_a_file_named_the_log_goes_to_the_cache(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert run("demo", "--seed", 5).code == 0
    assert verify(tmp_path / "memhub" / "demo-5.jsonl").ok
