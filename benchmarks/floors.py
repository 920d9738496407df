"""The floors: the least that any code with the same result must do.

FC is one await, the unpacking and packing of a descriptor, and one checkpoint. FA is FC, one
structlog event of the record that memhub logs for the same request, through the same serialiser
to a logger that does not flush, the hash that chains it, and its write.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from hashlib import sha256
from itertools import cycle
from typing import TYPE_CHECKING, Any

import orjson
import structlog
from anyio.lowlevel import checkpoint

from benchmarks.rig import COMBINE
from memhub.abi import ILP32

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from benchmarks.harness import AsyncWork

_UNPACK, _PACK = ILP32.desc.unpack, ILP32.desc.pack


async def _call(packed: bytes) -> bytes:
    fields = _UNPACK(packed)
    await checkpoint()

    return _PACK(*fields)


async def fc(count: int) -> None:
    """FC, `count` times."""
    for _ in range(count):
        await _call(COMBINE)


class ChainedLines:
    """A logger in structlog's sense: chains a line and writes it, and has no buffer to flush."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._head = b""

    def info(self, line: bytes) -> None:
        """Take one rendered line."""
        digest = sha256(self._head + line).hexdigest().encode()
        self._head = digest
        os.write(self._fd, line + digest + b"\n")


def logger(target: object) -> Callable[..., None]:
    """structlog as its documentation sets it up for speed; returns the method that logs."""
    log = structlog.wrap_logger(
        target,
        processors=[structlog.processors.JSONRenderer(serializer=orjson.dumps)],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        context_class=dict,
        cache_logger_on_first_use=True,
    )
    method: Callable[..., None] = log.bind().info

    return method


@contextmanager
def fa(path: Path, records: Sequence[dict[str, Any]]) -> Iterator[AsyncWork]:
    """FA for a request, or for several in turn, whose records these are."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    info = logger(ChainedLines(fd))
    turns = cycle(records)

    async def call(packed: bytes) -> bytes:
        fields = _UNPACK(packed)
        await checkpoint()
        info(**next(turns))

        return _PACK(*fields)

    async def work(count: int) -> None:
        for _ in range(count):
            await call(COMBINE)

    try:
        yield work
    finally:
        os.close(fd)
