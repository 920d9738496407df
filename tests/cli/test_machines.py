"""`memhub import`, `memhub explain` and `memhub arches`."""

from __future__ import annotations

import io
import json
import sys
from typing import TYPE_CHECKING

import pytest

from machines import MACHINES
from memhub import arches as loader
from memhub import load_arches
from memhub.config import load_config
from service.served import served

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run


@pytest.fixture
def dump(tmp_path: Path) -> Path:
    file = tmp_path / "mtrr"
    file.write_text(
        "reg00: base=0x00000000 (   0MB), size= 512MB: write-back, count=1\n"
        "reg01: base=0x1ff00000 ( 511MB), size=   1MB: uncachable, count=1\n"
    )

    return file


def test_every_recorded_machine_is_imported_and_explained(run: Run, tmp_path: Path) -> None:
    text, config = tmp_path / "dump.txt", tmp_path / "machine.toml"
    for machine in MACHINES:
        text.write_text(machine["text"])
        done = run("import", text, "--phys-bits", machine["phys_bits"], "--name", "real")
        assert done.code == 0
        config.write_text(done.out)
        rows = machine.get("types", [])[:40]
        if rows:
            done = run("explain", "--config", config, "--json", *(address for address, _ in rows))
            found = [[row["address"], row["type"]] for row in json.loads(done.out)]
            assert (machine["id"], found) == (machine["id"], rows)


def test_an_import_is_toml_that_loads_with_its_oddities_said_twice(
    run: Run, dump: Path, tmp_path: Path
) -> None:
    code, out, err = run("import", dump, "--name", "box")
    config = tmp_path / "box.toml"
    config.write_text(out)

    assert code == 0
    assert load_config(config).machines["box"].cpu.phys_bits == 36
    (oddity,) = [line for line in err.splitlines() if "physical address" in line]
    assert oddity == f"memhub: {dump}: assumed: 36 bits of physical address"
    assert "# - assumed: 36 bits of physical address" in out


def test_an_import_as_json_has_the_registers_and_the_toml(run: Run, dump: Path) -> None:
    facts = json.loads(run("import", dump, "--json", "--arch", "i386").out)

    assert (facts["arch"], facts["format"], facts["phys_bits"]) == ("i386", "proc_mtrr", 36)
    assert facts["msr"]["0x201"] == 0xFE0000800
    assert facts["toml"].startswith("# Imported from a proc_mtrr text.")


def test_standard_input_is_imported(run: Run, dump: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(dump.read_bytes())))

    assert run("import", "-").out.startswith("# Imported from a proc_mtrr text.")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--phys-bits", "31"], 2, "phys_bits 31 is not between 32 and 52"),
        (["--arch", "vax"], 2, "architecture 'vax' is not installed"),
        (["--name", "a b"], 2, "'a b' is not a name for a machine"),
    ],
)
def test_a_wrong_argument_of_an_import_is_named(
    run: Run, dump: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run("import", dump, *arguments)

    assert (done.code, done.out) == (code, "")
    assert done.err.startswith(f"memhub: {message}")


def test_a_text_that_tells_nothing_is_refused(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_text("nothing of the sort")
    done = run("import", file)

    assert (done.code, done.out) == (1, "")
    assert "nothing to make a machine of" in done.err


def test_an_explanation_says_what_decides(run: Run, lab: Path) -> None:
    done = run("explain", "--config", lab, "--machine", "server", "0xf0000", "1065353216")

    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        "0xf0000  WP  fixed range 0xf0000-0xf0fff (slot 72): WP",
        "0x3f800000  UC  variable slots 89 (WB) and 92 (UC): UC wins",
    ]


def test_an_explanation_as_json_is_a_list_of_objects(run: Run, lab: Path) -> None:
    (row,) = json.loads(run("explain", "--config", lab, "--json", "0xa0000").out)

    assert list(row) == ["address", "type", "why", "implementation_defined"]
    assert (row["address"], row["type"], row["implementation_defined"]) == (0xA0000, "WB", False)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--machine", "server", str(1 << 40)], 2, "address 0x10000000000 is outside the 40 "),
        (["--machine", "server", "--", "-1"], 2, "address -0x1 is not an unsigned 64-bit number"),
        (["--machine", "server", "ten"], 2, "'ten' is not an address"),
        (["--machine", "nix", "0"], 2, "there is no machine 'nix' (there are desk, legacy, "),
        (["--machine", "board", "0"], 1, "board has no range operations (arm64: "),
    ],
)
def test_what_cannot_be_explained_is_refused(
    run: Run, lab: Path, arguments: list[str], code: int, message: str
) -> None:
    done = run("explain", "--config", lab, *arguments)

    assert (done.code, done.out) == (code, "")
    assert message in done.err


@pytest.mark.parametrize("form", [[], ["--json"]], ids=["lines", "json"])
def test_a_service_explains_as_a_file_does(
    run: Run, lab: Path, tmp_path: Path, form: list[str]
) -> None:
    specs = load_config(lab, arches=load_arches()).machines
    asked = [*form, "--machine", "server", "0xf0000", "0", "1065353216"]
    here = run("explain", "--config", lab, *asked)
    with served(tmp_path / "s", *specs.values()):
        there = run("explain", "--connect", tmp_path / "s", *asked)

    assert (there.code, there.err) == (0, "")
    assert there.out == here.out
    assert "0xf0" in here.out or "983040" in here.out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--machine", "server", str(1 << 40)], 2, "address 0x10000000000 is outside the 40 "),
        (["--machine", "server", "--", "-1"], 2, "address -0x1 is not an unsigned 64-bit number"),
        (["--machine", "board", "0"], 1, "board has no range operations (arm64: "),
        (["--machine", "nix", "0"], 1, "there is no machine 'nix'"),
    ],
)
def test_a_service_says_what_it_cannot_explain(
    run: Run, lab: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    specs = load_config(lab, arches=load_arches()).machines
    with served(tmp_path / "s", *specs.values()):
        done = run("explain", "--connect", tmp_path / "s", *arguments)

    assert (done.code, done.out) == (code, "")
    assert message in done.err


def test_every_mistake_of_a_configuration_is_named(run: Run, tmp_path: Path) -> None:
    config = tmp_path / "wrong.toml"
    config.write_text('[machines.pc]\narch = "i387"\nphys_bits = 99\n')
    done = run("explain", "--config", config, "0")

    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 2
    assert all(line.startswith(f"memhub: {config}: machines.pc.") for line in done.err.splitlines())


def test_the_architectures_are_listed(run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("arches", "--json").out)}

    assert {"amd64", "amd64-mtrr", "arm64", "i386", "k6", "powerpc"} <= set(rows)
    assert rows["i386"]["model"] == "ILP32"
    assert rows["k6"]["attributes"] == ["uncacheable", "write-combine"]
    assert rows["arm64"]["attributes"] == []
    assert "from memhub" in run("arches").out


def test_a_plugin_that_failed_is_named_and_fails_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = loader.load_arches
    monkeypatch.setattr(loader, "load_arches", lambda: whole(plugins=[("odd", object())]))
    code, out, err = run("arches")

    assert code == 0
    assert "i386" in out
    assert err.startswith("memhub: plugin 'odd' of the caller: ")
