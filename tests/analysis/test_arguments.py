"""Arguments of single questions: moments, lengths of time, sizes, and what cannot be asked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from analysis.logs import EMPTY, WALL, WC, attach, change
from memhub.analysis import Analysis, pack
from memhub.audit import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path
    from typing import Any

    from clirun import Run

    Write = Callable[[Iterable[dict[str, Any]]], Path]

TWICE = (1 << 63, 0x1000, WC, "a")


def test_slots_are_wasted_at_a_moment(run: Run, written: Write) -> None:
    log = written(
        [
            attach(0, [TWICE, EMPTY]),
            change(10, ("a", 1), 1, EMPTY, TWICE),
            change(20, ("a", 1), 1, TWICE, EMPTY),
        ]
    )
    second = "2023-11-14T22:13:"
    found = {
        at: len(json.loads(run("audit", "slots", log, "--json", "--at", at).out))
        for at in (2, 3, 4, f"{second}29", f"{second}30", f"{second}39.5", f"{second}40")
    }

    assert WALL == 1_700_000_000 * 10**9
    assert [*found.values()] == [0, 1, 0, 0, 1, 1, 0]
    assert run("audit", "slots", log).out == "nothing was found\n"
    assert run("audit", "slots", log, "--at", "noon").code == 2


@pytest.mark.parametrize(
    "words",
    [
        ["flapping", "--within", "soon"],
        ["flapping", "--within", "0s"],
        ["flapping", "--least", "1"],
        ["contention", "--memory", "much"],
        ["contention", "--memory", "1GB; DROP VIEW records"],
        ["occupancy", "--by", "colour"],
        ["contention", "--json", "--csv"],
        ["pack"],
    ],
    ids=" ".join,
)
def test_a_wrong_argument_is_refused_before_the_log_is_read(run: Run, words: list[str]) -> None:
    done = run("audit", *words, "no-such-log")

    assert done.code == 2
    assert "no-such-log" not in done.err


def test_what_cannot_be_read_is_named(run: Run, packed: Path, demo: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    cases: list[tuple[list[object], str]] = [
        ([tmp_path / "none"], "none: audit log not read: No such file"),
        ([tmp_path / "empty"], "empty: no audit log is in it"),
        ([packed, demo], "a packed set and logs are not questioned together"),
        ([packed, packed], "the log memhub-demo is in two of the packed sets"),
    ]
    for paths, words in cases:
        done = run("audit", "contention", *paths)
        assert (done.code, words in done.err) == (2, True), done.err


def test_a_set_that_lacks_a_file_or_has_a_foreign_manifest_is_refused(
    demo: Path, tmp_path: Path
) -> None:
    pack([demo], tmp_path)
    next(tmp_path.rglob("*.parquet")).unlink()
    with pytest.raises(AuditError, match="the packed set lacks its file"), Analysis([tmp_path]):
        pass

    (tmp_path / "memhub-packed.json").write_text('{"version": 9}')
    for ask in (lambda: Analysis([tmp_path]), lambda: pack([demo], tmp_path)):
        with pytest.raises(AuditError, match="version 9"):
            ask()


def test_a_file_that_cannot_be_written_is_named(run: Run, packed: Path, tmp_path: Path) -> None:
    done = run("audit", "contention", packed, "--parquet", tmp_path / "no" / "file")

    assert done.code == 2
    assert "no/file: No such file or directory" in done.err
