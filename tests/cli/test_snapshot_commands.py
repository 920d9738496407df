"""`memhub snapshot`, `restore` and `reset` on a running service; see docs/snapshots.md."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from memhub import Snapshot
from memhub.abi import MDF_UNCACHEABLE
from memhub.cli import main
from memhub.service.blocking import BlockingClient
from shell.kit import ARCHES, M

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


def test_a_service_is_written_down_goes_back_and_is_reset(
    run: Run, socket: Path, tmp_path: Path
) -> None:
    file = tmp_path / "lab.snapshot"
    with BlockingClient(socket) as client, client.open("/dev/mem", "r+") as mem:
        mem.set_range(16 * M, M, MDF_UNCACHEABLE)
        mem.pwrite(b"before", M)
        done = run("snapshot", "--out", str(file))
        assert (done.code, done.err) == (0, "")
        assert done.out == f"memhub: {file}: {file.stat().st_size} bytes\n"
        assert set(Snapshot.load(file, arches=ARCHES).machines) == {"mtrr", "pat"}

        mem.remove_range(16 * M, M)
        mem.pwrite(b"after!", M)
        assert run("restore", str(file)).out == f"memhub: as in {file}: mtrr, pat\n"
        assert mem.pread(6, M) == b"before"
        assert [it.mr_base for it in mem.ranges() if it.mr_base == 16 * M]

        assert json.loads(run("reset", "--machine", "mtrr", "--json").out) == ["mtrr"]
        assert mem.pread(6, M) == bytes(6)
        assert not [it.mr_base for it in mem.ranges() if it.mr_base == 16 * M]


def test_a_dash_is_standard_output_and_input(
    socket: Path,
    tmp_path: Path,
    capsysbinary: pytest.CaptureFixture[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["snapshot", "--out", "-"]) == 0
    data, told = capsysbinary.readouterr()
    assert set(Snapshot.from_bytes(data, arches=ARCHES).machines) == {"mtrr", "pat"}
    assert told == b"memhub: standard output: %d bytes\n" % len(data)
    assert not (tmp_path / "-").exists()

    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert main(["restore", "-"]) == 0
    assert capsysbinary.readouterr().out == b"memhub: as in standard input: mtrr, pat\n"


def test_a_terminal_is_spared_the_bytes(
    run: Run, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    done = run("snapshot", "--out", "-")
    assert (done.code, done.out) == (2, "")
    assert "a snapshot is not written to a terminal: name a file with --out" in done.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ("snapshot", 2, "--out"),
        ("snapshot --out /nowhere/a", 2, "memhub: /nowhere/a: No such file or directory"),
        ("snapshot --out - --json", 2, "--json and --out -: one of both has standard output"),
        ("snapshot --out x --config x.toml", 2, "a snapshot is taken of a running service"),
        ("restore nothing.snapshot", 2, "nothing.snapshot"),
        ("restore {here}", 1, "this is no snapshot of memhub"),
        ("reset --machine nix", 1, "there is no machine 'nix'"),
        ("reset --config x.toml", 2, "a running service is reset"),
    ],
)
def test_what_is_wrong_is_named(
    run: Run, socket: Path, tmp_path: Path, words: str, code: int, says: str
) -> None:
    here = tmp_path / "here"
    here.write_text("[machines]\n")
    done = run(*words.format(here=here).split())

    assert says in done.err
    assert done.code == code
