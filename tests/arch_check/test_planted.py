"""The conformance kit finds each planted fault, names it, and shows it in few requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from arch_check import (
    planted_answers,
    planted_crowds,
    planted_edges,
    planted_effects,
    planted_far,
    planted_memory,
    planted_ranges,
    planted_types,
)
from arch_check.planted import UC, WC, Sound, make_arch
from arch_check.planted_answers import SHARED
from arch_check.planted_registers import WRONG_REGISTERS, SoundRegisters
from memhub.rig import check_arch
from memhub.rig.arch_check import RULES, NotSound
from memhub.rig.arch_check.side_effects import Surroundings

if TYPE_CHECKING:
    from memhub.plugin import RangeDriver

PLANTED: dict[type[RangeDriver], tuple[str, str]] = {
    **planted_answers.WRONG,
    **planted_ranges.WRONG,
    **planted_types.WRONG,
    **planted_crowds.WRONG,
    **planted_far.WRONG,
    **planted_effects.WRONG,
    **planted_edges.WRONG,
    **planted_memory.WRONG,
    **WRONG_REGISTERS,
}


#: Every fifth by default, and all in campaigns.
KINDS = [
    pytest.param(kind, id=kind.__name__, marks=[pytest.mark.campaign] if number % 5 else [])
    for number, kind in enumerate(PLANTED)
]


@pytest.mark.parametrize("kind", KINDS)
def test_each_planted_fault_is_found_and_named(kind: type[RangeDriver]) -> None:
    SHARED.clear()
    planted_memory.forget()
    rule, words = PLANTED[kind]
    fields = {} if issubclass(kind, Sound) else {"attributes": UC | WC}
    arch = make_arch(kind, **fields)
    report = check_arch(arch, sequences=4, limit=0.3, most=1)
    if rule not in report.rules or not any(words in it.message for it in report.findings):
        SHARED.clear()
        planted_memory.forget()
        report = check_arch(arch, sequences=12, limit=0.3)

    found = {it.rule: it for it in report.findings}
    assert rule in found, str(report)
    assert any(words in it.message for it in report.findings if it.rule == rule), str(report)
    assert found[rule].why == RULES[rule]
    assert kind.__name__ in found[rule].where or "architecture planted" in found[rule].where


def test_the_sound_driver_that_they_are_made_of_is_sound() -> None:
    for kind in (Sound, planted_crowds.Walks, planted_far.Large):
        check_arch(make_arch(kind), sequences=12).require_sound()

    check_arch(make_arch(SoundRegisters, attributes=UC | WC), sequences=12).require_sound()


def test_every_planted_fault_is_raised_as_a_report() -> None:
    kind = planted_answers.Raises
    with pytest.raises(NotSound, match=r"planted: .* found") as raised:
        check_arch(make_arch(kind), sequences=4, most=1).require_sound()

    assert "why: only a DeviceError refuses a request" in str(raised.value)


@pytest.mark.parametrize("seed", range(3))
def test_a_driver_that_remembers_is_told_so_before_what_seems_to_follow(seed: int) -> None:
    arch = make_arch(planted_answers.RemembersRefusals)
    report = check_arch(arch, seed=seed, sequences=4, limit=0.3)
    first = report.findings[0]
    assert first.rule == "remembers"
    assert "a driver that was asked nothing before answers" in first.message
    told_once = {"copy-differs", "owner-decides", "busy-changes-answer", "settled-wrongly"}
    assert told_once.isdisjoint(report.rules), str(report)
    assert str(report).endswith("mend `remembers` first: what else is found may follow from it")


@pytest.mark.parametrize(
    "kind", [it for it, (rule, _) in planted_effects.WRONG.items() if rule == "side-effects"]
)
def test_one_fault_is_enough_for_what_a_driver_changed_to_be_put_back(
    kind: type[RangeDriver],
) -> None:
    before = Surroundings.look()
    check_arch(make_arch(kind), sequences=1, limit=0.3, most=1)
    left = before.differences()
    before.put_back()

    assert {*left} <= {"open files", "threads"}  # the kit does not close or end those
