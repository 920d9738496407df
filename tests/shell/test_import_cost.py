"""What `import memhub` loads: its own names at first use, and no extra, ever."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: What comes with the extras, or with tools that people run tests and services with.
EXTRAS = {
    "duckdb",
    "hypothesis",
    "ibis",
    "memhub.analysis",
    "memhub.cli",
    "memhub.rig",
    "memhub.service.server",
    "mypy",
    "pandas",
    "polars",
    "pyarrow",
    "pytest",
    "rich",
    "ruff",
    "trio",
    "trustme",
    "uvloop",
}

#: The core dependencies of `pyproject.toml`.
CORE = ("anyio", "numpy", "orjson", "pluggy", "structlog")


def loaded(statement: str) -> set[str]:
    """The modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)

    return set(json.loads(done.stdout))


def seconds(statement: str) -> float:
    """Best of a few runs of a statement in a fresh interpreter, as the interpreter measures it."""
    code = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, cwd=ROOT)
        for _ in range(3)
    ]

    return min(float(run.stdout) for run in runs)


def test_importing_the_package_alone_loads_no_dependency_at_all() -> None:
    modules = loaded("import memhub")

    assert modules.isdisjoint({*EXTRAS, *CORE})
    assert {name for name in modules if name.startswith("memhub")} == {"memhub"}


@pytest.mark.parametrize("home", ["memhub.abi", "memhub.errors"])
def test_the_binary_interface_needs_no_dependency(home: str) -> None:
    assert loaded(f"import {home}").isdisjoint({*EXTRAS, *CORE})


def test_numbers_and_layouts_need_none_of_the_slow_modules() -> None:
    """A one-shot client imports these first; enum, dataclasses and typing cost more than it."""
    modules = loaded("import memhub.abi_layout") - loaded("pass")

    assert {name for name in modules if name.startswith("memhub")} == {
        "memhub",
        "memhub.abi_layout",
    }
    assert modules.isdisjoint({"dataclasses", "enum", "typing", *CORE})


def test_the_whole_public_face_loads_no_extra_and_no_plugin() -> None:
    modules = loaded("from memhub import *")

    assert modules.isdisjoint(EXTRAS)
    assert not any(name.startswith("memhub_") for name in modules)


def test_a_hub_of_every_architecture_loads_no_extra_and_no_service() -> None:
    modules = loaded("from memhub import Hub, load_arches; load_arches()")

    assert modules.isdisjoint(EXTRAS)
    assert not any(name.startswith("memhub.service") for name in modules)


def test_a_hub_is_imported_without_numpy() -> None:
    assert "numpy" not in loaded("import memhub.hub.hub")


@pytest.mark.campaign
@pytest.mark.alone
def test_the_cost_of_the_public_face_beside_its_dependencies(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A figure for people: time depends on the machine and is not asserted."""
    bare = seconds(f"import {', '.join(CORE)}")
    names = seconds("from memhub import *")
    ready = seconds(
        "from memhub import *; load_arches(); import memhub.audit.writing.writer, numpy"
    )
    with capsys.disabled():
        sys.stdout.write(
            f"\ncore dependencies {bare * 1e3:.0f} ms; every name of memhub {names * 1e3:.0f} ms, "
            f"ratio {names / bare:.2f}; with all that a hub with a log needs {ready * 1e3:.0f} ms, "
            f"ratio {ready / bare:.2f}\n"
        )

    assert bare > 0
