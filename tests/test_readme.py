"""The README is true: what it shows runs, as it stands there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from memhub.cli.new_arch import write_package

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

USE_PLUGIN = """
import anyio
from memhub import Cpu, DeviceError, Hub, MachineSpec, Region
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE

async def main():
    spec = MachineSpec(name="sun", arch="sparc", memory=(Region(base=0, length=1 << 20),))
    async with Hub([spec]) as hub:
        handle = await hub.open("/dev/mem")
        await handle.set_range(0x1000, 0x1000, MDF_UNCACHEABLE, owner="tty")
        print(len(await handle.ranges()), (await handle.ranges())[0])
        try:
            await handle.set_range(0x4000, 0x1000, MDF_WRITECOMBINE)
        except DeviceError as error:
            print(error)
        handle.close()

anyio.run(main)
"""


def block(marker: str) -> str:
    """The code block that follows a marker."""
    found = re.search(rf"<!-- {re.escape(marker)} -->\n```\w+\n(.*?)```", README, re.DOTALL)
    assert found is not None, marker

    return found.group(1)


def run(code: str, cwd: Path, path: Path | None = None) -> str:
    """What a fresh interpreter prints for some code."""
    env = {"PYTHONPATH": str(path)} if path is not None else {}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    return done.stdout


def test_the_plugin_of_the_readme_is_found_and_serves_a_machine(tmp_path: Path) -> None:
    """Its two files, put where an installer would put them, are all it takes."""
    (tmp_path / "memhub_sparc.py").write_text(block("plugin module: memhub_sparc.py"))
    project = block("plugin project: pyproject.toml")
    entry = re.search(r"\[project.entry-points.memhub\]\n(.*)", project, re.DOTALL)
    assert entry is not None
    info = tmp_path / "memhub_sparc-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memhub-sparc\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[memhub]\n" + entry.group(1).replace('"', ""))

    printed = run(USE_PLUGIN, tmp_path, tmp_path)

    assert printed.splitlines() == [
        "2 0x1000/0x1000 tty uncacheable active",
        "EINVAL: flags 0x2: uncacheable or write-back only",
    ]


def test_the_declared_plugin_of_the_readme_serves_a_machine_without_code(tmp_path: Path) -> None:
    package = tmp_path / "memhub_sparc"
    package.mkdir()
    (package / "arch.toml").write_text(block("plugin declared: arch.toml"))
    info = tmp_path / "memhub_sparc-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: memhub-sparc\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[memhub.declared]\nsparc = memhub_sparc\n")

    printed = run(USE_PLUGIN, tmp_path, tmp_path)

    assert printed.splitlines() == [
        "2 0x1000/0x1000 tty uncacheable active",
        "EINVAL: attributes 0x2 (write-combine) are not exactly one of uncacheable, write-back",
    ]


def test_the_plugin_of_the_readme_is_what_new_arch_writes_and_is_short(tmp_path: Path) -> None:
    write_package("sparc", tmp_path / "it", declared=False)
    module = block("plugin module: memhub_sparc.py")

    assert (tmp_path / "it" / "memhub_sparc.py").read_text() == module
    assert len(module.splitlines()) <= 40


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the embedding example prints, and the folder where it leaves its log."""
    folder = tmp_path_factory.mktemp("embedded")
    (folder / "configs").symlink_to(ROOT / "configs")

    return run(block("embed"), folder), folder


def test_the_embedding_example_runs_as_it_stands(embedded: tuple[str, Path]) -> None:
    """It prints the refusal, which names the process that holds the range."""
    (refusal,) = embedded[0].splitlines()

    assert refusal.startswith("EBUSY: slot 89 0xd0000000/0x1000000 (owner Xorg) is claimed by Xorg")


def test_the_log_example_reads_the_log_of_the_embedding_example(
    embedded: tuple[str, Path],
) -> None:
    """It prints the one refusal, with who was refused what."""
    printed, folder = embedded
    reason = printed.strip().removeprefix("EBUSY: ")

    assert run(block("read the log"), folder).splitlines() == [f"driver update EBUSY {reason}"]


def test_the_command_of_the_readme_verifies_that_log(embedded: tuple[str, Path]) -> None:
    """`memhub audit verify audit.jsonl`, as the text says."""
    assert "`memhub audit verify audit.jsonl`" in README
    command = [sys.executable, "-m", "memhub", "audit", "verify", "audit.jsonl"]
    done = subprocess.run(command, cwd=embedded[1], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")


def links() -> list[tuple[str, str]]:
    """Every relative link of the README, CONTRIBUTING, the changelog and the pages in docs."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]

    return [
        (str(page.relative_to(ROOT)), link)
        for page in sorted(pages)
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text())
        if "://" not in link
    ]


@pytest.mark.parametrize(("page", "link"), links())
def test_every_link_leads_somewhere(page: str, link: str) -> None:
    """A reader finds the file."""
    assert (ROOT / page).parent.joinpath(link).exists()


def test_the_index_of_the_docs_names_every_page() -> None:
    """A page that the index leaves out is not found."""
    index = (ROOT / "docs" / "README.md").read_text()
    named = set(re.findall(r"\]\(([\w-]+\.md)\)", index))

    assert named == {page.name for page in (ROOT / "docs").glob("*.md")} - {"README.md"}


@pytest.mark.parametrize("marker", ["main job", "the tests"])
def test_the_two_lines_set_up_an_environment_of_their_own(marker: str) -> None:
    """They need nothing but Python."""
    assert block(marker).startswith("python3 -m venv .venv && .venv/bin/pip install ")


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    """The excerpt is of the run that a reader gets, line by line."""
    done = subprocess.run(
        [sys.executable, "-m", "memhub", "demo", "--log", str(tmp_path / "demo.jsonl")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    printed = done.stdout.splitlines()
    shown = [line for line in block("demo output").splitlines() if line.strip() not in ("", "…")]

    assert len(shown) > 15
    assert [line for line in shown if line not in printed] == []
