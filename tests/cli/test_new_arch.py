"""`memhub new-arch` and `memhub check-arch`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from warm import use_warm_interpreters

if TYPE_CHECKING:
    from clirun import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def warm_interpreters(monkeypatch: pytest.MonkeyPatch) -> None:
    """`memhub check-arch` asks in an interpreter of its own; here it is a fork."""
    use_warm_interpreters(monkeypatch)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Both kinds of package, written and installed as they are; where from, and where to."""
    from memhub.cli.new_arch import write_package

    folder = tmp_path_factory.mktemp("new")
    packages = [folder / "coded", folder / "declared"]
    write_package("sparc-v9", packages[0], declared=False)
    write_package("vax", packages[1], declared=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    target = folder / "site"
    command = [*pip, "--no-index", "--target", str(target), *map(str, packages)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    return folder, target


def test_what_is_written_installs_loads_and_passes(site: tuple[Path, Path]) -> None:
    folder, target = site
    tests = [str(folder / it) for it in ("coded", "declared")]
    # what other plugins of this environment warn of is not what is tried here
    without = [word for it in ("cacheprovider", "asyncio", "trio") for word in ("-p", f"no:{it}")]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-q", *without, *tests],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(target)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout


def test_what_is_installed_editable_is_found(tmp_path: Path) -> None:
    from memhub.cli.new_arch import write_package

    write_package("sparc-v9", tmp_path / "coded", declared=False)
    write_package("vax", tmp_path / "declared", declared=True)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    target = tmp_path / "site"
    packages = ["-e", str(tmp_path / "coded"), "-e", str(tmp_path / "declared")]
    command = [*pip, "--no-index", "--target", str(target), *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

    # an editable install is a .pth file, which only a folder of the site reads
    code = (
        "import site, sys; site.addsitedir(sys.argv[1])\n"
        "import memhub; arches = memhub.load_arches(); arches['sparc-v9'], arches['vax']"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_files_are_told_with_the_next_commands(run: Run, tmp_path: Path) -> None:
    done = run("new-arch", "vax-11", "--declared", "--folder", tmp_path / "it")

    assert (done.code, done.err) == (0, "")
    assert {it.relative_to(tmp_path).as_posix() for it in (tmp_path / "it").rglob("*.*")} >= {
        "it/pyproject.toml",
        "it/README.md",
        "it/memhub_vax_11/arch.toml",
        "it/tests/test_vax_11.py",
    }
    assert done.out.splitlines()[-1] == "check it:    memhub check-arch vax-11"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("k6", "architecture 'k6' is there already, of memhub"),
        ("amd64_mtrr", "architecture 'amd64-mtrr' is there already, of memhub"),
        ("K 6", "'K 6' is not a name: it begins with a lower-case letter"),
        ("6k", "'6k' is not a name: it begins with a lower-case letter"),
        ("a--b", "with single - or _ between them"),
        ("../x", "'../x' is not a name"),
    ],
)
def test_a_name_that_cannot_be_is_refused(run: Run, tmp_path: Path, name: str, words: str) -> None:
    done = run("new-arch", name, "--folder", tmp_path / "it")

    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "it").exists()


def test_a_folder_that_is_there_is_left_alone(run: Run, tmp_path: Path) -> None:
    done = run("new-arch", "vax", "--folder", tmp_path)

    assert (done.code, done.err) == (2, f"memhub: {tmp_path} is there already\n")
    assert list(tmp_path.iterdir()) == []


def test_a_sound_architecture_is_told_and_exits_with_0(run: Run) -> None:
    done = run("check-arch", "k6", "--sequences", "2")

    assert done.code == 0
    assert done.out.startswith("k6: sound, by ")


def test_a_file_is_checked_before_it_is_installed(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "arch.toml"
    path.write_text(
        '[arch]\nname = "x"\nsummary = "x"\nslots = 2\norder = ["same"]\n'
        'search = "first free slot"\nkeep_flags = true\ntypes = { uncacheable = "UC" }\n'
    )
    done = run("check-arch", path, "--sequences", "2", "--json")
    (report,) = json.loads(done.out)

    assert done.code == 1
    assert "undeclared-attribute" in [it["rule"] for it in report["findings"]]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["vax"], "architecture 'vax' is not installed"),
        (["amd64", "--option", "slots"], "--option slots: not KEY=VALUE as in TOML"),
        (["k6", "--option", "foo=1"], "--option foo: k6 has no such option, but pae, release"),
        (["k6", "--sequences", "-1"], "--sequences -1 is not at least 0"),
        (["k6", "--seconds", "nan"], "--seconds nan is not at least 0"),
        (["k6", "--cpu", "cores=2"], "--cpu cores: a processor has vendor, signature, phys_bits"),
        (["k6", "--cpu", "vendor=1"], "--cpu vendor=1: it is not of type str"),
        (["k6", "--cpu", "phys_bits=99"], "--cpu: phys_bits 99 is not between 32 and 52"),
        (["k6", "--msr", "1"], "--msr 1: not NUMBER=VALUE"),
        (["k6", "--msr", "0x100000000=0"], "--msr 0x100000000=0: a register has 32 bits of number"),
        (["k6", "--range", "1/2"], "--range 1/2: '' is none of uncacheable"),
        (["k6", "--range", "x:force"], "--range x:force: not BASE/LENGTH:TYPE"),
        (["nowhere.toml"], "nowhere.toml: No such file or directory"),
    ],
)
def test_what_cannot_be_checked_is_told(run: Run, words: list[str], said: str) -> None:
    done = run("check-arch", *words)

    assert done.code == 2
    assert said in done.err


def test_the_machine_and_a_range_can_be_said(run: Run) -> None:
    words = ["--cpu", "phys_bits=40", "--range", "0x200000/0x20000:write-combine,uncacheable"]
    done = run("check-arch", "powerpc", "--sequences", "0", "--msr", "0xfe=0x508", *words)

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("powerpc: sound, by ")


def test_a_check_whose_time_was_over_exits_with_3(run: Run) -> None:
    done = run("check-arch", "amd64", "--seconds", "0")

    assert done.code == 3
    assert "amd64: nothing found, by" in done.out


def test_an_option_that_is_refused_is_a_finding(run: Run) -> None:
    done = run("check-arch", "amd64", "--option", "slots=0")

    assert done.code == 1
    assert "attach-fails: the options are refused: slots: 0x0 is not between" in done.out
