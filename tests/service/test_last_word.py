"""After the frame that ends a connection nothing follows."""

from __future__ import annotations

from typing import Any, cast

import anyio

from memhub.service.server.request_tasks import RequestTasks, event_of
from memhub.service.settings import Limits
from memhub.service.wire import Limits as WireLimits
from memhub.service.wire import ProtocolError, ServerProtocol


class Sent:
    """A link that keeps what is sent."""

    queued = 0

    def __init__(self) -> None:
        self.frames: list[Any] = []

    def send(self, buffers: Any, fd: int | None = None) -> None:
        self.frames.append((buffers, fd))


async def test_an_event_behind_an_abort_is_not_sent_and_no_fault() -> None:
    """The client's own claims end as it is thrown out, and its subscription sees that."""
    link, protocol = Sent(), ServerProtocol(WireLimits())
    async with anyio.create_task_group() as task_group:
        tasks = RequestTasks(
            cast("Any", None), cast("Any", link), protocol, task_group, Limits(), lambda: None
        )
        protocol.abort(ProtocolError("a rule was broken"))

        tasks.send_reply(event_of(1, 0, {"event": "claim.release", "seq": 7}, b"{}", 4096))

    assert link.frames == []
