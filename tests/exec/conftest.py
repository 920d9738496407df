"""Fixtures that run unmodified programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import OPENED, Execute, FakeBackend, MakeNode, Opened
from memhub.exec import ShimUnavailable, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture(scope="session")
def facility() -> None:
    """Skips where this kernel or container has no seccomp user notification."""
    backend = FakeBackend()
    try:
        run(["/bin/true"], backend)
    except ShimUnavailable as error:
        pytest.skip(f"cannot run programs here: {error}")
    finally:
        backend.close()


@pytest.fixture
def backend() -> Iterator[FakeBackend]:
    backend = FakeBackend()
    yield backend
    backend.close()


@pytest.fixture
def execute(facility: None, backend: FakeBackend, capfd: pytest.CaptureFixture[str]) -> Execute:
    """Runs a program on the backend; its status and standard output."""

    def execute(*argv: str, every: bool = False) -> tuple[int, str]:
        capfd.readouterr()
        status = run(
            argv,
            backend,
            device_names=("/dev/mem", "/dev/kmem", "/dev/secure"),
            every_descriptor=every,
        )

        return status, capfd.readouterr().out

    return execute


@pytest.fixture
def python(execute: Execute) -> Execute:
    """Runs Python source on the backend."""

    def python(source: str, *, every: bool = False) -> tuple[int, str]:
        prelude = "import os, sys\nfrom os import *\n"
        code = prelude + textwrap.dedent(source)

        return execute(sys.executable, "-I", "-S", "-c", code, every=every)

    return python


@pytest.fixture
def lines() -> list[str]:
    """What the person who runs the program is told."""
    return []


@pytest.fixture
def opened(
    facility: None, backend: FakeBackend, lines: list[str], capfd: pytest.CaptureFixture[str]
) -> Opened:
    """Runs Python source that has `opened` and `call`; the lines that it prints."""

    def opened(source: str, **more: object) -> list[str]:
        code = f"import os, sys\nfrom os import *\n{OPENED}\n{source}"
        words = [sys.executable, "-I", "-S", "-c", code]
        assert run(words, backend, complain=lines.append, **more) == 0  # type: ignore[arg-type]

        return capfd.readouterr().out.splitlines()

    return opened


@pytest.fixture
def make_node(tmp_path: Path) -> MakeNode:
    """Makes a character device; its path."""

    def make(major: int, minor: int) -> str:
        path = tmp_path / f"node-{major}-{minor}"
        try:
            os.mknod(path, 0o020600, os.makedev(major, minor))
        except PermissionError:
            pytest.skip("no leave to make device nodes")

        return str(path)

    return make


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., str]:
    """Compiles a C program of `programs/`, with more options of the compiler; its path."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler")

    where = tmp_path_factory.mktemp("programs")

    def build(name: str, *options: str) -> str:
        target = where / "".join((name, *options))
        source = str(PROGRAMS / f"{name}.c")
        subprocess.run([compiler, "-Wall", "-O1", *options, "-o", str(target), source], check=True)

        return str(target)

    return build
