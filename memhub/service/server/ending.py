"""What becomes of a client's process at the end of its connection, and what is recorded."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from memhub.core.service_events import ClientGone
from memhub.engine.lifecycle import note_in_turn
from memhub.errors import LogFailed
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.engine.engine import Engine
    from memhub.handles.process import Process
    from memhub.service.server.rights import Peer

log: Final = logging.getLogger("memhub.service")


def end_process(
    engine: Engine, process: Process, peer: Peer, began_ns: int, cause: str, reason: str | None
) -> Iterator[None]:
    """Close what a client has open, in short steps, and record its end behind the closes.

    Args:
        engine: the hub's synchronous half.
        process: the client's process.
        peer: who the client was.
        began_ns: when it connected, monotonic nanoseconds.
        cause: for the log.
        reason: for the log.
    """
    with suppress(LogFailed):  # the closes are owed, and the record below stands behind them
        yield from process.close_each("stop" if cause == "stop" else "disconnect")

    who = process.principal
    try:
        note_in_turn(engine, ClientGone(who, str(peer), engine.now(), began_ns, cause, reason))
    except LogFailed as error:
        log.error("the end of %s is not logged yet: %s", escape_controls(str(peer)), error)
