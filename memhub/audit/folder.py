"""A folder of segments that is written: its lock, its last segment, and those that have ended."""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.audit.chain_walk import ChainWalk
from memhub.audit.failure import AuditError
from memhub.audit.sealing import Sealer, check_key
from memhub.audit.segments import Segment, list_segments, segment_path
from memhub.audit.source import PACKED, load_zstd, open_source
from memhub.audit.tail import Tail

if TYPE_CHECKING:
    from memhub.audit.note_keys import SigningKey

_BLOCK: Final = 1 << 20

#: Good and quick: a segment of 64 MiB takes half a second.
_LEVEL: Final = 3

_UNFINISHED: Final = ".unfinished"


class LogFolder:
    """A folder that one process writes.

    Args:
        path: the folder; made if it does not exist.

    Attributes:
        path: the folder.
        number: the number of the segment that is written.

    Raises:
        AuditError: it cannot be made or read, or another process writes it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        self._fd = _lock_folder(self.path)
        try:
            self.number = self._find_last()
        except BaseException:
            os.close(self._fd)
            raise

    @property
    def segment(self) -> str:
        """The segment that is written."""
        return segment_path(self.path, self.number)

    @property
    def following(self) -> str:
        """The segment after it."""
        return segment_path(self.path, self.number + 1)

    def last_packed(self) -> Segment | None:
        """The segment before the one that is to be written, where that one does not exist yet."""
        found = list_segments(self.path)

        return found[-1] if found and found[-1].number < self.number else None

    def ended(self) -> list[str]:
        """The segments that have ended and are not compressed, oldest first."""
        found = list_segments(self.path)

        return [it.path for it in found if it.number < self.number and not it.packed]

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._fd)

    def _find_last(self) -> int:
        """The segment to write: the last one, or the next if that is compressed.

        A segment that a killed writer left without a whole record is taken away.
        """
        for name in Path(self.path).glob(f"*{_UNFINISHED}"):
            name.unlink()

        found = list_segments(self.path)
        if len(found) > 1 and not found[-1].packed and not _has_record(found[-1].path):
            Path(found.pop().path).unlink()

        if not found:
            self._require_empty()
            return 1

        last = found[-1]

        return last.number + 1 if last.packed else last.number

    def _require_empty(self) -> None:
        """Refuse to begin a log among other things."""
        others = sorted(os.listdir(self.path))  # noqa: PTH208 - names are enough
        if others:
            why = f"the folder holds something other than an audit log: {others[0]}"
            raise AuditError(self.path, why, errno.ENOTEMPTY)


def _lock_folder(path: str) -> int:
    try:
        Path(path).mkdir(mode=0o750, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise AuditError.of(path, "audit log not opened", error) from error

    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(fd)
        if isinstance(error, BlockingIOError):
            raise AuditError(path, "another process writes this audit log", errno.EBUSY) from error

        raise AuditError.of(path, "audit log not locked", error) from error

    return fd


def _has_record(path: str) -> bool:
    with Path(path).open("rb") as file:
        return b"\n" in file.read(1 << 16)


def continue_packed(path: str, key: SigningKey | None) -> tuple[Tail, Sealer | None]:
    """Find the end of the chain in a compressed segment, by reading all of it.

    Args:
        path: the segment.
        key: signs the log from now on; None for a log without seals.

    Returns:
        the end, and what seals the log from there.

    Raises:
        AuditError: it cannot be read, does not verify, or is sealed with another key.
    """
    walk = ChainWalk(whole=False)
    with open_source(path) as source:
        for block in source.blocks():
            walk.feed(block)

    if walk.broken is not None or walk.rest:
        raise AuditError(path, f"the log is not continued: {walk.broken}", errno.EINVAL)

    seals = walk.seals
    named = None if seals is None else seals.key_text
    tail = Tail(walk.seq, walk.head, walk.log_id or "", walk.closed, key=named)
    check_key(path, tail, key)

    return tail, None if key is None or seals is None else Sealer(key, seals.tree, seals.seal_seq)


def pack_segment(path: str) -> str:
    """Compress a segment that has ended, then take the original away.

    It is slow: call it from a thread. At any moment one of both is whole.

    Args:
        path: the segment.

    Returns:
        the compressed file.

    Raises:
        AuditError: it cannot be read, or the compressed file cannot be written.
    """
    zstd, packed = load_zstd(), path + PACKED
    unfinished = packed + _UNFINISHED
    try:
        with Path(path).open("rb") as plain:
            mode = os.fstat(plain.fileno()).st_mode & 0o777
            with zstd.open(unfinished, "wb", level=_LEVEL) as target:
                while block := plain.read(_BLOCK):
                    target.write(block)

        fd = os.open(unfinished, os.O_RDONLY)
        try:
            os.fchmod(fd, mode)
            os.fsync(fd)
        finally:
            os.close(fd)

        Path(unfinished).replace(packed)
        Path(path).unlink()
    except OSError as error:
        Path(unfinished).unlink(missing_ok=True)
        raise AuditError.of(path, "segment not compressed", error) from error

    return packed
