"""What `examples/c-client` ships: its Makefile, its demo, and the program in its README."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from service.c_client.c_rig import LIBRARY, STRICT, compiler

if TYPE_CHECKING:
    from pathlib import Path

    from service.c_client.conftest import Service

pytestmark = pytest.mark.campaign


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the folder, without what somebody has built in it."""
    folder = tmp_path / "c-client"
    shutil.copytree(LIBRARY, folder, ignore=shutil.ignore_patterns("*.o", "*.a", "memhub-demo"))

    return folder


def test_the_demo_shows_each_call(service: Service, copied: Path) -> None:
    if shutil.which("make") is None:
        pytest.skip("no make")

    subprocess.run(["make", "-s", f"CC={compiler()}", "all"], cwd=copied, check=True)
    done = subprocess.run(
        ["./memhub-demo", service.socket], cwd=copied, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = [line.split()[0] for line in done.stdout.splitlines()]
    assert words[:6] == ["connected", "table", "set", "explain", "pipeline", "map"]
    assert "64 answers, 0 refused, read back as written" in done.stdout
    assert (
        len(re.findall(r"^event +\d+ request\.set 0xe0000000\+0x1000000$", done.stdout, re.M)) == 2
    )


def test_the_program_of_the_readme_is_told_what_is_wrong(service: Service, copied: Path) -> None:
    """It compiles as it stands, and its range is free; without a service it says so."""
    (code,) = re.findall(r"^```c\n(.*?)^```", (copied / "README.md").read_text(), re.M | re.S)
    (copied / "readme.c").write_text(code)
    words = [compiler(), *STRICT, "readme.c", "memhub.c", "-o", "readme"]
    subprocess.run(words, cwd=copied, check=True)

    def said() -> str:
        return subprocess.run(["./readme"], cwd=copied, capture_output=True, text=True).stdout

    assert said() == "ENOENT: lab.sock: No such file or directory\n"
    (copied / "lab.sock").symlink_to(service.served.socket)
    assert said() == ""


def test_the_header_is_cxx_too(copied: Path) -> None:
    """Test rigs are often written in C++."""
    cxx = shutil.which("c++") or shutil.which("g++")
    if cxx is None:
        pytest.skip("no C++ compiler")

    (copied / "rig.cpp").write_text(
        '#include "memhub.h"\nint main() { return memhub_new() == nullptr; }\n'
    )
    subprocess.run(
        [cxx, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "rig.cpp"],
        cwd=copied,
        check=True,
    )
