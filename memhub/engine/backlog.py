"""Those who wait and can go on, and are so many that others have a turn before they are served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: `Backlog.most` of an engine that serves all in one turn.
ALL: Final = -1


class Backlog:
    """The machines on which more can go on than are served in one turn.

    Attributes:
        machines: their names.
        most: how many waits are served in one turn; `ALL` where nobody works off the rest.
        on_more: called when a machine is put in.
    """

    def __init__(self) -> None:
        self.machines: set[str] = set()
        self.most = ALL
        self.on_more: Callable[[], None] = lambda: None

    def put(self, machine: str) -> None:
        """Leave the rest of a machine's waits for later."""
        self.machines.add(machine)
        self.on_more()
