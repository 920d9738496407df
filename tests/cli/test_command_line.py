"""What every command owes its user: help that fits, failures in words, nothing half written."""

from __future__ import annotations

import errno
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from memhub.cli.commands import COMMANDS
from memhub.config import load_config

if TYPE_CHECKING:
    from clirun import Run

COLUMNS = 80
ROOT = Path(__file__).parents[2]
MTRR = "reg00: base=0x0c0000000 ( 3072MB), size= 1024MB, count=1: uncachable\n"


def too_wide(text: str) -> list[str]:
    return [line for line in text.splitlines() if len(line) > COLUMNS]


def start(*words: str, hide: str = "", **options: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own; `hide` is a package that is not installed there."""
    hidden = f"sys.modules[{hide!r}] = None;" if hide else ""
    code = f"import sys; {hidden} from memhub.cli import main; sys.exit(main(sys.argv[1:]))"

    return subprocess.run(  # type: ignore[call-overload, no-any-return]
        [sys.executable, "-c", code, *words],
        text=True,
        check=False,
        timeout=60,
        cwd=ROOT,
        **{"capture_output": True, **options},
    )


# Help


@pytest.mark.parametrize("columns", ["80", "200"])
@pytest.mark.parametrize("words", [[], *([name] for name in COMMANDS), ["audit", "show"]])
def test_help_fits_a_terminal(
    run: Run, words: list[str], columns: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    done = run(*words, "--help")

    assert (done.code, done.err) == (0, "")
    assert too_wide(done.out) == []


def test_the_paragraphs_of_a_description_stay_apart(run: Run) -> None:
    assert "\n\nexit codes: " in run("read", "--help").out


def test_the_options_of_serve_say_what_they_replace(run: Run) -> None:
    text = " ".join(run("serve", "--help").out.split())

    assert "the audit log, instead of the file's own" in text
    assert "the socket, instead of the file's own" in text
    assert "likewise" not in text


# The demo


@pytest.mark.parametrize("words", [[], ["--all"]])
@pytest.mark.parametrize("seed", [1, 2, 7])
def test_the_demo_fits_a_terminal(
    run: Run, tmp_path: Path, words: list[str], seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    out = run("demo", "--no-color", "--seed", seed, "--log", "x", *words).out
    *shown, hint = out.splitlines()

    assert too_wide("\n".join(shown)) == []
    assert hint.endswith(" audit show --refused x")


def test_the_demo_is_short_unless_all_is_asked_for(run: Run, tmp_path: Path) -> None:
    short = run("demo", "--no-color", "--log", tmp_path / "x").out.splitlines()
    long = run("demo", "--no-color", "--all", "--log", tmp_path / "x").out.splitlines()

    assert len(short) < 85 < len(long)
    assert any(line.startswith("  … and 23 more") for line in short)
    assert not any("--all" in line for line in long)


@pytest.mark.parametrize("name", ["memhub", "./memhub", "elsewhere"])
def test_the_demos_hint_runs_as_pasted(tmp_path: Path, name: str) -> None:
    """From a path with blanks in it, whether the command is on the path or not."""
    log = tmp_path / "a log.jsonl"
    script = tmp_path / "memhub"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nfrom memhub.cli import main\nsys.exit(main())\n"
    )
    script.chmod(0o755)
    command = [sys.executable, "-m", "memhub"] if name == "elsewhere" else [name]
    path = f"{tmp_path}:{os.environ['PATH']}" if name == "memhub" else os.environ["PATH"]
    places = [str(ROOT), str(ROOT / "plugins"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PATH": path, "PYTHONPATH": ":".join(places)}
    done = subprocess.run(
        shlex.join([*command, "demo", "--log", str(log)]),
        shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    hint = done.stdout.splitlines()[-1]
    pasted = subprocess.run(
        hint, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert (pasted.returncode, pasted.stderr) == (0, "")
    assert "EBUSY" in pasted.stdout


# Event loops that are not there


@pytest.mark.parametrize("backend", ["trio", "uvloop"])
def test_a_missing_event_loop_is_named_before_anything_is_begun(
    tmp_path: Path, backend: str
) -> None:
    log = tmp_path / "log"
    done = start(
        "serve", "configs/lab.toml", "--socket", str(tmp_path / "s"), "--log", str(log),
        "--backend", backend, hide=backend,
    )  # fmt: skip

    assert done.returncode == 2
    assert done.stderr.startswith(f"memhub: the backend {backend} is not installed")
    assert f"memhub[{backend}]" in done.stderr
    assert not log.exists()


def test_the_demo_names_a_missing_trio_and_keeps_an_older_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert start("demo", "--log", str(log)).returncode == 0
    before = log.read_bytes()
    done = start("demo", "--log", str(log), "--backend", "trio", hide="trio")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("memhub: the backend trio is not installed")
    assert log.read_bytes() == before


# Foreign characters


def test_a_terminal_that_knows_few_characters_gets_escapes(tmp_path: Path) -> None:
    config = tmp_path / "x.toml"
    config.write_text('[machines.pc]\narch = "ämd64"\n', encoding="utf-8")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = start("explain", "--config", str(config), "0", env=environment)

    assert done.returncode == 2
    assert "\\xe4md64" in done.stderr


# import


def test_an_import_is_written_whole_or_not_at_all(run: Run, tmp_path: Path) -> None:
    good, bad, out = tmp_path / "good", tmp_path / "bad", tmp_path / "mine.toml"
    good.write_text(MTRR)
    bad.write_text("nothing\n")

    assert run("import", good, "-o", out)[:2] == (0, "")
    before = out.read_text()
    assert load_config(out).machines["imported"].arch == "amd64-mtrr"

    done = run("import", bad, "-o", out)
    assert (done.code, done.out, out.read_text()) == (1, "", before)
    assert run("import", bad).out == ""
    assert sorted(it.name for it in tmp_path.iterdir()) == ["bad", "good", "mine.toml"]


def test_an_import_that_cannot_be_written_leaves_nothing(run: Run, tmp_path: Path) -> None:
    good = tmp_path / "good"
    good.write_text(MTRR)
    missing = tmp_path / "no" / "mine.toml"
    done = run("import", good, "-o", missing)

    assert done.code == 2
    assert f"memhub: {missing}: No such file or directory" in done.err
    link = tmp_path / "link.toml"
    link.symlink_to("real.toml")
    assert run("import", good, "-o", link).code == 0
    assert link.is_symlink()
    assert (tmp_path / "real.toml").read_text() == run("import", good).out


def test_an_import_replaces_a_file_only_by_force(run: Run, tmp_path: Path) -> None:
    good, out = tmp_path / "good", tmp_path / "mine.toml"
    good.write_text(MTRR)
    out.write_text("# mine\n")
    out.chmod(0o600)
    done = run("import", good, "-o", out)

    assert (done.code, done.out, out.read_text()) == (2, "", "# mine\n")
    assert done.err.endswith(f"memhub: {out} exists: --force replaces it\n")
    assert run("import", good, "-o", out, "--force").code == 0
    assert out.read_text() == run("import", good).out
    assert out.stat().st_mode & 0o777 == 0o600
    assert sorted(it.name for it in tmp_path.iterdir()) == ["good", "mine.toml"]


def test_a_file_system_without_links_takes_an_import_too(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    good, out = tmp_path / "good", tmp_path / "mine.toml"
    good.write_text(MTRR)

    assert run("import", good, "-o", out).code == 0
    assert out.read_text() == run("import", good).out
    assert run("import", good, "-o", out).code == 2
    assert sorted(it.name for it in tmp_path.iterdir()) == ["good", "mine.toml"]


def test_a_line_that_is_not_understood_is_refused_if_strictness_is_asked_for(
    run: Run, tmp_path: Path
) -> None:
    good, odd, out = tmp_path / "good", tmp_path / "odd", tmp_path / "mine.toml"
    good.write_text(MTRR)
    odd.write_text(f"{MTRR}reg01: base=garbage\n")
    loose, strict = run("import", odd), run("import", "--strict", odd, "-o", out)

    assert (loose.code, strict.code, out.exists()) == (0, 1, False)
    assert "line not understood: 'reg01: base=garbage'" in loose.err
    assert strict.err.endswith("refused by --strict: line not understood: 'reg01: base=garbage'\n")
    # what /proc/mtrr never says has to be assumed, and is no fault of the text
    assert "assumed: " in run("import", "--strict", good).err
    assert run("import", "--strict", good).out == run("import", good).out


# Numbers


@pytest.mark.parametrize(
    ("words", "says"),
    [
        *((["serve", f"--grace={it}"], f"'{it}' is not a number of seconds from 0 to 86400")
          for it in ("-1", "nan", "inf", "1e400", "86401", "soon")),
        *((["top", f"--interval={it}"], f"'{it}' is not a number of seconds above 0, at most")
          for it in ("0", "-1", "nan", "inf", "1e300")),
        *((["demo", f"--seed={it}"], f"'{it}' is not a whole number from 0 to 4294967295")
          for it in ("-1", "4294967296", "1.5", "9" * 500)),
        *((["import", f"--phys-bits={it}", "/dev/null"], f"{it} is not between 32 and 52")
          for it in ("-1", "31", "53", "9" * 99)),
        *((["read", f"-n={it}", "0"], "is not a number of bytes") for it in ("-1", "1e9", "16E")),
        *((["hexdump", it], "is not an address") for it in ("0x1g", "nan", hex(1 << 64))),
    ],
    ids=lambda it: it[:40] if isinstance(it, str) else " ".join(it)[:40],
)  # fmt: skip
def test_a_number_out_of_bounds_is_refused_with_its_value(
    run: Run, lab: Path, words: list[str], says: str
) -> None:
    takes: dict[str, list[object]] = {"serve": [lab], "top": ["--once", "--config", lab]}
    code, out, err = run(*words, *takes.get(words[0], ()))

    assert (code, out) == (2, "")
    assert says in err


# Clients


def test_a_service_that_is_not_there_is_named(tmp_path: Path) -> None:
    from memhub.service.blocking import BlockingClient

    path = tmp_path / "none.sock"
    with pytest.raises(FileNotFoundError, match=r"none\.sock") as missing:
        BlockingClient(path)

    assert missing.value.filename == str(path)
    path.write_text("")
    with pytest.raises(ConnectionRefusedError, match=r"none\.sock"):
        BlockingClient(path)


async def test_the_asynchronous_client_names_it_too(tmp_path: Path) -> None:
    from memhub import connect

    with pytest.raises(FileNotFoundError, match=r"none\.sock"):
        async with connect(tmp_path / "none.sock"):
            pytest.fail("there is nothing to connect to")
