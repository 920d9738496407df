"""What people read fits 80 columns, in a pipe as on a terminal, whatever the names in it.

Some outputs keep their lines: those of memcontrol list and hexdump -C have another program's form,
and the demo's last line and a verifier key are there to be pasted.
"""

from __future__ import annotations

import errno
import os
import pty
import re
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import AuditLog, Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.cli import main
from memhub.cli.commands import COMMANDS as NAMES
from memhub.config import load_config
from memhub.errors import DeviceError
from memhub.folding import cells, fold
from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import BOARD, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

    from clirun import Run

COLUMNS = 80
ROOT = Path(__file__).parents[2]
NAME = "a-machine-whose-name-is-as-long-as-names-become-" + "x" * 60
PROCESS = "a process with a 名前 that is long " + "y" * 90
CONFIG = f"""
default = "{NAME}"
[machines.{NAME}]
arch = "amd64"
[machines.pc]
arch = "amd64-mtrr"
phys_bits = 52
[machines.board]
arch = "arm64"
"""
HIGH = 0xFFFFF00000000


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a long path: a configuration, texts to import, a log and a broken one."""
    path = tmp_path_factory.mktemp("w") / ("d" * 100)
    path.mkdir()
    (path / "lab.toml").write_text(CONFIG, encoding="utf-8")
    (path / "odd").write_text(
        "reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable\n"
        f"reg01: base={'garbage' * 30}\n"
    )
    (path / "none").write_text("nothing of the kind\n")
    (path / "wrong.toml").write_text(f'[machines.{NAME}]\narch = "{"a" * 90}"\n')
    anyio.run(_contend, path)
    lines = (path / "audit.jsonl").read_bytes().splitlines(keepends=True)
    (path / "broken.jsonl").write_bytes(b"".join((*lines[:5], *lines[6:])))

    return path


async def _contend(folder: Path) -> None:
    """Requests with long names and high addresses, granted and refused."""
    config = load_config(folder / "lab.toml")
    with AuditLog.open(folder / "audit.jsonl") as log:
        hub = Hub(config.machines.values(), default=NAME, log=log)
        async with hub, hub.process(PROCESS) as one, hub.process(PROCESS + " 2") as two:
            mine = await one.open(f"{NAME}:/dev/mem", "r+")
            theirs = await two.open(f"{NAME}:/dev/mem", "r+")
            await mine.set_range(0xF00000000, 0x3000, MDF_WRITECOMBINE, owner="ownerXY")
            for handle, base in ((theirs, 0xF00000000), (mine, HIGH)):
                with pytest.raises(DeviceError):
                    await handle.set_range(base, 0x3000, MDF_UNCACHEABLE, owner="ownerXY")


Show = Callable[[list[str]], tuple[int, str]]


@pytest.fixture(params=["piped", "terminal"])
def show(request: pytest.FixtureRequest, run: Run, monkeypatch: pytest.MonkeyPatch) -> Show:
    """A command's exit code, and what it writes to both streams."""
    monkeypatch.delenv("COLUMNS")
    monkeypatch.chdir(ROOT)

    def piped(words: list[str]) -> tuple[int, str]:
        code, out, err = run(*words)

        return code, f"{out}{err}"

    return piped if request.param == "piped" else _run_on_terminal


def _run_on_terminal(words: list[str]) -> tuple[int, str]:
    """With colour; what a progress bar has shown is there too."""
    with _terminal() as (master, stream), ThreadPoolExecutor(1) as reader:
        shown = reader.submit(lambda: b"".join(iter(lambda: _read(master), b"")))
        kept = {fd: os.dup(fd) for fd in (1, 2)}
        try:
            for fd in kept:
                os.dup2(stream.fileno(), fd)

            with pytest.MonkeyPatch.context() as patch:
                patch.delenv("NO_COLOR", raising=False)
                patch.setenv("TERM", "xterm")
                for name in ("stdout", "__stdout__", "stderr", "__stderr__"):
                    patch.setattr(sys, name, stream)

                code = main(words)
        finally:
            for fd, copy in kept.items():
                os.dup2(copy, fd)
                os.close(copy)

            stream.close()

    return code, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.result().decode())


