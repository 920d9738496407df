"""The six built-in architectures are sound, with the options that change what their drivers do."""

from __future__ import annotations

from typing import Any

import pytest

from memhub import Cpu, load_arches
from memhub.abi import RangeDesc
from memhub.core.asking.asked_driver import CallMark
from memhub.rig import check_arch
from memhub.rig.arch_check.asking import Request
from memhub.rig.arch_check.ground import CPUS, FIRMWARES, Ground
from memhub.rig.arch_check.running import run_steps

RANGES = [
    {"base": 0xA0000, "length": 0x20000, "type": "uncacheable", "fixed": True},
    {"base": 0xE0000000, "length": 0x1000000, "type": "write-combine"},
]
PALETTE = ["UC", "WC", "WT", "WP", "WB", "UC-", "UC", "UC"]
CASES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("amd64", {}, {}),
    ("amd64-mtrr", {}, {}),
    ("arm64", {}, {}),
    ("i386", {}, {}),
    ("k6", {}, {}),
    ("powerpc", {}, {}),
    ("powerpc64", {}, {}),
    ("amd64", {"slots": 2}, {}),
]
#: Registers with some variable ranges, without fixed ones, and with a default of uncacheable.
LONG: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("amd64", {"palette": "power-on"}, {}),
    ("amd64", {"palette": PALETTE, "ranges": RANGES}, {}),
    ("i386", {"pae": True, "release": "12.1"}, {"cpu": Cpu(phys_bits=52)}),
    ("amd64", {"slots": 1024}, {}),
    ("amd64", {"palette": "linux"}, {}),
    ("amd64", {"release": "9.3"}, {"cpu": Cpu(vendor="AMD", phys_bits=48, tom2=1 << 33)}),
    ("i386", {}, {"cpu": Cpu(phys_bits=32)}),
    ("amd64-mtrr", {}, {"msrs": {0xFE: 0x508, 0x2FF: 0x806}}),
    ("amd64-mtrr", {}, {"msrs": {0xFE: 0x50A, 0x2FF: 0xC00}}),
    (
        "amd64-mtrr",
        {},
        {"msrs": {0xFE: 0x50A, 0x2FF: 0xC00, 0x200: 6, 0x201: 0xF80000800}},
    ),
]


@pytest.mark.parametrize(("name", "options", "more"), CASES)
def test_a_built_in_architecture_is_sound(
    name: str, options: dict[str, Any], more: dict[str, Any]
) -> None:
    report = check_arch(load_arches()[name], options=options, sequences=1, **more)

    report.require_sound()
    assert (report.requests > 1000) == (name != "arm64")


def test_undo_waits_for_what_is_in_the_way_as_a_hub_does() -> None:
    """Slot 0, changed last, cannot be whole before slot 1 has gone back."""
    arch = load_arches()["amd64"]
    ground = Ground(arch, CPUS[0], {}, FIRMWARES[0], CallMark())
    ground.start = ground.attach(ground.new_driver())
    spans = [(0x3000, 0x4000, 8), (0x1000, 0x2000, 2), (0x3000, 0x4000, 2), (0x1000, 0x2000, 0)]
    requests = [
        Request("update" if flags else "remove", RangeDesc(0x10000000 + base, length, flags))
        for base, length, flags in (*spans, (0x1000, 0x3000, 2))
    ]
    done = run_steps(ground, requests)

    assert done.faults == []
    assert all(it.plan is not None for it in done.answers)


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "options", "more"), [*CASES, *LONG])
def test_it_is_sound_in_long_runs(name: str, options: dict[str, Any], more: dict[str, Any]) -> None:
    """Three times 150 random sequences; what is the same for each seed is asked once."""
    arch = load_arches()[name]
    report = check_arch(arch, options=options, sequences=450, seconds=600, **more)

    report.require_sound()
    assert report.is_complete
