"""What is shipped: one wheel with memhub, its types, and architectures as entry points."""

from __future__ import annotations

import configparser
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

from source_rules import sources

ROOT = Path(__file__).parents[1]
PLUGINS = sorted(path.name for path in (ROOT / "plugins").glob("memhub_*"))
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout, built offline in a copy."""
    pytest.importorskip("hatchling")
    copy = tmp_path_factory.mktemp("checkout")
    for name in ("memhub", "plugins"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))

    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, copy)

    code = "from hatchling.build import build_wheel; build_wheel('dist')"
    subprocess.run([sys.executable, "-c", code], cwd=copy, check=True)
    (built,) = (copy / "dist").glob("*.whl")

    return built


#: Distributions whose module has another name.
MODULES = {
    "argparse-manpage": "argparse_manpage",
    "ibis-framework": "ibis",
    "pillow": "PIL",
    "vl-convert-python": "vl_convert",
}


def distribution(requirement: str) -> str:
    """The module of the distribution at the start of a requirement."""
    name = re.split(r"[^\w.-]", requirement)[0]

    return MODULES.get(name, name)


def shipped(wheel: Path, ending: str) -> str:
    """The text of the one file of the wheel's metadata that ends so."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(ending)]

        return archive.read(name).decode()


def test_every_architecture_in_the_tree_is_declared() -> None:
    """A package that hatchling is not told of is left out of the wheel without a word."""
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    groups = PYPROJECT["project"]["entry-points"]
    kinds = ("memhub", "memhub.devices", "memhub.kernels")
    modules = [module for kind in kinds for module in groups[kind].values()]

    assert sorted(packages) == sorted(["memhub", *(f"plugins/{name}" for name in PLUGINS)])
    assert sorted(modules) == PLUGINS


def test_the_installed_metadata_is_that_of_this_checkout() -> None:
    """Entry points are read from what is installed: after a change, install again."""
    found = importlib.metadata.distribution("memhub")
    entries = {point.name: point.value for point in found.entry_points if point.group == "memhub"}

    assert found.version == PYPROJECT["project"]["version"]
    assert entries == PYPROJECT["project"]["entry-points"]["memhub"]


def test_what_is_required_is_imported_and_what_is_imported_is_declared() -> None:
    required = {distribution(line) for line in PYPROJECT["project"]["dependencies"]}
    extras = PYPROJECT["project"]["optional-dependencies"].values()
    declared = required | {distribution(line) for lines in extras for line in lines}
    imported = {
        # the packages under `backports` are distributions of their own
        ".".join(name.split(".")[: 2 if name.startswith("backports.") else 1])
        for source in sources("memhub", "plugins")
        for _, name in source.imports()
    }
    standard = sys.stdlib_module_names | {"compression"}  # from Python 3.14 on
    foreign = {name for name in imported - standard if not name.startswith("memhub")}

    assert required - foreign == set()
    assert foreign - declared == set()


def test_the_source_distribution_holds_what_the_readme_links_to() -> None:
    included = PYPROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    readme = (ROOT / "README.md").read_text()
    linked = {link.split("/")[0] for link in re.findall(r"\]\(([^):#]+)\)", readme)}

    assert "CONTRIBUTING.md" in linked
    assert linked - set(included) == set()
    assert [name for name in included if not (ROOT / name).exists()] == []


def test_the_types_are_marked_as_shipped() -> None:
    assert (ROOT / "memhub" / "py.typed").read_bytes() == b""


def test_the_wheel_holds_every_source_file_and_nothing_else(wheel: Path) -> None:
    paths = {source.path.removeprefix("plugins/") for source in sources("memhub", "plugins")}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert paths | {"memhub/py.typed"} == {
        name for name in names if name.endswith((".py", "py.typed"))
    }
    assert {name.split("/")[0] for name in names} == {"memhub", *PLUGINS}


def test_the_wheel_is_named_by_its_version_and_carries_the_license(wheel: Path) -> None:
    project = PYPROJECT["project"]

    assert wheel.name == f"memhub-{project['version']}-py3-none-any.whl"
    assert shipped(wheel, "/licenses/LICENSE") == (ROOT / "LICENSE").read_text()
    assert f"\nVersion: {project['version']}\n" in shipped(wheel, ".dist-info/METADATA")


def test_the_wheel_carries_the_entry_points(wheel: Path) -> None:
    entries = configparser.ConfigParser()
    entries.read_string(shipped(wheel, ".dist-info/entry_points.txt"))

    assert dict(entries["memhub"]) == PYPROJECT["project"]["entry-points"]["memhub"]
    assert dict(entries["pytest11"]) == PYPROJECT["project"]["entry-points"]["pytest11"]
    assert dict(entries["console_scripts"]) == PYPROJECT["project"]["scripts"]


def test_the_wheel_carries_the_real_machines(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        rows = archive.read("memhub/machines/open.jsonl").splitlines()

    assert rows == (ROOT / "memhub" / "machines" / "open.jsonl").read_bytes().splitlines()


def test_the_architectures_load_from_the_wheel_alone(wheel: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(wheel)!r})\n"
        "from memhub import arches as loader\n"
        "found = loader.load_arches()\n"
        "assert not found.failures, found.failures\n"
        'plugins = {it.plugin.split("\'")[1] for it in found.values()}\n'
        "print(loader.__file__, *sorted(plugins), sep='\\n')\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert not done.returncode, done.stderr

    (origin, *names) = done.stdout.splitlines()
    assert origin.startswith(str(wheel))
    assert set(names) == set(PYPROJECT["project"]["entry-points"]["memhub"])
