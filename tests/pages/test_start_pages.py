"""The three pages for beginners run from top to bottom, in an empty folder, as they stand."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from memhub.cli import main
from pages.page_blocks import DOCS, Block, blocks

INSTALL = "python3 -m pip install -e "


class Reader:
    """Does what a page says, in one folder.

    Args:
        folder: where.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.printed = ""
        self.env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(folder / "site"),
            "PYTHONWARNINGS": "ignore",
            # other plugins of this environment take time, and are not what is tried here
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTEST_ADDOPTS": "-p no:cacheprovider -p anyio.pytest_plugin "
            "-p memhub.rig.pytest_plugin",
        }

    def follow(self, block: Block) -> None:
        if block.marker.startswith("file: "):
            (self.folder / block.marker.removeprefix("file: ")).write_text(block.code)
        elif re.fullmatch(r"(memhub (audit|demo) .*\n)+", block.code):
            self._run_here(block.code.splitlines(), fails=block.kind != "sh")
        elif block.language == "sh":
            self._run(["bash", "-euc", self._installed(block.code)], fails=block.kind != "sh")
        elif block.language == "python":
            self._run([sys.executable, "-c", block.code], fails=False)
        elif block.language == "text":
            self._compare(block)
        else:
            raise AssertionError(f"line {block.line}: nothing is done with {block.kind!r}")

    def _run(self, command: list[str], *, fails: bool) -> None:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        self.printed = f"{done.stdout}{done.stderr}"
        assert bool(done.returncode) == fails, self.printed

    def _run_here(self, lines: list[str], *, fails: bool) -> None:
        """In this process, where DuckDB is imported once for all tests."""
        printed = io.StringIO()
        with redirect_stdout(printed), redirect_stderr(printed), chdir(self.folder):
            codes = [main(shlex.split(line)[1:]) for line in lines]

        self.printed = printed.getvalue()
        assert any(codes) == fails, self.printed

    def _installed(self, code: str) -> str:
        """Packages go into a folder, and not into the environment of the tests."""
        target = f"--no-deps --no-build-isolation --no-index -q --target {self.folder / 'site'}"

        return code.replace(INSTALL, f"python3 -m pip install {target} ./")

    def _compare(self, block: Block) -> None:
        """Each line was printed; an ellipsis is any text."""
        for line in block.code.splitlines():
            pattern = re.escape(line.rstrip()).replace("…", ".*")
            assert re.search(rf"^{pattern}", self.printed, re.M), f"{line}\n\n{self.printed}"


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    monkeypatch.setenv("COLUMNS", "80")

    return Reader(tmp_path)


@pytest.mark.campaign
@pytest.mark.parametrize("name", ["start-rig", "start-architecture", "start-log"])
def test_a_page_for_beginners_runs_from_top_to_bottom(name: str, reader: Reader) -> None:
    for block in blocks(DOCS / f"{name}.md"):
        reader.follow(block)


@pytest.mark.parametrize(
    ("shown", "fits"),
    [("3 passed in …\n", True), ("2 passed in …\n", False), ("passed\n", False)],
)
def test_what_a_page_shows_is_compared_line_by_line(shown: str, fits: bool, reader: Reader) -> None:
    reader.follow(Block(1, "sh", "", "echo 3 passed in 0.1s"))
    text = Block(4, "text", "", shown)
    if fits:
        reader.follow(text)
    else:
        with pytest.raises(AssertionError, match="passed"):
            reader.follow(text)
