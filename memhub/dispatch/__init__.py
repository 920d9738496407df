"""The hub's synchronous half: one request in, its effect, its record, its answer.

Every method here runs from start to end without an await, so what it does is atomic to every
task of the event loop, and no cancellation can come between a change and its record. The
asynchronous half (`handle.py`) awaits before or after, never inside.

A change whose record cannot be written is taken back, and the request fails with LogFailed.

context  what all desks share       ranges  MEMRANGE_GET and MEMRANGE_SET
files    open and close             claims  claims by request
memory   read and write
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.dispatch.claims import ClaimsDesk
from memhub.dispatch.files import FileDesk
from memhub.dispatch.memory import MemoryDesk
from memhub.dispatch.ranges import RangeDesk

if TYPE_CHECKING:
    from memhub.dispatch.context import Context


class Dispatcher:
    """The desks of one hub.

    Args:
        context: the machines and the journal.
    """

    def __init__(self, context: Context) -> None:
        self.context = context
        self.files = FileDesk(context)
        self.memory = MemoryDesk(context)
        self.ranges = RangeDesk(context)
        self.claims = ClaimsDesk(context)
