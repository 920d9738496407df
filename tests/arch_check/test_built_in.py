"""The six built-in architectures are sound, with the options that change what their drivers do."""

from __future__ import annotations

from typing import Any

import pytest

from memhub import Cpu, load_arches
from memhub.rig import check_arch

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


@pytest.mark.campaign
@pytest.mark.parametrize(("name", "options", "more"), [*CASES, *LONG])
def test_it_is_sound_in_long_runs(name: str, options: dict[str, Any], more: dict[str, Any]) -> None:
    """Three times 150 random sequences; what is the same for each seed is asked once."""
    arch = load_arches()[name]
    report = check_arch(arch, options=options, sequences=450, seconds=600, **more)

    report.require_sound()
    assert report.is_complete
