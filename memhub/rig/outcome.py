"""What a replay came to: the differences, and what was not judged."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from memhub.abi import MDF_ACTIVE
from memhub.escape import escape_controls


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One difference between a trace and a machine.

    Attributes:
        scenario: the trace's id.
        step: the step, from 0; None before the first.
        what: `errno`, `count`, `slot 12`, `register 0x200`, `type of 0xa0000`, …
        expected: what the trace says.
        found: what the machine said.
    """

    scenario: str
    step: int | None
    what: str
    expected: str
    found: str

    def __str__(self) -> str:
        where = "at start" if self.step is None else f"step {self.step}"

        return escape_controls(
            f"{self.scenario} {where}: {self.what}: expected {self.expected}, found {self.found}"
        )


@dataclass(slots=True)
class Replay:
    """What a replay came to.

    Attributes:
        id: the trace's id.
        arch: the architecture that it ran on.
        steps: steps compared: each entry of `steps`, each address of `types`, and, of a real
            machine, its table and (where the text tells them) its registers as one step each.
        mismatches: the differences, in order.
        unjudged: how many steps were not judged, by the reason.
    """

    id: str
    arch: str
    steps: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    unjudged: Counter[str] = field(default_factory=Counter)

    def skip(self, reason: str) -> None:
        """Count a step that is not judged."""
        self.unjudged[reason] += 1

    def differ(self, step: int | None, what: str, expected: object, found: object) -> None:
        """Note a difference, if it is one."""
        if expected != found:
            row = Mismatch(self.id, step, what, _in_words(expected), _in_words(found))
            self.mismatches.append(row)


def _in_words(value: object) -> str:
    if isinstance(value, tuple) and len(value) == 4:
        base, length, flags, owner = value
        state = "active" if flags & MDF_ACTIVE else "inactive"

        return f"{base:#x}/{length:#x} flags {flags:#x} ({state}) owner {owner!r}"

    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:#x}" if value > 9 else str(value)

    return str(value)
