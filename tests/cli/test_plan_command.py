"""`memhub plan`: requests to paste, and an exit code for scripts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

MAP = "0-3G WB\n4G+1G WB\n0xe0000000+256M write-combine\n"


@pytest.fixture
def wanted(tmp_path: Path) -> Path:
    path = tmp_path / "map"
    path.write_text(MAP)

    return path


def test_it_prints_the_requests(run: Run, wanted: Path) -> None:
    done = run("plan", wanted)

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "default UC, 4 of 8 registers; no fewer will do",
        "memcontrol set -b 0xe0000000 -l 0x10000000 -o plan write-combine",
        "memcontrol set -b 0x0 -l 0x80000000 -o plan write-back",
        "memcontrol set -b 0x80000000 -l 0x40000000 -o plan write-back",
        "memcontrol set -b 0x100000000 -l 0x40000000 -o plan write-back",
    ]


def test_what_does_not_fit_shows_the_least_loss(run: Run, wanted: Path) -> None:
    done = run("plan", wanted, "--slots", "2")

    assert done.code == 1
    first, second, *rest = done.out.splitlines()
    assert first == "does not fit: 4 registers are the fewest, and there are 2"
    assert second == "default UC; 1280M stay uncached, no fewer can"
    assert len(rest) == 2


def test_json(run: Run, wanted: Path) -> None:
    fits = json.loads(run("plan", wanted, "--json").out)
    misfit = json.loads(run("plan", wanted, "--slots", "2", "--json").out)

    assert (fits["fits"], fits["default"], len(fits["registers"])) == (True, "UC", 4)
    assert (misfit["fits"], misfit["needs"], misfit["lost"]) == (False, 4, 1280 << 20)


def test_json_without_a_plan(run: Run) -> None:
    done = run("plan", "--want", "0-1G=WC", "--types", "WB", "--json")

    assert done.code == 1
    assert json.loads(done.out) == {
        "fits": False,
        "needs": None,
        "lost": None,
        "reason": "no registers of the types WB give this map, however many there are",
    }


def test_a_machine_s_ram_is_write_back(run: Run) -> None:
    done = run("plan", "--config", "configs/i386.toml", "--want", "0xd0000000+32M=WC", "--json")

    registers = json.loads(done.out)["registers"]
    assert {"base": 0xD0000000, "length": 32 << 20, "type": "WC"} in registers
    assert "WB" in {it["type"] for it in registers}


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "nothing is wanted: give a MAP, --config or --want"),
        (["--want", "0-1G"], 2, "'0-1G' is not a stretch"),
        (["--want", "0-1G=WB", "--width", "20"], 2, "is not a range of a space"),
        (["--want", "2M+1=WB"], 2, "is not made of whole pages of 4096"),
        (["--want", "0-1G=WC", "--types", "WB"], 1, "no registers of the types WB give this map"),
        (["--want", "0-1G=WC", "--types", "WX"], 2, "'WX' is not a memory type"),
        (["--want", "0-1G=WB", "--slots", "x"], 2, "is not a whole number from 0 to 256"),
        (["no-such-file"], 2, "no-such-file"),
        (["--config", "configs/i386.toml", "--machine", "nix"], 2, "no machine 'nix' (there"),
        (["--want", "0-1G=WB", "--machine", "i386"], 2, "--machine i386: say with --config"),
        (["--want", "0-1G=WB", "--types", "WB,any"], 2, "'any' is not one"),
        (["--want", "0-100=WB"], 2, "0x0-0x64 is not made of whole pages"),
        (["--want", "0x200800-4M=WB"], 2, "0x200800-0x400000 is not made of whole pages"),
        (["--want", "1G-2G=WB", "--tom2", "5"], 2, "tom2 0x5 is not a page from 0x100000000"),
    ],
)
def test_what_is_wrong_is_named(run: Run, words: list[str], code: int, says: str) -> None:
    done = run("plan", *words)

    assert (done.code, done.out) == (code, "")
    assert says in " ".join(done.err.split())


def test_an_architecture_says_what_there_is_to_plan_with(run: Run) -> None:
    words = ("--want", "0xd0000000+256M=WC", "--want", "0xd0100000+1M=UC", "--json")
    hardware = json.loads(run("plan", *words).out)
    driver = json.loads(run("plan", *words, "--arch", "i386").out)

    assert {it["type"] for it in hardware["registers"]} == {"UC", "WC"}
    assert {it["type"] for it in driver["registers"]} == {"WC"}  # it refuses UC inside WC
    assert (len(hardware["registers"]), len(driver["registers"])) == (2, 8)


def test_what_the_options_say_replaces_what_the_architecture_has(run: Run) -> None:
    words = ("plan", "--want", "0-3G=WB", "--arch", "i386")
    assert "2 of 8 registers" in run(*words, "--default", "UC").out
    assert "2 of 3 registers" in run(*words, "--default", "UC", "--slots", "3").out
    assert "36 address bits reach no" in run(*words, "--want", "0-1T=WB").err
    assert run(*words, "--width", "40", "--want", "0-1T=WB").code == 0
    refused = " ".join(run(*words, "--types", "WC").err.split())
    assert "types WC that overlap as the driver allows" in refused


def test_a_machine_of_a_file_has_its_registers_under_another_architecture(run: Run) -> None:
    words = ("plan", "--config", "configs/i386.toml")
    assert run(*words, "--arch", "openbsd-amd64").out == run(*words).out
    assert "k6 cannot be planned for: it has no ranges" in run(*words, "--arch", "k6").err


def test_a_machine_of_memory_alone_is_told_what_turns_its_mtrrs_on(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "r.toml"
    words = ("plan", "--config", path, "--arch", "i386")
    machine = '[machines.r]\narch = "i386"\nmemory = [{base = "0", length = "64M"}]\n'
    path.write_text(machine)
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert "MTRRs off: a table [machines.r.mtrr], even an empty one" in " ".join(done.err.split())
    path.write_text(f"{machine}[machines.r.mtrr]\n")
    assert "1 of 8 registers" in run(*words).out
    path.write_text(f"{machine}[machines.r.cpu]\nmtrr = false\n")
    assert run(*words).err.rstrip().endswith("i386 cannot be planned for: it has no ranges")


def test_an_architecture_that_cannot_be_planned_for_says_why(run: Run) -> None:
    done = run("plan", "--want", "0-1G=WB", "--arch", "amd64")
    why = "amd64 cannot be planned for: one of its ranges covers any whole pages"

    assert (done.code, done.out) == (2, "")
    assert why in " ".join(done.err.split())
    assert "architecture 'nix' is not installed" in run("plan", "-", "--arch", "nix").err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("2G-1G WB", "'2G-1G WB' has no bytes: its end 0x40000000 is not behind its start"),
        ("1G+0 WB", "'1G+0 WB' has no bytes"),
        ("0-1T WB", ("0x0-0x10000000000 is not a range of a space that ends at 0x1000000000: 36 "
         "address bits reach no further")),
        ("0+0x1001 UC", "'0+0x1001 UC': 0x0-0x1001 is not made of whole pages of 4096"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_range_is_named_with_its_file_and_rule(
    run: Run, tmp_path: Path, line: str, says: str
) -> None:
    path = tmp_path / "map"
    path.write_text(f"0-1G WB\n{line}\n")
    done = run("plan", path)

    assert (done.code, done.out) == (2, "")
    assert f"{path}: line 2: " in " ".join(done.err.split())
    assert says in " ".join(done.err.split())
    assert says in " ".join(run("plan", "--want", line).err.split())


KERNELS = """
[machines.lin]
arch = "amd64"
kernel = "linux-2.6.32"
[machines.net]
arch = "amd64"
kernel = "netbsd-7"
[machines.old]
arch = "i386"
kernel = "linux-6.18"
cpu = { vendor = "Cyrix", mtrr = false }
"""


@pytest.mark.parametrize(
    ("machine", "line"),
    [
        ("lin", 'echo "base=0xd0000000 size=0x1000000 type=write-combining" > /proc/mtrr'),
        ("net", "set [0xd0000000, 0x1000000, 1, 4, 0]"),
    ],
)
def test_requests_are_said_to_the_kernel_of_the_machine(
    run: Run, tmp_path: Path, machine: str, line: str
) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(KERNELS)
    done = run("plan", "--config", path, "--machine", machine, "--want", "0xd0000000+16M=WC")
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines()[1:] == [line]


def test_a_processor_without_mtrrs_is_not_planned_for(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "lab.toml"
    path.write_text(KERNELS)
    done = run("plan", "--config", path, "--machine", "old", "--want", "0xd0000000+16M=WC")
    assert (done.code, done.out) == (2, "")
    assert "old cannot be planned for: its processor has no MTRRs" in done.err