@contextmanager
def _terminal() -> Iterator[tuple[int, TextIO]]:
    """A terminal's far end, and the stream of the program that it is the terminal of."""
    import termios

    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (50, COLUMNS))
    try:
        with open(slave, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
            yield master, stream
    finally:
        os.close(master)


def _read(master: int) -> bytes:
    try:
        return os.read(master, 65536)
    except OSError as error:
        if error.errno != errno.EIO:  # how Linux says that the other end is closed
            raise

        return b""


def too_wide(text: str) -> list[str]:
    return [line for line in re.split(r"[\r\n]+", text) if cells(line) > COLUMNS]


ADDRESSES = ["0xf00000000", "0x0", hex(HIGH)]

#: What is run, the exit code, and words that it must have written, wherever the lines are broken.
COMMANDS = [
    (["arches"], 0, "write-protect"),
    (["audit", "verify", "{folder}/audit.jsonl"], 0, "records verified, head"),
    (["audit", "verify", "{folder}/broken.jsonl"], 1, "missing or moved (expected 6, found 7)"),
    (["audit", "show", "{folder}/audit.jsonl"], 0, "0xf00000000+12K write-combine"),
    (["audit", "show", "--errno", "EBUSSY", "{folder}/audit.jsonl"], 2, "EBUSY"),
    (["audit", "show", "--event", "nonsense", "{folder}/audit.jsonl"], 2, "service.reject"),
    (["audit", "state", "--at", "9", "{folder}/audit.jsonl"], 0, "0xf00000000+12K write-combine"),
    (["audit", "state", "{folder}/audit.jsonl"], 0, "no machine"),
    (["audit", "state", "--machine", "nix", "{folder}/audit.jsonl"], 2, "there is no machine"),
    (["audit", "state", "{folder}/broken.jsonl"], 1, "missing or moved (expected 6, found 7)"),
    (["audit", "diff", "{folder}/audit.jsonl", "4", "9"], 0, "empty -> 0xf00000000+12K"),
    (["audit", "blame", "--at", "9", "{folder}/audit.jsonl", "0xf00000000"], 0, "UC -> WC"),
    (["audit", "--help"], 0, "blame"),
    (["audit", "diff", "--help"], 0, "LOG2"),
    (["audit", "summary", "{folder}/audit.jsonl"], 0, "records over"),
    (["audit", "show", "{folder}/lab.toml"], 2, "line 1 is not a record"),
    (["import", "{folder}/odd", "--force", "-o", "{folder}/made.toml"], 0, "not understood"),
    (["import", "{folder}/none"], 1, "nothing to make a machine of"),
    (["import", "--strict", "{folder}/odd", "-o", "{folder}/x.toml"], 1, "refused by --strict"),
    (["explain", "--config", "{folder}/lab.toml", "--machine", "pc", *ADDRESSES], 0, "0x0"),
    (["explain", "--config", "{folder}/lab.toml", "--machine", "nix", "0"], 2, "there are"),
    (["explain", "--config", "{folder}/wrong.toml", "0"], 2, "memhub: "),
    (["explain", "--connect", "{folder}/none.sock", "0"], 2, "memhub: "),
    (["top", "--once", "--config", "{folder}/lab.toml"], 0, "MACHINE"),
    (["memcontrol", "--config", "{folder}/lab.toml", "--machine", "pc", "set", "-b", "zz",
      "-l", "0x1001", "-o", "z" * 99, "write-back"], 1, "can't set range"),
    (["read", "--config", "{folder}/lab.toml", "--machine", "board", "-n", "1",
      "-o", "{folder}/no/file", "0x0"], 1, "memhub: "),
    (["replay", "{folder}/odd", "tests/data/machines.open.jsonl"], 1, "scenarios="),
    (["frobnicate"], 2, "there is no command"),
    (["serve", "--grace", "-1", "{folder}/lab.toml"], 2, "from 0 to 86400"),
    (["serve", "{folder}/wrong.toml"], 2, "memhub: "),
    (["exec", "--config", "{folder}/lab.toml", "--machine", "nix", "--", "true"], 2, "there are"),
    (["--help"], 0, "commands:"),
    (["machines"], 0, "acer-aspire-one"),
    (["machines", "acer-aspire-one"], 0, "write-protect: slot 0"),
    (["machines", "nix-" + "z" * 90], 1, "there is no real machine"),
    (["plugins"], 0, "architectures"),
    (["check-arch", "nix-" + "z" * 90], 2, "memhub: "),
    (["check-arch", "arm64"], 0, "arm64"),
    (["map", "{folder}/lab.toml"], 0, "amd64-mtrr, 52 address bits"),
    (["map", "--log", "{folder}/audit.jsonl", "--at", "9"], 0, "WC 0 ownerXY BUSY"),
    (["map", "nix-" + "z" * 90], 2, "there is no real machine"),
    (["hazards", "--config", "{folder}/lab.toml"], 0, "coherent"),
    (["image", "save", "--config", "{folder}/lab.toml", "--machine", "board", "--out",
      "{folder}/no/file"], 2, "memhub: "),
    (["image", "show", "{folder}/odd"], 2, "say"),
    (["image", "load", "--connect", "{folder}/none.sock", "{folder}/odd"], 2, "memhub: "),
    (["screen", "--config", "configs/devices.toml", "vga"], 0, ""),
    (["screen", "--config", "configs/devices.toml", "card"], 0, ""),
    (["screen", "--config", "configs/devices.toml", "--list"], 0, "frame-buffer"),
    (["screen", "--config", "{folder}/lab.toml"], 2, "shows something"),
    (["write", "--config", "{folder}/lab.toml", "--machine", "board", "0x0", "--file",
      "{folder}/none"], 1, "memhub: EFAULT"),
    (["hexdump", "--config", "{folder}/lab.toml", "--machine", "nix", "0"], 2, "there are"),
    (["plan", "{folder}/odd"], 2, "memhub: "),
    (["compare", "--kernels", "i386,linux-*,openbsd-*"], 1, "linux-6.18 parts from i386"),
    (["compare", "{folder}/odd"], 2, "memhub: "),
    (["rig", "replay", "{folder}/audit.jsonl"], 0, "differ"),
    (["rig", "replay", "{folder}/broken.jsonl"], 1, "missing or moved"),
    (["new-arch", "z" * 90, "--folder", "{folder}/lab.toml"], 2, "memhub: "),
    (["completion", "nix-" + "z" * 90], 2, "invalid choice"),
    (["fault", "list", "--connect", "{folder}/none.sock"], 2, "memhub: "),
    (["snapshot", "--connect", "{folder}/none.sock", "--out", "{folder}/s"], 2, "memhub: "),
    (["restore", "--connect", "{folder}/none.sock", "{folder}/none"], 2, "memhub: "),
    (["reset", "--connect", "{folder}/none.sock"], 2, "memhub: "),
    (["image", "show", "{folder}/odd"], 2, "memhub: "),
    (["image", "--help"], 0, "save"),
    (["demo", "--nonsense"], 2, "memhub demo"),
    (["man", "--nonsense"], 2, "memhub man"),
    *((["audit", verb, "{folder}/audit.jsonl"], 0, "") for verb in (
        "occupancy", "contention", "leaks", "hijacks", "flapping", "slots", "lint", "tail")),
    (["audit", "sql", "select * from records", "{folder}/audit.jsonl"], 0, ""),
    (["audit", "pack", "{folder}/audit.jsonl", "--out", "{folder}/pack"], 0, ""),
    (["audit", "keygen", "lab.example/bench", "--out", "{folder}/lab.toml"], 2, "File exists"),
    (["audit", "prove", "{folder}/audit.jsonl", "3"], 2, "memhub: "),
    (["audit", "check", "{folder}/none", "--key", "k" * 90], 2, "memhub: "),
    (["audit", "restore", "{folder}/audit.jsonl"], 2, "needs --socket"),
    (["audit", "export", "{folder}/audit.jsonl", "--nonsense"], 2, "memhub audit"),
    (["audit", "lnav-format", "--nonsense"], 2, "memhub audit"),
    (["audit", "report", "{folder}/audit.jsonl", "--out", "{folder}/no/x.html"], 2, "memhub: "),
    (["audit", "plot", "nonsense", "{folder}/audit.jsonl", "--out", "{folder}/x.svg"], 2, "memhub"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "code", "says"), COMMANDS, ids=lambda it: " ".join(it[:3]) if type(it) is list else ""
)
def test_a_command_fits_80_columns(
    show: Show, folder: Path, words: list[str], code: int, says: str
) -> None:
    done, out = show([word.format(folder=folder) for word in words])

    assert too_wide(out) == []
    assert (done, says in " ".join(out.split())) == (code, True), out


def test_every_command_and_verb_is_among_them(run: Run) -> None:
    listed = {words[0] for words, _, _ in COMMANDS}
    verbs = {words[1] for words, _, _ in COMMANDS if words[0] == "audit"}
    usage = run("audit", "--help").out
    known = re.findall(r"^    ([a-z-]+)(?: {2,}|$)", usage[usage.index("VERB\n") :], re.MULTILINE)

    assert set(NAMES) - listed == set()
    assert len(known) > 20
    assert set(known) - verbs == set()


@pytest.fixture
def socket(tmp_path: Path) -> Iterator[Path]:
    """A service at which one process with a long name holds a range."""
    path = tmp_path / "lab.sock"
    with served(path, PAT, BOARD), BlockingClient(path, label=PROCESS) as client:
        handle = client.open("/dev/mem")
        handle.set_range(0xF00000000, 0x3000, MDF_WRITECOMBINE, owner="ownerXY")
        yield path


def test_a_client_of_a_service_fits_too(show: Show, socket: Path) -> None:
    where = ["--connect", str(socket)]
    clear = ["memcontrol", *where, "clear", "-b", "0xf00000000", "-l", "0x3000"]
    shown = {
        name: show(words)
        for name, words in (
            ("top", ["top", "--once", *where]),
            ("explain", ["explain", *where, "0xf00000000"]),
            ("clear", clear),
            ("unknown", ["explain", *where, "--machine", NAME, "0"]),
        )
    }

    assert {name: too_wide(out) for name, (_, out) in shown.items()} == {it: [] for it in shown}
    assert [code for code, _ in shown.values()] == [0, 0, 1, 1]
    assert "0xf00000000/0x3000" in shown["top"][1], "a range is not broken while names can be"
    assert "y" * 20 in shown["clear"][1]


def test_columns_may_be_chosen(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    err = run("explain", "--config", folder / "lab.toml", "--machine", "nix", "0").err

    assert len(err.splitlines()) == 1
    assert err.endswith(f"(there are {NAME}, pc, board)\n")


# How a line is folded


def test_a_line_that_fits_stays_as_it_is() -> None:
    assert fold("  two  columns", 14) == ["  two  columns"]
    assert fold("", 20) == [""]


def test_a_long_line_is_broken_at_blanks_and_hangs() -> None:
    assert fold("  one two three", 9) == ["  one two", "    three"]
    assert fold("one  two three", 6, 1) == ["one", " two", " three"]


def test_a_word_longer_than_a_line_is_broken_where_the_line_ends() -> None:
    assert fold("a " + "b" * 12, 8, 2) == ["a bbbbbb", "  bbbbbb"]


def test_characters_that_take_two_columns_count_twice() -> None:
    assert fold("名前名前", 5, 0) == ["名前", "名前"]


@pytest.mark.campaign
def test_a_line_of_megabytes_is_folded_in_proportion_to_its_length() -> None:
    lines = fold("word " * 400_000, 80)

    assert len(lines) > 25_000
    assert max(map(len, lines)) <= 80
