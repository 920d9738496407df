"""The kit's own promises: its report, its limits, its minimiser, its page."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from arch_check import planted_effects
from arch_check.planted import (
    UC,
    DependsOnHashes,
    DependsOnTheProcess,
    KillsTheProcess,
    NeedsForce,
    NeedsOneRange,
    ServesNobody,
    Sound,
    TakesItsTime,
    Unusual,
    make_arch,
)
from arch_check.planted_effects import SignalsAProcess, WritesAFile
from arch_check.planted_ranges import OverwritesTheLast
from arch_check.planted_types import UndoForgetsOwner
from memhub import plugin
from memhub.abi import MDF_FORCE, RangeDesc, owner_bytes
from memhub.plugin import KernelLayout
from memhub.rig import check_arch
from memhub.rig.arch_check import RULES, NotSound
from memhub.rig.arch_check.asking import Request
from memhub.rig.arch_check.child import check_in_child
from memhub.rig.arch_check.shrink import shrink_requests

ROOT = Path(__file__).parents[2]


def make_sound(*_: object) -> Sound:
    return Sound()


def test_the_page_has_every_rule_and_its_reason() -> None:
    page = (ROOT / "docs" / "architectures.md").read_text()
    told = dict(re.findall(r"^\| `([a-z-]+)` \| (.+) \|$", page.partition("| rule |")[2], re.M))

    assert told == dict(RULES)


def test_the_driver_with_registers_of_the_page_is_sound(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "architectures.md").read_text()
    found = re.search(r"<!-- registers -->\n```python\n(.*?)```", page, re.DOTALL)
    assert found is not None
    module = ModuleType("page_of_architectures")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(compile(found[1], module.__name__, "exec"), vars(module))
    (arch,) = module.memhub_arches()
    report = check_arch(arch, sequences=8)
    report.require_sound()
    assert report.requests > 1000
    assert len(found[1].splitlines()) < 80


def test_every_name_of_the_page_s_table_is_in_the_one_place() -> None:
    page = (ROOT / "docs" / "architectures.md").read_text()
    _, _, rest = page.partition("All that a driver needs is imported from `memhub.plugin`:")
    table = rest.partition("\n\n| name")[2].partition("\n\n")[0]
    first = [line.split(" | ")[0] for line in table.splitlines()[2:]]
    names = [it for cell in first for it in re.findall(r"`([A-Za-z_]+)[.(`]", cell)]
    assert {"RangeState", "Change", "TypeMap", "Obstacle", "MtrrDriver"} <= {*names}
    for name in names:
        if name != "settled":
            assert getattr(plugin, name) is not None
            assert name in dir(plugin)

    for name in re.findall(r"`([A-Z][A-Za-z]+)` \(E", table):
        assert issubclass(getattr(plugin.errors, name), plugin.DeviceError)

    for name in re.findall(r"`(MDF_[A-Z]+|PAGE_SIZE)`", table):
        assert getattr(plugin.abi, name)

    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        plugin.Nothing  # noqa: B018


def test_one_seed_gives_one_report_with_as_many_requests_as_it_takes() -> None:
    reports = [check_arch(make_arch(OverwritesTheLast), sequences=8, seed=5) for _ in range(2)]

    assert reports[0] == reports[1]
    (finding,) = reports[0].findings
    assert finding.rule == "overwrites-range"
    assert len(finding.steps) == 5
    assert finding.steps[-1].startswith("update 0x")
    assert "granted: slot 3" in finding.steps[-1]


def test_a_finding_names_plugin_class_method_architecture_and_machine() -> None:
    arch = make_arch(UndoForgetsOwner)
    (finding,) = check_arch(arch, sequences=8).findings

    assert finding.where == (
        "arch_check.planted_types.UndoForgetsOwner.restore, the driver of planted on check"
    )
    assert finding.machine == "Intel 0x6f0, 36 address bits, clean MTRRs"
    assert "to see it, from a new machine:\n    1. update" in str(finding)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"attributes": 1 << 27}, "`attributes` is 134217728, not attributes"),
        ({"untyped": 1 << 4}, "`untyped` 0x10 is not part of `attributes`"),
        ({"summary": None}, "`summary` is None, not a text"),
        ({"options": ["slots"]}, "`options` is ['slots'], no frozenset of keys"),
        ({"commit_latency": float("nan")}, "`commit_latency` is nan, not seconds"),
        ({"driver": lambda _cpu, _options: Sound()}, "has to be a function of a module"),
        ({"driver": partial(make_sound, 1)}, "a copy of the Arch is not equal to it"),
        ({"kernel": KernelLayout(kernel_base=0), "attributes": 0}, "`attributes` is 0, but"),
    ],
)
def test_a_wrong_value_of_an_architecture_is_told(fields: dict[str, Any], words: str) -> None:
    report = check_arch(make_arch(Sound, **fields), sequences=1, most=1)

    assert words in str(report)


def test_a_driver_that_serves_no_cpu_that_is_known_is_told() -> None:
    (finding,) = check_arch(make_arch(ServesNobody), sequences=1).findings

    assert finding.rule == "no-slots"
    assert "give `cpu`, `msrs` or `options`" in finding.why


def test_a_range_that_is_given_is_where_the_check_begins() -> None:
    arch = make_arch(NeedsOneRange)
    assert check_arch(arch, sequences=1).rules == {"nothing-granted"}

    given = RangeDesc(0x123000, 0x7000, UC, owner_bytes("x"))
    assert "nothing-granted" not in check_arch(arch, requests=[given], sequences=1).rules


def test_a_driver_that_needs_force_and_an_unusual_range_is_checked() -> None:
    given = RangeDesc(1 << 32, 0xC000, UC | MDF_FORCE, owner_bytes("x"))

    check_arch(make_arch(NeedsForce), requests=[given], sequences=2).require_sound()


def test_an_unusual_range_is_looked_for() -> None:
    report = check_arch(make_arch(Unusual), sequences=1)

    assert "nothing-granted" not in report.rules


def test_what_kills_the_process_is_found_in_a_child() -> None:
    report = check_in_child(make_arch(KillsTheProcess), sequences=1)

    (finding,) = report.findings
    assert (finding.rule, finding.message) == ("raises", "ended the process with signal 9")
    assert finding.where == "update of architecture planted"


@pytest.mark.campaign
@pytest.mark.usefixtures("cold_interpreters")
@pytest.mark.parametrize("kind", [DependsOnHashes, DependsOnTheProcess])
def test_what_another_process_answers_differently_is_found(kind: type[Sound]) -> None:
    report = check_arch(make_arch(kind), sequences=20)

    assert report.rules == {"not-deterministic"}
    assert "another process answers" in str(report)


@pytest.mark.parametrize(
    ("kind", "words"),
    [(WritesAFile, "opens for writing: '/dev/null'"), (SignalsAProcess, "its process; kill: ")],
)
def test_what_a_driver_does_outside_of_its_process_is_found(kind: type[Sound], words: str) -> None:
    report = check_arch(make_arch(kind), sequences=20)

    assert report.rules == {"side-effects"}
    assert words in str(report)
    assert f"at {Path(planted_effects.__file__).name}:" in str(report)


@pytest.mark.usefixtures("cold_interpreters")
def test_the_report_of_a_child_is_that_of_the_check() -> None:
    arch = make_arch(OverwritesTheLast)

    assert check_in_child(arch, sequences=4) == check_arch(arch, sequences=4)


def test_a_check_whose_time_was_over_is_not_sound() -> None:
    report = check_arch(make_arch(TakesItsTime), sequences=4, seconds=0.3)

    assert (report.is_complete, report.is_sound) == (False, False)
    assert "nothing found, by" in str(report)
    assert "the check did not end" in str(report)
    with pytest.raises(NotSound, match="the check did not end"):
        report.require_sound()


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"sequences": -1}, "sequences -1 is not at least 0"),
        ({"limit": 0.0}, "limit 0.0 is not at least 0.01"),
        ({"seconds": float("nan")}, "seconds nan is not at least 0"),
    ],
)
def test_numbers_that_cannot_be_are_refused(asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_arch(make_arch(Sound), **asked)


def test_on_another_thread_the_check_runs_too() -> None:
    found: list[object] = []
    arch = make_arch(OverwritesTheLast)
    thread = threading.Thread(
        target=lambda: found.append(check_arch(arch, sequences=4, most=1).rules)
    )
    thread.start()
    thread.join(60)

    assert found == [{"overwrites-range"}]


def test_what_cannot_be_stopped_ends_the_process_with_a_message() -> None:
    code = (
        "from arch_check.planted import CannotBeStopped, make_arch\n"
        "from memhub.rig import check_arch\n"
        "check_arch(make_arch(CannotBeStopped), limit=0.05)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "CannotBeStopped.update, the driver of planted on check, cannot be st" in done.stderr


def test_a_sequence_is_cut_to_the_requests_that_matter() -> None:
    rows = [Request("update", RangeDesc(it << 12, 4096, UC, owner_bytes("x"))) for it in range(12)]

    def shows(candidate: object) -> bool:
        bases = [it.desc.mr_base >> 12 for it in candidate]  # type: ignore[attr-defined]
        return 3 in bases and 9 in bases[bases.index(3) :]

    shown = shrink_requests(rows, shows)
    assert [(it.desc.mr_base >> 12, it.desc.owner) for it in shown] == [(3, "one"), (9, "one")]
