"""Every block of code in the pages is run: here, or by the test that the table names."""

from __future__ import annotations

import ast
import io
import shlex
import sys
import tomllib
from contextlib import redirect_stdout
from inspect import signature
from textwrap import indent
from typing import TYPE_CHECKING, Any

import anyio
import pytest

import benchmarks.__main__
import memhub
import memhub.exec
from memhub import load_config
from memhub.audit.seals.signed_note import SigningKey, write_signing_key
from memhub.cli.demo.run import run_demo
from pages.page_blocks import DOCS, ROOT, Block, blocks, pages
from service.served import served

if TYPE_CHECKING:
    from pathlib import Path

HERE = "tests/pages/test_snippets.py"
START = "tests/pages/test_start_pages.py"
COMMANDS = "tests/pages/test_commands.py"

#: The test that runs or compares the blocks of a page, by their language.
TESTED: dict[str, dict[str, str]] = {
    "README.md": {
        "sh": ".ci/run",
        "text": "tests/test_readme.py",
        "python": "tests/test_readme.py",
        "toml": "tests/test_readme.py",
    },
    "docs/README.md": {"sh": COMMANDS},
    "docs/analysis.md": dict.fromkeys(("sh", "text", "python"), "tests/analysis/test_docs.py"),
    "docs/architectures.md": {
        "sh": COMMANDS,
        "toml": "tests/plugins/test_declared.py",
        "python": "tests/arch_check/test_kit.py",
        "text": "tests/arch_check/test_kit.py",
    },
    "docs/audit.md": {"sh": COMMANDS, "python": HERE, "sql": HERE},
    "docs/devices.md": {
        "sh": COMMANDS,
        **dict.fromkeys(("python", "text", "toml"), "tests/devices/test_devices_page.py"),
    },
    "docs/exec.md": {"python": HERE},
    "docs/faults.md": {
        "python": "tests/config/test_faults_page.py",
        "toml": "tests/config/test_faults_page.py",
        "sh": COMMANDS,
    },
    "docs/images.md": {
        **dict.fromkeys(("python", "toml"), "tests/images/test_pages.py"),
        "sh": COMMANDS,
    },
    "docs/kvm.md": {"python": "tests/images/test_pages.py"},
    "docs/kernels.md": {
        "sh": COMMANDS,
        **dict.fromkeys(("python", "text", "toml"), "tests/kernels/test_page.py"),
    },
    "docs/maps.md": dict.fromkeys(("sh", "text", "python"), "tests/maps/test_page.py"),
    "docs/memory.md": dict.fromkeys(("python", "toml"), "tests/caches/test_memory_page.py"),
    "docs/ownership.md": dict.fromkeys(("python", "text"), "tests/ownership/test_docs.py"),
    "docs/performance.md": {"sh": HERE},
    "docs/planner.md": dict.fromkeys(("sh", "text", "python"), "tests/cli/test_planner_page.py"),
    "docs/protocol.md": {
        "json": "tests/service/test_json_bodies.py",
        "hex": "tests/service/test_protocol_doc.py",
    },
    "docs/rigs.md": dict.fromkeys(("python", "text"), "tests/rig/test_examples.py"),
    "docs/service.md": {
        "toml": "tests/service/test_tcp_page.py",
        "python": HERE,
    },
    "docs/shipping.md": {"sh": "tests/cli/test_shipping_page.py"},
    "docs/simulation.md": dict.fromkeys(("python", "text"), "tests/rig/test_simulation_page.py"),
    "docs/snapshots.md": {
        "python": "tests/snapshots/test_page.py",
        "sh": "tests/cli/test_snapshot_commands.py",
    },
    "docs/start-architecture.md": dict.fromkeys(("sh", "text", "toml"), START),
    "docs/start-log.md": dict.fromkeys(("sh", "text", "python"), START),
    "docs/start-rig.md": dict.fromkeys(("sh", "text", "python"), START),
    "docs/transfers.md": {"toml": HERE},
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def code_of(name: str, language: str) -> list[Block]:
    return [it for it in blocks(DOCS / name) if it.language == language]


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_every_block_has_a_test(page: Path) -> None:
    """A block without a language is a picture, or a file of another program."""
    languages = {it.language for it in blocks(page)} - {""}

    assert languages == TESTED.get(name_of(page), {}).keys()


@pytest.mark.parametrize(
    ("page", "test"),
    sorted(
        {
            (page, it)
            for page, row in TESTED.items()
            for it in row.values()
            if it not in (HERE, START, COMMANDS)
        }
    ),
)
def test_the_test_that_is_named_reads_the_page(page: str, test: str) -> None:
    text = (ROOT / test).read_text()

    assert page.rpartition("/")[2] in text


@pytest.mark.parametrize("page", pages(), ids=name_of)
def test_python_and_toml_can_be_parsed(page: Path) -> None:
    for block in blocks(page):
        if block.language == "python":
            compile(block.code, f"{page.name}:{block.line}", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        elif block.language == "toml":
            tomllib.loads(block.code)


# What no other test runs


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a log, and a key."""
    run_demo(1, tmp_path / "audit.jsonl")
    write_signing_key(tmp_path / "bench.key", SigningKey.generate("lab.example/bench-7"))
    monkeypatch.chdir(tmp_path)

    return tmp_path


def run_python(block: Block, **names: Any) -> dict[str, Any]:
    """The names that a block leaves, and what it printed."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        exec(compile(block.code, f"line {block.line}", "exec"), names)

    return {**names, "printed": printed.getvalue()}


def test_the_python_of_the_page_on_logs_runs(bench: Path) -> None:
    sealed, selected, asked, restored = code_of("audit.md", "python")

    with run_python(sealed)["log"]:
        assert (bench / "log").is_dir()

    assert {it["machine"] for it in run_python(selected)["found"]} == {"legacy"}
    assert "legacy" in run_python(asked)["printed"]
    assert "legacy" in run_python(restored)["found"].machines


def test_the_sql_of_the_page_on_logs_runs(bench: Path) -> None:
    import duckdb

    (block,) = code_of("audit.md", "sql")
    view, refused, touched = duckdb.extract_statements(block.code)
    database = duckdb.connect()
    database.execute(view)

    assert ("svgalib", "svgalib", "EBUSY", 1) in database.execute(refused).fetchall()
    assert {row[2] for row in database.execute(touched).fetchall()} == {"XFree86"}


def test_the_clients_of_the_page_on_the_service_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both halves: the one that awaits, and the one that blocks."""
    (block,) = [it for it in code_of("service.md", "python") if not it.marker]
    address = f"unix:{tmp_path}/memhub.sock"
    code = block.code.replace("unix:/run/memhub.sock", address)
    imports, awaiting, blocking = code.split("\n\n")
    monkeypatch.setenv("MEMHUB_SOCKET", address)
    names: dict[str, Any] = {}
    exec(imports, names)
    lab = load_config(ROOT / "configs" / "lab.toml")
    with served(tmp_path / "memhub.sock", *lab.machines.values(), default="legacy"):
        exec(f"async def main():\n{indent(awaiting, '    ')}", names)
        anyio.run(names["main"])
        found = run_python(block._replace(code=blocking), **names)

    assert "Xorg" in found["printed"]


def test_the_call_of_the_page_on_exec_is_one_that_exec_takes() -> None:
    """`tests/exec` runs such calls where the kernel lets them."""
    (block,) = code_of("exec.md", "python")
    (call,) = [it for it in ast.walk(ast.parse(block.code)) if isinstance(it, ast.Call)]
    options = {it.arg: it.value for it in call.keywords if it.arg is not None}

    assert len(signature(memhub.exec.run).bind(*call.args, **options).arguments) == 3


def test_the_options_of_the_page_on_transfers_load(tmp_path: Path) -> None:
    options, entries = (it.code for it in code_of("transfers.md", "toml"))
    path = tmp_path / "lab.toml"
    path.write_text(
        '[machines.old]\narch = "i386"\nmemory = [{ base = 0, length = "16M" }]\n'
        f"{entries}\n{options}"
    )
    spec = load_config(path).machines["old"]

    assert (spec.options["release"], spec.options["pae"]) == ("9.3", True)
    assert [it.writable for it in spec.kmem_entries or ()] == [False]


def test_the_commands_of_the_page_on_performance_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = code_of("performance.md", "sh")
    lines = [shlex.split(it, comments=True) for it in block.code.splitlines()]
    asked = [line[3:] for line in lines if line[:3] == ["python", "-m", "benchmarks"]]
    for words in asked:
        monkeypatch.setattr(sys, "argv", ["benchmarks", *words])
        assert set(benchmarks.__main__._arguments().names) <= {"get", "change"}

    assert len(asked) == len(lines) - 1
