"""A MEMRANGE_SET on its way to all CPUs, as data (rule 8 of `ownership.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.core.instant import NEVER
from memhub.errors import Obstacle

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.abi import RangeDesc
    from memhub.core.files import Caller
    from memhub.core.instant import Instant
    from memhub.core.requests import SetRange


@dataclass(frozen=True, slots=True)
class Commit:
    """An UPDATE or REMOVE that has begun and has not taken effect.

    Attributes:
        number: unique on its machine.
        caller: who asked.
        request: what was asked.
        wrote: the slots that it will write.
        after: what each of them will hold.
        bounds: `[lo, hi)`: bytes whose type may change.
        since: when it began.
        asked_ns: when it was asked for, monotonic nanoseconds; earlier if it waited.
        due_ns: when it takes effect, monotonic nanoseconds.
    """

    number: int
    caller: Caller
    request: SetRange
    wrote: tuple[int, ...]
    after: Mapping[int, RangeDesc]
    bounds: tuple[int, int]
    since: Instant
    asked_ns: int
    due_ns: int

    def obstacle(self, slot: int | None = None) -> Obstacle:
        """This commit as what stood in the way."""
        desc, process = self.request.desc, self.caller.process

        return Obstacle(
            kind="commit",
            slot=slot,
            base=desc.mr_base,
            length=desc.mr_len,
            owner=desc.owner,
            process=process.name,
            process_id=process.id,
            pid=process.pid,
            since=self.since.wall_ns / 1e9,
        )


@dataclass(slots=True)
class CommitList:
    """The commits in flight on one machine.

    Attributes:
        commits: by number, oldest first; they take effect in this order.
        last: the highest number given out.
        epoch: changes whenever a commit begins or ends.
    """

    commits: dict[int, Commit] = field(default_factory=dict)
    last: int = 0
    epoch: int = field(default=0, compare=False)

    def __len__(self) -> int:
        return len(self.commits)

    def __iter__(self) -> Iterator[Commit]:
        return iter(self.commits.values())

    @property
    def first_due(self) -> int:
        """Monotonic nanoseconds at which the next one takes effect."""
        return min(commit.due_ns for commit in self) if self else NEVER

    def others(self, but: Commit | None, leaving: int | None = None) -> list[Commit]:
        """The commits that a change has to respect.

        Args:
            but: the commit that is the change itself.
            leaving: an open file that is being closed; its commits will not take effect.
        """
        return [
            it
            for it in self
            if (but is None or it.number != but.number) and it.caller.handle != leaving
        ]

    def add(self, commit: Commit) -> None:
        """Take a commit in; one that was taken out comes back to its place."""
        self.epoch += 1
        self.commits[commit.number] = commit
        if commit.number < self.last:
            self.commits = dict(sorted(self.commits.items()))

    def remove(self, commit: Commit) -> None:
        """Take a commit out."""
        self.epoch += 1
        del self.commits[commit.number]
