"""Who reads slowly has not stopped reading, also where the kernel takes no more for a while."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest

from memhub import Hub, machines
from memhub.service.server import Server
from memhub.service.server.parting import await_reads
from memhub.service.settings import Limits, ServiceConfig

if TYPE_CHECKING:
    from pathlib import Path


class SlowLink:
    """A link of which the kernel holds a megabyte, and takes no more."""

    def __init__(self, reads: int) -> None:
        self.queued = 1 << 20
        self.taken = 1 << 20
        self.held = [(1 << 20) - 4096 * read for read in range(reads)]

    def progress(self) -> tuple[int, int]:
        return self.taken, self.held[0]

    async def room(self, _limit: int) -> None:
        if len(self.held) > 1:
            del self.held[0]

        await anyio.sleep_forever()


async def test_after_goodbye_it_is_awaited_while_it_reads() -> None:
    link = SlowLink(5)
    with anyio.fail_after(10):
        await await_reads(cast("Any", link), 0.01)

    assert link.held == [(1 << 20) - 4 * 4096]


@pytest.mark.parametrize("reads", [True, False])
def test_it_is_ended_only_where_it_has_read_nothing(tmp_path: Path, *, reads: bool) -> None:
    settings = ServiceConfig(socket=tmp_path / "s", limits=Limits(stall_timeout=3))
    server = Server(Hub([machines.pc()]), settings)
    link = SlowLink(10)
    ended: list[str] = []
    client = SimpleNamespace(
        receives=1, link=link, greeted=True, busy=True, end_now=lambda cause, _: ended.append(cause)
    )
    seen = None
    for second in range(8):
        seen = server._check_connection(cast("Any", client), seen, float(second))
        if reads:
            del link.held[0]

    assert set(ended) == (set() if reads else {"slow"})
