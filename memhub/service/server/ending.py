"""What is recorded at the end of a connection."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from memhub.core.service_events import ClientGone
from memhub.errors import LogFailed
from memhub.escape import escape_controls
from memhub.lifecycle import note_in_turn

if TYPE_CHECKING:
    from memhub.core.files import Principal
    from memhub.engine import Engine
    from memhub.service.server.rights import Peer

log: Final = logging.getLogger("memhub.service")


def log_end(
    engine: Engine, who: Principal, peer: Peer, began_ns: int, cause: str, reason: str | None
) -> None:
    """Record that a client is gone, behind the closes of its files.

    Args:
        engine: the hub's synchronous half.
        who: the client's process.
        peer: who the client was.
        began_ns: when it connected, monotonic nanoseconds.
        cause: for the log.
        reason: for the log.
    """
    try:
        note_in_turn(engine, ClientGone(who, str(peer), engine.now(), began_ns, cause, reason))
    except LogFailed as error:
        log.error("the end of %s is not logged yet: %s", escape_controls(str(peer)), error)
