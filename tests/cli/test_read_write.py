"""`memhub read`, `write`, `hexdump`, `memcontrol`: on a service as on a file of machines."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.abi import MDF_WRITECOMBINE
from memhub.cli import main
from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed
from memhub.cli.hexdump import text
from memhub.cli.write import parse_hex
from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import BOARD, OLD, PAT, SECURE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

CONFIG = """
[machines.pat]
arch = "amd64"
memory = [{ base = 0x0, length = 0xa0000 }, { base = 0x100000, length = "1M" }]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "pat.toml"
    path.write_text(CONFIG)

    return path


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service that MEMHUB_SOCKET names."""
    path = tmp_path / "lab.sock"
    with served(path, PAT, OLD, SECURE, BOARD):
        monkeypatch.setenv("MEMHUB_SOCKET", str(path))
        yield path


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MEMHUB_SOCKET", raising=False)


# What they work on


@pytest.mark.parametrize("words", [("read", "0"), ("hexdump", "0"), ("top", "--once")])
def test_without_a_service_or_a_file_both_ways_are_named(run: Run, words: tuple[str, ...]) -> None:
    code, out, err = run(*words)

    assert (code, out) == (2, "")
    assert "--connect ADDRESS or MEMHUB_SOCKET" in err
    assert "--config FILE" in err


def test_an_option_beats_the_environment_and_both_options_are_too_many(
    run: Run, socket: Path, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("write", "0x1000", "--hex", "41")
    assert "|A" in run("hexdump", "-n", 16, "0x1000").out
    assert "|A" not in run("hexdump", "--config", config, "-n", 16, "0x1000").out

    monkeypatch.setenv("MEMHUB_SOCKET", "/nonexistent")
    assert "|A" in run("hexdump", "--connect", f"unix:{socket}", "-n", 16, "0x1000").out
    assert run("hexdump", "--connect", socket, "--config", config, "0").code == 2


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("/nonexistent/socket", "/nonexistent/socket: No such file or directory"),
        ("tcp:nowhere", "'tcp:nowhere' is not an address of the form tcp:HOST:PORT"),
    ],
)
def test_a_service_that_cannot_be_reached_is_named(run: Run, where: str, words: str) -> None:
    assert run("read", "--connect", where, "0") == (2, "", f"memhub: {words}\n")


def test_a_machine_that_is_not_there_is_refused_with_those_that_are(
    run: Run, socket: Path, config: Path
) -> None:
    served_by, of_file = (
        run("hexdump", *extra, "--machine", "no", "0") for extra in ((), ("--config", config))
    )

    assert (served_by.code, of_file.code) == (1, 2)
    assert "there is no machine 'no' (machines: board, old, pat, secure)" in served_by.err
    assert "there is no machine 'no' (there are pat)" in of_file.err


def test_a_file_of_several_machines_needs_one_to_be_named(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "two.toml"
    path.write_text('[machines.a]\narch = "amd64"\n[machines.b]\narch = "i386"\n')

    assert "say which machine with --machine (a, b)" in run("read", "--config", path, "0").err


# Bytes in and out


def test_what_was_written_is_read_and_shown(run: Run, socket: Path, tmp_path: Path) -> None:
    source, target = tmp_path / "in", tmp_path / "out"
    data = os.urandom(3 << 20)
    source.write_bytes(data)

    done = run("write", "--file", source, "0x100000")
    assert done == (0, "", f"{len(data)} bytes written at 0x100000\n")
    assert run("read", "-n", "3M", "0x100000", "-o", target).code == 0
    assert target.read_bytes() == data


def test_standard_input_and_output_carry_bytes(
    socket: Path, capsysbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"\x00\xff\r\n")))
    assert main(["write", "0x1000", "-"]) == 0
    assert main(["read", "-n", "4", "0x1000"]) == 0
    assert main(["read", "-n", "4", "0x1000", "-o", "-"]) == 0

    assert capsysbinary.readouterr().out == b"\x00\xff\r\n" * 2


def test_a_terminal_is_spared_the_bytes(
    run: Run, socket: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)

    assert "raw bytes are not written to a terminal" in run("read", "0").err


def test_kernel_memory_is_read_by_its_own_addresses(run: Run, socket: Path) -> None:
    run("write", "--machine", "old", "0x2000", "--hex", "6b 65 72 6e")
    done = run("hexdump", "--machine", "old", "--device", "kmem", "-n", 4, "0xc0002000")

    assert done.out.startswith("c0002000  6b 65 72 6e  ")


def test_a_refusal_is_told_and_leaves_an_older_file_alone(
    run: Run, socket: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    older.write_bytes(b"older")
    done = run("read", "1<<40", "-o", older)
    assert (done.code, "'1<<40' is not an address" in done.err) == (2, True)

    code, _, err = run("read", hex(1 << 40), "-o", older)
    assert (code, err[:16]) == (1, "memhub: EFAULT: ")
    assert older.read_bytes() == b"older"

    code, _, err = run("write", "--machine", "secure", "0", "--hex", "00")
    assert (code, err) == (
        1,
        "memhub: EPERM: secure is at securelevel 1: its memory cannot be opened for writing\n",
    )


def test_what_can_be_read_before_the_end_comes_out_before_the_error(run: Run, socket: Path) -> None:
    end = 1 << 36
    code, out, err = run("hexdump", "-n", 64, hex(end - 8))

    assert code == 1
    assert out.splitlines()[0].startswith("ffffffff8  ff ff ff ff ff ff ff ff  ")
    assert out.splitlines()[1] == "1000000000"
    assert "EFAULT" in err


def test_a_write_past_the_end_says_how_far_it_came(run: Run, socket: Path) -> None:
    code, _, err = run("write", hex((1 << 36) - 2), "--hex", "01020304")

    assert code == 1
    assert "EFAULT" in err


@pytest.mark.parametrize("words", [("0",), ("0", "--hex", "00", "-"), ("--hex", "00")])
def test_a_write_has_one_address_and_one_source(
    run: Run, socket: Path, words: tuple[str, ...]
) -> None:
    assert run("write", *words).code == 2


# memcontrol


def test_memcontrol_works_on_a_service_as_on_a_file(run: Run, socket: Path, config: Path) -> None:
    words = "set", "-b", "0x100000", "-l", "0x1000", "-o", "rig", "uncacheable"
    line = "0x100000/0x1000 rig uncacheable active \n"

    assert run("memcontrol", *words) == (0, "", "")
    assert run("memcontrol", "list") == (0, line, "")
    assert run("memcontrol", "--config", config, "list").out == ""
    assert run("memcontrol", "clear", "-o", "rig") == (0, "", "")
    assert run("memcontrol", "list").out == ""


def test_memcontrol_says_who_is_in_the_way(run: Run, socket: Path) -> None:
    with BlockingClient(socket, label="rig-a") as other, other.open("/dev/mem") as handle:
        handle.set_range(0x100000, 0x1000, MDF_WRITECOMBINE, owner="Xorg")
        code, _, err = run("memcontrol", "clear", "-b", "0x100000", "-l", "0x1000")

    assert code == 1
    assert err.startswith("memcontrol: couldn't clear range: Device busy\n  EBUSY: slot 0 ")
    assert f"claimed by rig-a (pid {os.getpid()}) since 2" in err


def test_every_one_of_several_obstacles_has_its_line(run: Run, socket: Path) -> None:
    for slot in range(4):
        run("memcontrol", "set", "-b", 0x100000 + slot * 0x2000, "-l", "0x1000", "uncacheable")

    code, _, err = run("memcontrol", "set", "-b", "0x180000", "-l", "0x1000", "uncacheable")
    assert (code, len(err.splitlines())) == (1, 6)
    assert err.splitlines()[-1] == "  slot 3 0x106000/0x1000 type uncacheable owner user"


# What is written and how


@given(st.lists(st.sampled_from((bytes(16), b"A" * 16, bytes(range(16)))), max_size=6), st.binary())
def test_a_dump_is_what_hexdump_shows(rows: list[bytes], rest: bytes) -> None:
    """However the bytes come, and whether or not lines repeat."""
    data = b"".join(rows) + rest[:20]
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]

    assert text(0, pieces) == text(0, [data]) == expected(data)


def expected(data: bytes) -> str:
    """The rules of hexdump(1), line by line."""
    lines: list[str] = []
    whole = [data[at : at + 16] for at in range(0, len(data), 16)]
    for number, row in enumerate(whole):
        if number and row == whole[number - 1] and len(row) == 16:
            lines += ["*"] if lines[-1] != "*" else []
            continue

        cells = [f"{byte:02x} " for byte in row] + ["   "] * (16 - len(row))
        shown = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{number * 16:08x}  {''.join(cells[:8])} {''.join(cells[8:])} |{shown}|")

    return "\n".join([*lines, f"{len(data):08x}", ""]) if data else ""


def test_the_rules_are_those_of_hexdump_itself(tmp_path: Path) -> None:
    tool = shutil.which("hexdump")
    if tool is None:
        pytest.skip("no hexdump here")

    sample = tmp_path / "sample"
    for data in (b"", b"x", bytes(64) + b"ab" * 20 + bytes(range(256)) + bytes(40)):
        sample.write_bytes(data)
        shown = subprocess.run([tool, "-C", sample], capture_output=True, text=True, check=True)

        assert expected(data) == shown.stdout


def test_addresses_and_amounts_are_read_as_people_write_them() -> None:
    assert [address(it) for it in ("0", "4096", "0xf0000")] == [0, 4096, 0xF0000]
    assert [amount(it) for it in ("16", "0x10", "64K", "1m", "2G")] == [
        16,
        16,
        65536,
        1 << 20,
        2 << 30,
    ]
    for wrong in ("", "K", "-1", "0x", "1<<4", str(1 << 64)):
        with pytest.raises(CommandFailed):
            address(wrong)

        with pytest.raises(CommandFailed):
            amount(wrong)


def test_bytes_are_read_with_or_without_blanks() -> None:
    assert parse_hex("de ad BEEF") == parse_hex("0xdeadbeef") == b"\xde\xad\xbe\xef"
    for wrong in ("f", "xx", "0x0x00"):
        with pytest.raises(CommandFailed, match="not bytes in hex"):
            parse_hex(wrong)


# What it costs


def test_a_command_on_a_service_loads_nothing_heavy(socket: Path) -> None:
    script = (
        "import sys; from memhub.cli import main; code = main(sys.argv[1:]);"
        "print(code, *sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    for words in (["read", "-n", "4", "0x0"], ["hexdump", "0"], ["top", "--once"]):
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, check=True
        )
        code, *modules = done.stderr.split()

        assert code == "0"
        heavy = {
            "anyio",
            "asyncio",
            "numpy",
            "orjson",
            "structlog",
            "pluggy",
            "rich",
            "dataclasses",
        }
        assert heavy & set(modules) == set()
