"""`memhub map`: the machines of a file, of the library, of a service and of a log."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import MDF_WRITECOMBINE
from memhub.audit.history.travel import state_at
from memhub.folding import cells
from memhub.machines import names
from memhub.maps.text import PIECES
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


def pieces(out: str) -> dict[int, list[str]]:
    """The words of the line of each piece, by its address."""
    lines = (line.split() for line in out.splitlines())

    return {int(it[0], 16): it[1:] for it in lines if it and it[0].startswith("0x")}


def test_a_real_machine_is_shown_by_its_name(run: Run) -> None:
    code, out, err = run("map", "acer")

    assert (code, err) == (0, "")
    assert out.startswith("acer-aspire-one-8-slots-full  amd64-mtrr, 32 address bits, 8 of 8 slots")
    assert pieces(out)[0x3F800000] == ["8M", "UUUUUU", "UC", "WB", "3,", "UC", "4", "BIOS"]
    assert out.splitlines()[-1] == "B write-back  U uncacheable  P write-protect"


def test_a_file_shows_all_its_machines_or_one(run: Run, lab: Path) -> None:
    heads = re.findall(r"^(\S+)  \S+, \d+ address bits", run("map", lab).out, re.MULTILINE)
    one = run("map", "--config", lab, "--machine", "netbook").out

    assert heads == ["desk", "legacy", "server", "faulty", "netbook", "board"]
    assert one.rpartition("\n\n")[0] in run("map", lab).out
    assert re.findall(r"^(\S+)  \S+, \d+ address bits", one, re.MULTILINE) == ["netbook"]
    code, _, err = run("map", lab, "--machine", "no")
    assert (code, "no machine 'no' (machines: desk, legacy, server" in err) == (2, True)


def test_a_service_shows_what_is_set_and_who_holds_it(run: Run, socket: Path) -> None:
    with BlockingClient(socket, label="rig-a") as client, client.open("/dev/mem", "r+") as handle:
        handle.set_range(BASE, LENGTH, MDF_WRITECOMBINE, owner="Xorg")
        code, out, _ = run("map")
        rows = json.loads(run("map", "--machine", "pat", "--json").out)

    assert code == 0
    assert pieces(out)[BASE][1] == "C"
    assert pieces(out)[BASE][-2:] == ["BUSY", "rig-a"]
    assert "board  arm64" in out
    ((row,), found) = rows, rows[0]["pieces"]
    assert [it["busy"] for it in found if it["base"] == BASE] == [["rig-a"]]
    assert [it["owner"] for it in row["ranges"]] == ["Xorg"]


def test_what_others_may_not_see_is_no_map(run: Run, socket: Path) -> None:
    code, _, err = run("map", "--machine", "no")

    assert code == 1
    assert "no" in err


def test_a_moment_of_a_log_is_what_the_machines_were(run: Run, demo: Path, end: int) -> None:
    for seq in (end, end // 2):
        state = state_at(demo, seq)
        rows: list[dict[str, Any]] = json.loads(
            run("map", "--log", demo, "--at", seq, "--json").out
        )
        assert [row["machine"] for row in rows] == list(state.machines)
        for row, machine in zip(rows, state.machines.values(), strict=True):
            used = [n for it in row["ranges"] for n in range(it["slot"], it["last"] + 1)]
            assert used == list(machine.used)
            claims = machine.claims or ()
            busy = {name for it in row["pieces"] for name in it["busy"]}
            held = {it.process.name for it in claims if it.kind == "range" or it.slots}
            held |= {it.caller.process.name for it in machine.commits or ()}
            assert busy == held


def test_a_log_whose_machines_have_gone_says_when(run: Run, demo: Path, end: int) -> None:
    code, _, err = run("map", "--log", demo)

    assert code == 2
    assert f"ask for what was at {end}" in re.sub(r"\s+", " ", err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "'nothing' is no file; there is no real machine 'nothing'"),
        (("server",), "several real machines are called 'server'"),
        (("acer", "--log", "x"), "give one of SOURCE, --config, --connect and --log"),
        (("acer", "--at", "3"), "--at is about a log: name it with --log"),
        (("acer", "--unverified"), "--unverified is about a log: name it with --log"),
        (("acer", "--out", "x.gif"), "--out 'x.gif' ends in none of .svg, .png, .pdf"),
        (("acer", "--pieces", "0"), "'0' is not a whole number from 1 to 400"),
        (("--log", "x", "--at", "soon"), "'soon' is neither a record's number nor a time"),
        (("acer", "--machine", "b"), "no machine 'b' (machines: acer-aspire-one-8-slots-full)"),
        (("acer", "--out", "/nowhere/x.svg"), "/nowhere/x.svg: No such file or directory"),
    ],
)
def test_wrong_usage_is_named(run: Run, arguments: tuple[str, ...], said: str) -> None:
    code, out, err = run("map", *arguments)

    assert (code, out) == (2, "")
    assert said in re.sub(r"\s+", " ", err)


def test_nothing_named_asks_for_a_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMHUB_SOCKET", raising=False)

    assert "name a running service with --connect" in run("map").err


def test_figures_are_written_whole(run: Run, tmp_path: Path) -> None:
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for form, start in starts.items():
        path = tmp_path / f"map.{form}"
        assert run("map", "acer", "--out", path).code == 0
        assert path.read_bytes().startswith(start)

    assert [it.name for it in tmp_path.iterdir() if it.name.endswith(".part")] == []


def test_a_figure_that_needs_an_extra_names_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)

    assert "pip install 'memhub[report]'" in run("map", "acer", "--out", tmp_path / "a.png").err
    assert run("map", "acer", "--out", tmp_path / "a.svg").code == 0


def test_real_machines_fit_80_columns(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for name in names():
        assert max(cells(line) for line in run("map", name).out.splitlines()) <= 80


@pytest.mark.parametrize("plain", [True, False])
def test_a_terminal_shows_colours_unless_told_not_to(plain: bool) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "NO_COLOR": "1"}
    if not plain:
        del environment["NO_COLOR"]

    command = [sys.executable, "-m", "memhub", "map", "acer"]
    with subprocess.Popen(command, stdout=slave, env=environment) as process:
        os.close(slave)
        seen = b""
        while b"write-protect" not in seen:
            seen += os.read(master, 65536)

        assert process.wait(30) == 0
        os.close(master)

    assert (b"\x1b[" in seen) != plain
    assert b"UUUUUU" in seen


def test_the_help_says_how_many_pieces_are_shown(run: Run) -> None:
    assert f"({PIECES})" in run("map", "--help").out


def test_a_map_is_quick_to_import(tmp_path: Path) -> None:
    """What a text and an SVG do without: a quarter of a second each, or more."""
    heavy = {
        "altair",
        "asyncio",
        "duckdb",
        "ibis",
        "memhub.analysis",
        "numpy",
        "rich",
        "vl_convert",
    }
    code = (
        "import sys; from memhub.cli import main; main(['map', 'acer']); "
        f"main(['map', 'acer', '--out', {str(tmp_path / 'a.svg')!r}]); "
        f"print(sorted({heavy} & {{*sys.modules}}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "[]"
