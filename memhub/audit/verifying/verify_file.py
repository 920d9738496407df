"""Checking a regular file on several cores: each process reads its stretches of it by itself."""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Final

from memhub.audit.line import MAX_LINE
from memhub.audit.verifying import verify_jobs
from memhub.audit.verifying.verify_jobs import check_stretch, take_pieces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from memhub.audit.verifying.chain_walk import ChainWalk
    from memhub.audit.verifying.verify_jobs import Jobs, Piece

    #: Where a stretch begins and ends, and what becomes of it.
    Waiting = tuple[int, int, Future[list[Piece]]]

_BLOCK: Final = 1 << 17


def check_range(
    path: str, same: tuple[int, int], begin: int, end: int, wanted: str | None, *, sealed: bool
) -> list[Piece]:
    """Check the lines of a stretch, in a process of its own.

    Args:
        path: the file.
        same: its device and inode, so that another one at the path is not taken for it.
        begin: where the stretch begins.
        end: where it ends, behind a newline.
        wanted: a hash to look for.
        sealed: whether leaf hashes are needed.

    Returns:
        what `check_stretch` finds; nothing if the file is not there.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return []

    try:
        found = os.fstat(fd)
        if (found.st_dev, found.st_ino) != same:
            return []

        return check_stretch(_read_range(fd, begin, end), wanted, sealed=sealed)
    except OSError:
        return []
    finally:
        os.close(fd)


def feed_file(jobs: Jobs, walk: ChainWalk, path: str, fd: int, size: int) -> Iterator[int]:
    """Let a pass go over the lines of a file.

    Args:
        jobs: the processes.
        walk: the pass.
        path: the file.
        fd: it, open.
        size: its bytes, as far as they are looked at.

    Yields:
        up to which byte it has come; it has ended early where the chain is broken.
    """
    held = os.fstat(fd)
    same = held.st_dev, held.st_ino
    waiting: deque[Waiting] = deque()
    # the first line says whether the log is sealed
    begin = _find_line_end(fd, 0, size) or 0
    yield from _feed_range(walk, fd, 0, begin)
    while begin < size and walk.broken is None:
        end = _find_line_end(fd, begin + verify_jobs.STRETCH, size)
        if end is None:
            break

        sealed = walk.seals is not None
        job = jobs.pool.submit(check_range, path, same, begin, end, walk.wanted, sealed=sealed)
        waiting.append((begin, end, job))
        begin = end
        if len(waiting) > jobs.most:
            yield _take_range(walk, fd, *waiting.popleft())

    while waiting and (walk.broken is None or walk.is_probing()):
        yield _take_range(walk, fd, *waiting.popleft())

    yield from _feed_range(walk, fd, begin, size)


def _take_range(walk: ChainWalk, fd: int, begin: int, end: int, job: Future[list[Piece]]) -> int:
    take_pieces(
        walk, lambda first, last: _read_range(fd, begin + first, begin + last), end - begin, job
    )

    return end


def _feed_range(walk: ChainWalk, fd: int, begin: int, end: int) -> Iterator[int]:
    while begin < end and (walk.broken is None or walk.is_probing()):
        block = os.pread(fd, min(_BLOCK, end - begin), begin)
        if not block:  # it was cut meanwhile
            return

        walk.feed(block)
        begin += len(block)
        yield begin


def _read_range(fd: int, begin: int, end: int) -> bytes:
    """The bytes of a file from one place to another; fewer if it ends before."""
    blocks = []
    while begin < end and (block := os.pread(fd, end - begin, begin)):
        blocks.append(block)
        begin += len(block)

    return b"".join(blocks)


def _find_line_end(fd: int, offset: int, size: int) -> int | None:
    """Where the line ends that holds a byte; None if that is not before the end, or too far."""
    most = min(size, offset + MAX_LINE)
    while offset < most:
        block = os.pread(fd, min(1 << 14, most - offset), offset)
        if not block:
            return None

        found = block.find(b"\n")
        if found >= 0:
            return offset + found + 1

        offset += len(block)

    return None
