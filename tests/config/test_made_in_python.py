"""A machine made in Python is refused by the rules and in the words of a file."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from machines import ARCHES
from memhub import CacheLimits, Cpu, Hub, KernelMapping, MachineSpec, Region
from memhub.config import ConfigError
from memhub.service.local import LocalClient

if TYPE_CHECKING:
    from config.conftest import Load


def make(**changes: Any) -> MachineSpec:
    return MachineSpec(**{"name": "pc", "arch": "amd64", **changes})


def words_of_a_file(load: Load, toml: str) -> str:
    """The one problem of a file."""
    with pytest.raises(ConfigError) as caught:
        load(toml)

    (problem,) = caught.value.problems

    return problem.reason


PC = '[machines.pc]\narch = "amd64"\n'
BOTH: list[tuple[str, dict[str, Any], str]] = [
    (PC + '[machines.pc.msr]\n"0x200000000" = 1', {"msrs": {1 << 33: 1}}, "msrs.0x200000000"),
    (
        PC + '[machines.pc.msr]\n"0x2ff" = "0x10000000000000000"',
        {"msrs": {0x2FF: 1 << 64}},
        "msrs.0x2ff",
    ),
    (PC + "[machines.pc.msr]\n767 = -1", {"msrs": {0x2FF: -1}}, "msrs.0x2ff"),
    (PC + "commit_latency = -1", {"commit_latency": -1}, "commit_latency"),
    (PC + "commit_latency = nan", {"commit_latency": math.nan}, "commit_latency"),
    (PC + "commit_latency = inf", {"commit_latency": math.inf}, "commit_latency"),
    (PC + "commit_latency = 1e300", {"commit_latency": 1e300}, "commit_latency"),
    (PC + 'commit_latency = "1"', {"commit_latency": "1"}, "commit_latency"),
    (PC + "commit_latency = true", {"commit_latency": True}, "commit_latency"),
    (PC + "securelevel = 9", {"securelevel": 9}, "securelevel"),
    (PC + "upages = 99", {"upages": 99}, "upages"),
    (PC + 'wp_writes = "dorp"', {"wp_writes": "dorp"}, "wp_writes"),
    (PC + 'coherent = false\nbus = "x"', {"coherent": False, "bus": "x"}, "bus"),
    (
        PC + "coherent = false\ncaches = { lines = 0 }",
        {"coherent": False, "caches": CacheLimits(lines=0)},
        "caches.lines",
    ),
    (PC + "wp_writes = 5", {"wp_writes": 5}, "wp_writes"),
    (PC + "[machines.pc.cpu]\nsignature = -1", {"cpu": Cpu(signature=-1)}, "cpu.signature"),
    (PC + '[machines.pc.cpu]\nvendor = ""', {"cpu": Cpu(vendor="")}, "cpu.vendor"),
    (PC + "[machines.pc.symbols]\nx = -1", {"symbols": {"x": -1}}, "symbols.x"),
    (
        PC + "[machines.pc.options]\nrelase = 1",
        {"options": {"relase": 1}},
        "options.relase",
    ),
    (
        PC + 'memory = [{ base = 0, length = 1, kind = "usable" }]',
        {"memory": (Region(base=0, length=1, kind="usable"),)},  # type: ignore[arg-type]
        "memory[0].kind",
    ),
    (
        PC + "memory = [{ base = -1, length = 1 }]",
        {"memory": (Region(base=-1, length=1),)},
        "memory[0].base",
    ),
]


@pytest.mark.parametrize(("toml", "changes", "key"), BOTH)
def test_a_value_is_refused_in_the_same_words(
    load: Load, toml: str, changes: dict[str, Any], key: str
) -> None:
    reason = words_of_a_file(load, toml)
    for face in (Hub, LocalClient):
        with pytest.raises(ValueError, match="machine 'pc'") as caught:
            face([make(**changes)], arches=ARCHES)

        assert str(caught.value) == f"machine 'pc': {key}: {reason}"


@pytest.mark.parametrize("name", ["", "a:b", "a b", "x/y", "\ud800"])
def test_a_name_is_refused_in_the_same_words(load: Load, name: str) -> None:
    rule = (
        "a machine's name is letters, digits, '-', '_' and '.', with at least one letter or digit"
    )
    with pytest.raises(ValueError, match="name is letters") as caught:
        Hub([make(name=name)], arches=ARCHES)

    assert str(caught.value) == f"machine {name!r}: {rule}"
    if name.isascii():
        assert words_of_a_file(load, f'[machines."{name}"]\narch = "amd64"') == rule


def test_names_that_differ_by_case_alone_are_refused(load: Load) -> None:
    reason = words_of_a_file(load, PC + '[machines.PC]\narch = "amd64"')
    with pytest.raises(ValueError, match="by case alone") as caught:
        Hub([make(), make(name="PC")], arches=ARCHES)

    assert str(caught.value) == f"machine 'PC': {reason}"
    with pytest.raises(ValueError, match="two machines are named 'pc'"):
        Hub([make(), make()], arches=ARCHES)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": 5}, "machine 5: is an integer, not a string"),
        ({"msrs": {"0x2ff": 1}}, "machine 'pc': msrs.0x2ff: is a string, not an integer"),
        ({"msrs": {0x2FF: 1.5}}, "machine 'pc': msrs.0x2ff: is a float, not an integer"),
        ({"msrs": {-1: 0}}, "machine 'pc': msrs.-0x1: register number -0x1 does not fit 32 bits"),
        ({"msrs": 5}, "machine 'pc': msrs: is an integer, not a mapping"),
        ({"memory": 5}, "machine 'pc': memory: is an integer, not a tuple"),
        ({"memory": (5,)}, "machine 'pc': memory[0]: is an integer, not a Region"),
        (
            {"kmem": (KernelMapping(virtual=1.5, physical=0, length=1),)},  # type: ignore[arg-type]
            "machine 'pc': kmem[0].virtual: is a float, not an integer",
        ),
        ({"cpu": 5}, "machine 'pc': cpu: is an integer, not a Cpu"),
        (
            {"kernel": 5},
            "machine 'pc': kernel: is an integer, neither a kernel's name nor a KernelLayout",
        ),
        (
            {"securelevel": 9, "upages": 0},
            (
                "machine 'pc': securelevel: 9 is not between -1 and 3\n"
                "machine 'pc': upages: 0 is not between 1 and 16"
            ),
        ),
    ],
)
def test_every_wrong_value_of_a_machine_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match="machine ") as caught:
        Hub([make(**changes)], arches=ARCHES)

    assert str(caught.value) == words


def test_numbers_of_numpy_become_pythons_own() -> None:
    given = {np.int64(0x2FF): np.uint64(0x806)}
    hub = Hub([make(msrs=given, memory=(Region(base=np.uint64(0), length=4096),))], arches=ARCHES)  # type: ignore[arg-type]
    spec = hub.machines["pc"].spec

    assert {(type(number), type(value)) for number, value in spec.msrs.items()} == {(int, int)}
    assert type(spec.memory[0].base) is int


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"specs": [5]}, "machine 5 is not a MachineSpec"),
        ({"specs": [make(arch=5)]}, "machine 'pc': arch 5 is not text"),
        ({"default": 5}, "default 5 is not text"),
        ({"log": 5}, "log 5 is not an AuditLog"),
    ],
)
def test_what_is_no_machine_no_name_and_no_log_is_refused(
    given: dict[str, Any], words: str
) -> None:
    for face in (Hub, LocalClient):
        with pytest.raises(TypeError) as caught:
            face(**{"specs": [make()], "arches": ARCHES, **given})

        assert str(caught.value) == words
