"""Findings: each rule once for each method, with where it was broken and how to see it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from memhub.abi import MDF_SETTABLE
from memhub.core.kernel import OptionError
from memhub.errors import DeviceError
from memhub.rig.arch_check.asking import Request, StoppedHere
from memhub.rig.arch_check.finding import QUIRKS, RULES, Fault, Finding
from memhub.rig.arch_check.running import run_steps

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.drivers.driver import Arch
    from memhub.rig.arch_check.ground import Ground


@dataclass(slots=True)
class Teller:
    """Collects what is found.

    Attributes:
        arch: the architecture.
        most: how many findings end the check.
        findings: what was found.
        quirks: rules that do not hold, and that the architecture names.
    """

    arch: Arch
    most: int
    findings: list[Finding] = field(default_factory=list)
    quirks: dict[str, None] = field(default_factory=dict)
    _seen: set[tuple[str, str]] = field(default_factory=set)

    def is_known(self, fault: Fault) -> bool:
        """Whether the rule was told of the method already."""
        return (fault.rule, fault.method) in self._seen

    def tell(
        self, ground: Ground | None, faults: Iterable[Fault], requests: Sequence[Request] = ()
    ) -> None:
        """Add what was not told yet.

        Raises:
            StoppedHere: there are as many findings as were asked for.
        """
        for fault in faults:
            if self.is_known(fault):
                continue

            self._seen.add((fault.rule, fault.method))
            if fault.rule in self.arch.quirks and fault.rule in QUIRKS:
                self.quirks[fault.rule] = None
                continue

            where = f"architecture {self.arch.name}"
            if self.arch.plugin:
                where = f"{self.arch.plugin}, {where}"

            machine = ""
            steps: tuple[str, ...] = tuple([str(it) for it in requests])
            if ground is not None:
                machine = ground.in_words()
                steps = _steps_in_words(ground, requests, fault)
                if fault.method:
                    where = _name_method(ground, fault.method)

            self.findings.append(
                Finding(fault.rule, where, fault.words, RULES[fault.rule], machine, steps)
            )
            if len(self.findings) >= self.most:
                raise StoppedHere


def _name_method(ground: Ground, method: str) -> str:
    try:
        return ground.new_driver().named(method)
    except (DeviceError, OptionError):
        return f"{method} of architecture {ground.arch.name}"


def _steps_in_words(ground: Ground, requests: Sequence[Request], fault: Fault) -> tuple[str, ...]:
    """Each request with its answer."""
    if fault.rule in ("hangs", "slow") or not requests:
        return tuple([str(it) for it in requests])

    answers = run_steps(ground, requests, deep=False).answers
    words = [it.in_words() for it in answers] + ["not asked"] * (len(requests) - len(answers))

    return tuple([f"{it}  ({said})" for it, said in zip(requests, words, strict=True)])


def unanswered_questions(ground: Ground) -> Iterator[tuple[Fault, list[Request]]]:
    """The questions without an answer, each with the requests that lead to it.

    They may have been asked beside the rules: to find out what a driver takes, or to compare.
    """
    assert ground.start is not None
    for it in ground.unanswered.values():
        rows = zip(ground.start.slots, it.state.slots, strict=False)
        held = [row for before, row in rows if row.mr_len and row != before]
        asked = [replace(row, mr_flags=row.mr_flags & MDF_SETTABLE) for row in held]
        requests = [Request("update", row) for row in asked]
        if it.request is not None:
            requests.append(Request(it.request.op, replace(it.request.desc)))

        words = f"{requests[-1]}: {it.fault.words}" if requests else it.fault.words
        yield replace(it.fault, words=words), requests
