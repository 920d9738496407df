"""`memhub plugins`: every kind of hook, where each plugin is from, and what fails."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from memhub.cli.plugins import HOOKS, list_plugins
from plugins.distribution import install

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

ARCH = """
from memhub.plugin import Arch, KernelLayout, hookimpl

@hookimpl
def memhub_arches():
    return [Arch(name="{name}", summary="", kernel=KernelLayout(kernel_base=0))]
"""
RULE = """
from memhub.analysis.lint import Rule, hookimpl

@hookimpl
def memhub_lint_rules():
    return [Rule("{name}", "info", "x", find=print, say=print)]
"""

IMPORTER = """
from memhub.config.importers.added import Importer, hookimpl

@hookimpl
def memhub_importers():
    return [Importer("{name}", "", read=print)]
"""


DEVICE = """
from memhub.plugin.devices import DeviceKind, hookimpl

@hookimpl
def memhub_devices():
    return [DeviceKind(name="{name}", summary="", make=print)]
"""


FAULT = """
from memhub.plugin.faults import FaultKind, hookimpl

@hookimpl
def memhub_faults():
    return [FaultKind(name="{name}", summary="", strike=print)]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with plugins of each kind, of which some do not work."""
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "good-arch", "mips", ARCH.format(name="mips"))
    install(tmp_path, "bad-arch", "vax", "raise RuntimeError('no vax')")
    install(tmp_path, "rival-arch", "arm64", ARCH.format(name="arm64"))
    install(tmp_path, "good-rule", "mine", RULE.format(name="mine"), "memhub.lint")
    install(tmp_path, "rival-rule", "theirs", RULE.format(name="deadlock"), "memhub.lint")
    install(tmp_path, "reader", "hob", IMPORTER.format(name="hob"), "memhub.importers")
    install(tmp_path, "rival-reader", "msr", IMPORTER.format(name="msr"), "memhub.importers")
    install(tmp_path, "card", "gpu", DEVICE.format(name="gpu"), "memhub.devices")
    install(tmp_path, "rival-card", "vga", DEVICE.format(name="vga-text"), "memhub.devices")
    install(tmp_path, "faults", "acme", FAULT.format(name="acme.flip"), "memhub.faults")
    install(tmp_path, "bad-faults", "plain", FAULT.format(name="flip"), "memhub.faults")
    install(tmp_path, "no-file", "declared", "", "memhub.declared")
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("loader_")]:
        del sys.modules[name]


def rows_by_source(run: Run) -> dict[str, dict[str, Any]]:
    rows = json.loads(run("plugins", "--json").out)

    return {row["source"]: row for row in rows if row["source"] != "memhub"}


def test_each_kind_is_listed_with_its_origin(run: Run, site: Path) -> None:
    rows = rows_by_source(run)

    assert rows["good-arch"] == {
        "kind": "architectures",
        "group": "memhub",
        "plugin": "mips",
        "source": "good-arch",
        "version": "1.0",
        "entry_point": "loader_good_arch",
        "provides": ["mips"],
        "failures": [],
    }
    assert (rows["good-rule"]["kind"], rows["good-rule"]["provides"]) == ("lint rules", ["mine"])
    kinds = rows["faults"]["kind"], rows["faults"]["provides"]
    assert kinds == ("fault kinds", ["acme.flip"])
    assert (rows["card"]["kind"], rows["card"]["provides"]) == ("devices", ["gpu"])
    assert (rows["reader"]["kind"], rows["reader"]["provides"]) == ("importers", ["hob"])


def test_what_fails_is_listed_with_its_reason_and_costs_the_others_nothing(
    run: Run, site: Path
) -> None:
    rows = rows_by_source(run)

    assert rows["bad-arch"]["failures"] == ["does not import: RuntimeError: no vax"]
    (rivals,) = rows["rival-arch"]["failures"]
    assert "'arm64' is provided twice, by 'arm64' of rival-arch 1.0 and 'arm64' of memhub" in rivals
    assert rivals.endswith("; none is used: uninstall rival-arch")
    assert " ".join(run("plugins").out.split()).count(rivals) == 1
    assert " ".join(run("arches").err.split()).count("'arm64' of rival-arch 1.0") == 1
    assert "'deadlock' is there already" in rows["rival-rule"]["failures"][0]
    assert "format 'msr' is there already" in rows["rival-reader"]["failures"][0]
    assert "'vga-text' is provided twice" in rows["rival-card"]["failures"][0]
    assert "'flip' is not words with dots" in rows["bad-faults"]["failures"][0]
    assert "loader_no_file is a module, not a package with" in rows["no-file"]["failures"][0]


def test_the_text_names_each_kind_once_and_each_failure(run: Run, site: Path) -> None:
    done = run("plugins")

    assert done.code == 1
    assert done.out.count("architectures  entry points memhub\n") == 1
    assert "  mips        mips  from good-arch 1.0, loader_good_arch\n" in done.out
    assert "does not work: does not import: RuntimeError: no vax" in done.out


def test_what_memhub_ships_works(run: Run) -> None:
    rows = [row for kind in HOOKS for row in list_plugins(kind) if row["source"] == "memhub"]

    assert {name for row in rows for name in row["provides"]} >= {
        "i386",
        "amd64",
        "k6",
        "powerpc64",
        "uart-16550",
    }
    assert [row["failures"] for row in rows if row["failures"]] == []
