"""What a lint rule is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.analysis.analysis import Analysis

#: How much a finding matters.
Level = Literal["info", "warning", "error"]

#: The levels, the least first.
LEVELS: Final[tuple[Level, ...]] = ("info", "warning", "error")

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: stable; lower-case words with dashes.
        level: how bad a finding is.
        summary: what a finding is, in a few words.
        find: the findings as an Ibis table of a log; it has the columns `machine`, `seq` and
            `log`, and those that `say` takes.
        say: one finding in words, given its row.
        source: the plugin that it is from; empty for memhub's own.
    """

    name: str
    level: Level
    summary: str
    find: Callable[[Analysis], Any]
    say: Callable[[Mapping[str, Any]], str]
    source: str = ""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a rule's name is lower-case words with dashes, not {self.name!r}")

        if self.level not in LEVELS:
            raise ValueError(f"rule {self.name}: level {self.level!r} is none of {LEVELS}")
