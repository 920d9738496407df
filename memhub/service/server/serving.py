"""The waits that can go on are served some at a time, so that other clients have their turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import anyio
from anyio.lowlevel import checkpoint

from memhub.backlog import ALL

if TYPE_CHECKING:
    from memhub.engine import Engine

#: Waits that are served in one turn of the event loop.
_IN_ONE_TURN: Final = 6


async def work_off_backlog(engine: Engine) -> None:
    """Serve those who wait, some in each turn of the event loop, until this is cancelled."""
    backlog = engine.backlog
    backlog.most = _IN_ONE_TURN
    try:
        while True:
            more = anyio.Event()
            backlog.on_more = more.set
            if not backlog.machines:
                await more.wait()

            await checkpoint()
            _serve_some(engine)
    finally:
        backlog.most = ALL
        _serve_some(engine)


def _serve_some(engine: Engine) -> None:
    for name in sorted(engine.backlog.machines):
        engine.backlog.machines.discard(name)
        engine.serve(engine.machines[name], engine.now(), engine.backlog.most)
