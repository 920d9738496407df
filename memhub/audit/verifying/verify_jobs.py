"""Checking a large log on several cores: each line's hash needs no other line, only links do.

Stretches of a log go to other processes. Each answers which of its lines are sound and follow each
other, from which record to which. What it does not find sound, and what is about the log itself, it
gives back, and that is checked one line after another as ever. So the verdict is the same.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.line import MAX_LINE
from memhub.audit.seals.merkle_check import leaf_hash
from memhub.audit.verifying.line_batch import BATCH, SoundLines, check_some
from memhub.audit.verifying.line_shapes import LineShapes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from memhub.audit.verifying.chain_walk import ChainWalk

#: Bytes of a stretch: large against the cost of handing it over.
STRETCH: Final = 1 << 20

#: Stretches that may wait for an earlier one, as while a process starts; they are in memory.
_WAITING: Final = 48

#: What became of a stretch: lines that are sound, and bytes that are to be checked one by one.
Piece = SoundLines | bytes


def check_stretch(data: bytes, wanted: str | None, *, sealed: bool) -> list[Piece]:
    """Check the lines of a stretch, in a process of its own.

    Args:
        data: whole lines, with their newlines.
        wanted: a hash to look for.
        sealed: whether leaf hashes are needed.
    """
    pieces: list[Piece] = []
    lines = BytesIO(data).readlines()
    shapes, first = _shapes_of_process(), 0
    while first < len(lines):
        piece, count = _check_some(shapes, lines[first : first + BATCH], wanted, sealed=sealed)
        first += count
        last = pieces[-1] if pieces else None
        if isinstance(piece, SoundLines) and isinstance(last, SoundLines):
            joined = _join(last, piece)
            if joined is not None:
                pieces[-1] = joined
                continue

        pieces.append(piece)

    return pieces


@cache
def _shapes_of_process() -> LineShapes:
    """The shapes that this process has learned: of the stretches of a log most are the same."""
    return LineShapes()


def _check_some(
    shapes: LineShapes, lines: list[bytes], wanted: str | None, *, sealed: bool
) -> tuple[Piece, int]:
    """What becomes of some lines, and of how many."""
    try:
        first = orjson.loads(lines[0])
        seq, prev = first["seq"] - 1, first["prev"]
    except (ValueError, KeyError, TypeError):
        return b"".join(lines), len(lines)

    if type(seq) is not int or seq < 1 or not isinstance(prev, str):
        return b"".join(lines), len(lines)

    hashes = check_some(shapes, lines, seq, prev)
    if hashes is None:
        return b"".join(lines), len(lines)

    lines = lines[: len(hashes)]
    leaves = b"".join([leaf_hash(line[:-1]) for line in lines]) if sealed else b""
    found = hashes.index(wanted) if wanted is not None and wanted in hashes else None
    size = sum(map(len, lines))

    return SoundLines(seq, prev, len(lines), size, hashes[-1], leaves, found), len(lines)


def _join(one: SoundLines, other: SoundLines) -> SoundLines | None:
    """Two pieces as one, if the second follows the first."""
    if other.prev != one.head or other.seq != one.seq + one.lines:
        return None

    found = one.found
    if found is None and other.found is not None:
        found = one.lines + other.found

    count, size = one.lines + other.lines, one.size + other.size

    return SoundLines(one.seq, one.prev, count, size, other.head, one.leaves + other.leaves, found)


class Jobs:
    """Processes that check stretches of a log, in order.

    Args:
        pool: the processes.
        count: how many there are.

    Attributes:
        pool: as above.
        most: how many stretches wait for an earlier one at most.
    """

    def __init__(self, pool: ProcessPoolExecutor | SharedPool, count: int) -> None:
        self.pool = pool
        self.most = max(_WAITING, 4 * count)

    def feed(self, walk: ChainWalk, blocks: Iterable[bytes]) -> Iterator[int]:
        """Let a pass go over the lines of a file.

        Args:
            walk: the pass.
            blocks: the bytes of the file.

        Yields:
            bytes that it has taken; it has ended early where the chain is broken.
        """
        waiting: deque[tuple[bytes, Future[list[Piece]]]] = deque()
        sealed, left = walk.seals is not None, b""
        for stretch, rest in _stretches(blocks):
            left = rest
            if stretch and not walk.lines and not waiting:
                # the first line of a file says whether the log is sealed
                header = stretch[: stretch.index(b"\n") + 1]
                walk.feed(header)
                yield len(header)
                if walk.broken is not None and not walk.is_probing():
                    return

                stretch = stretch[len(header) :]
                sealed = walk.seals is not None

            if stretch:
                job = self.pool.submit(check_stretch, stretch, walk.wanted, sealed=sealed)
                waiting.append((stretch, job))

            while waiting and (len(waiting) > self.most or not stretch):
                yield _take(walk, *waiting.popleft())
                if walk.broken is not None and not walk.is_probing():
                    return

        if left:
            walk.feed(left)
            yield len(left)


def take_pieces(
    walk: ChainWalk, read: Callable[[int, int], bytes], size: int, job: Future[list[Piece]]
) -> None:
    """Let a pass go over a stretch that was checked, or is not worth it any more.

    Args:
        walk: the pass.
        read: gives the bytes of the stretch from one place to another.
        size: the bytes of the stretch.
        job: what was found; a stretch of which less is known is fed.
    """
    offset = 0
    for piece in [] if walk.is_probing() else job.result():
        end = offset + (piece.size if isinstance(piece, SoundLines) else len(piece))
        if not isinstance(piece, SoundLines) or not walk.pass_sound(piece):
            walk.feed(read(offset, end))

        offset = end
        if walk.broken is not None:
            break

    if offset < size and (walk.broken is None or walk.is_probing()):
        walk.feed(read(offset, size))


def _take(walk: ChainWalk, stretch: bytes, job: Future[list[Piece]]) -> int:
    take_pieces(walk, lambda first, last: stretch[first:last], len(stretch), job)

    return len(stretch)


def _stretches(blocks: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Whole lines, some MiB at a time, and what is left behind them; at last nothing and that."""
    kept: list[bytes] = []
    size = 0
    for block in blocks:
        kept.append(block)
        size += len(block)
        if size >= STRETCH and b"\n" in block:
            whole, _, rest = b"".join(kept).rpartition(b"\n")
            yield whole + b"\n", rest
            kept, size = [rest], len(rest)
        elif size >= MAX_LINE + STRETCH:  # a line without an end; the pass refuses it
            yield b"", b"".join(kept)
            return

    whole, newline, rest = b"".join(kept).rpartition(b"\n")
    if newline:
        yield whole + newline, rest

    yield b"", rest


class SharedPool:
    """A pool in whose work this process shares, where the others have enough to do.

    Args:
        pool: the other processes.
        count: how many they are.
    """

    def __init__(self, pool: ProcessPoolExecutor, count: int) -> None:
        self._pool = pool
        self._enough = 2 * count
        self._given: list[Future[Any]] = []

    def submit(
        self, work: Callable[..., list[Piece]], *args: object, **options: object
    ) -> Future[list[Piece]]:
        """Have some work done, by another process or at once."""
        self._given = [job for job in self._given if not job.done()]
        if len(self._given) < self._enough:
            job = self._pool.submit(work, *args, **options)
            self._given.append(job)
            return job

        done: Future[list[Piece]] = Future()
        done.set_result(work(*args, **options))

        return done


@contextmanager
def start_processes(count: int) -> Iterator[Jobs]:
    """Processes for as long as the block lasts.

    Args:
        count: how many are to work, this one included; two at least.
    """
    context = get_context("forkserver")
    with ProcessPoolExecutor(count - 1, mp_context=context) as pool:
        try:
            yield Jobs(SharedPool(pool, count - 1), count)
        finally:
            pool.shutdown(cancel_futures=True)
