"""What is wrong with a configuration file: every mistake, each with its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        key: dotted key, as `machines.lab.memory[2].base`; empty for the file as a whole.
        reason: what is wrong with it, and the rule.
    """

    key: str
    reason: str

    def __str__(self) -> str:
        return escape_controls(f"{self.key}: {self.reason}" if self.key else self.reason)


class ConfigError(ValueError):
    """Raised when a configuration file is refused; names the file and every mistake in it.

    Attributes:
        path: the file.
        problems: the mistakes, in the order of the file's tables; at least one.
    """

    def __init__(self, path: Path | str, problems: Sequence[Problem]) -> None:
        self.path = str(path)
        self.problems = tuple(problems)
        shown = escape_controls(self.path)
        super().__init__("\n".join(f"{shown}: {problem}" for problem in self.problems))
