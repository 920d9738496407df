"""A limit for calls of range drivers on the embedded hub of a rig."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from memhub.hub import Hub


def limit_drivers(hub: Hub, limit: float | None) -> AbstractContextManager[Any]:
    """A block in which a driver's call that lasts too long is stopped and told, with its stack.

    Args:
        hub: the hub, in use on the main thread.
        limit: seconds that one call may last; None sets no limit and costs nothing.
    """
    if limit is None:
        return nullcontext()

    from memhub.watchdog import DriverWatchdog

    return DriverWatchdog(hub.engine, limit, lambda line: print(line, file=sys.stderr))  # noqa: T201 - pytest shows it
