"""The packed range table as each process sees it: kept until something in it changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from memhub.core.range_table import mark_busy

if TYPE_CHECKING:
    from memhub.abi import DataModel
    from memhub.core.files import Principal

    #: What a view depends on: generation of the table, epochs of the claims and the commits.
    Stamp = tuple[int, int, int]


@dataclass(slots=True)
class TableViews:
    """One packed table for each process and data model."""

    _kept: dict[tuple[int, str], tuple[Stamp, bytes]] = field(default_factory=dict)

    def find(self, process: Principal, model: DataModel, stamp: Stamp) -> bytes | None:
        """The view of a process, if it was kept and nothing has changed since."""
        kept = self._kept.get((process.id, model.name))

        return kept[1] if kept is not None and kept[0] == stamp else None

    def keep(
        self, process: Principal, model: DataModel, stamp: Stamp, image: bytes, busy: list[int]
    ) -> bytes:
        """Make and keep the view of a process.

        Args:
            process: whose view it is.
            model: the layout.
            stamp: what it depends on.
            image: the packed table, nobody's slots busy.
            busy: the slots that are BUSY to the process.
        """
        shown = mark_busy(image, model, busy) if busy else image
        self._kept[process.id, model.name] = (stamp, shown)

        return shown

    def drop(self, process: int) -> None:
        """Forget the views of a process that is gone."""
        for key in [key for key in self._kept if key[0] == process]:
            del self._kept[key]
