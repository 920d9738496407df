"""The packed range table as each process sees it: kept until something in it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.core.ranges.range_table import mark_busy

if TYPE_CHECKING:
    from memhub.abi import DataModel
    from memhub.core.files import Principal
    from memhub.core.holding.claim_table import ClaimTable
    from memhub.core.holding.commits import Commit, CommitList
    from memhub.core.ranges.range_table import RangeTable

    #: What a view depends on: generation of the table, epochs of the claims and the commits.
    Stamp = tuple[int, int, int]


@dataclass(slots=True)
class TableViews:
    """One packed table for each process and data model."""

    _kept: dict[tuple[int, str], tuple[Stamp, bytes]] = field(default_factory=dict)

    def show(
        self,
        table: RangeTable,
        claims: ClaimTable,
        commits: CommitList,
        process: Principal,
        model: DataModel,
    ) -> bytes:
        """The packed table as a process sees it: the slots of others show MDF_BUSY.

        Args:
            table: the table.
            claims: who holds what.
            commits: what is on its way.
            process: who looks.
            model: the layout.
        """
        if not claims.claims and not commits.commits:
            return table.image(model)

        stamp = (table.generation, claims.epoch, commits.epoch)
        key = (process.id, model.name)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == stamp:
            return kept[1]

        image = table.image(model)
        busy = busy_slots(claims, commits, process)
        if busy:
            image = mark_busy(image, model, busy)

        self._kept[key] = (stamp, image)

        return image

    def drop(self, process: int) -> None:
        """Forget the views of a process that is gone."""
        for key in [key for key in self._kept if key[0] == process]:
            del self._kept[key]


def busy_slots(
    claims: ClaimTable, commits: CommitList, process: Principal, but: Commit | None = None
) -> list[int]:
    """Slots that are BUSY to `process`: claimed by others, or in a commit other than `but`."""
    slots = claims.busy_slots(process)
    for commit in commits.others(but):
        slots.extend(commit.wrote)

    return slots
