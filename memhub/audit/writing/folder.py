"""A folder of segments that is written: its lock, its last segment, and those that have ended."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_object
from memhub.audit.reading.reader import first_record
from memhub.audit.reading.segments import Segment, list_segments, segment_path
from memhub.audit.reading.source import PACKED, DamagedSource, load_zstd, open_source, split_lines
from memhub.audit.verifying.chain_walk import ChainWalk
from memhub.audit.writing.sealing import Sealer, check_key
from memhub.audit.writing.tail import Tail, read_tail

if TYPE_CHECKING:
    from memhub.audit.seals.note_keys import SigningKey

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

    def check_follows(self, path: str) -> None:
        """Refuse to go on in a segment that does not follow the one before it.

        Raises:
            AuditError: EINVAL; one of them is of another log, or segments are missing.
        """
        found = [it for it in list_segments(self.path, links=False) if it.number < self.number]
        try:
            first = first_record(path)
        except AuditError:
            return  # `read_tail` has said what is wrong with it, or will

        if first is None or not found:
            return

        before = found[-1]
        seq, head = _end_of(before.path)
        if (first.get("seq"), first.get("prev")) != (seq + 1, head):
            why = f"it does not follow {before.path}; `memhub audit verify` says where it breaks"
            raise AuditError(path, f"the log is not continued: {why}", errno.EINVAL)

    def last_packed(self) -> Segment | None:
        """The segment before the one that is to be written, where that one does not exist yet."""
        found = list_segments(self.path, links=False)

        return found[-1] if found and found[-1].number < self.number else None

    def ended(self) -> list[str]:
        """The segments that have ended and are not compressed, oldest first."""
        found = {it.number for it in list_segments(self.path, links=False)}
        plain = [segment_path(self.path, it) for it in sorted(found) if it < self.number]

        return [path for path in plain if _is_plain(path)]

    def close(self) -> None:
        """Give the folder back."""
        os.close(self._fd)

    def _find_last(self) -> int:
        """The segment to write: the last one, or the next if that is compressed.

        A segment that a killed writer left without a whole record is taken away.
        """
        for name in Path(self.path).glob(f"*{_UNFINISHED}"):
            name.unlink()

        found = list_segments(self.path, links=False)
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


def _is_plain(path: str) -> bool:
    """Whether a regular file is there, and not a link to one."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _end_of(path: str) -> tuple[int, str]:
    """Number and hash of the last record of a segment that has ended."""
    if not path.endswith(PACKED):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            tail = read_tail(fd, path)
        finally:
            os.close(fd)

        return tail.seq, tail.head

    last = b""
    with open_source(path) as source:
        try:
            for line in split_lines(source.blocks()):
                last = line

            record = parse_object(last)
        except ValueError as error:  # DamagedSource is one
            raise AuditError(path, f"audit log not read: {error}", errno.EINVAL) from error

    return record.get("seq", 0), record.get("hash", "")


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

    if walk.broken is not None or walk.rest.size:
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
    packed = path + PACKED
    unfinished = packed + _UNFINISHED
    try:
        with _open_plain(path) as plain:
            if Path(packed).exists():
                _require_same(plain, packed)
            else:
                _write_packed(plain, unfinished)
                Path(unfinished).replace(packed)

        Path(path).unlink()
    except AuditError:
        raise
    except OSError as error:
        Path(unfinished).unlink(missing_ok=True)
        raise AuditError.of(path, "segment not compressed", error) from error

    return packed


def _open_plain(path: str) -> BinaryIO:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise AuditError(path, "segment not compressed: it is not a regular file", errno.EINVAL)

    return os.fdopen(fd, "rb")


def _write_packed(plain: BinaryIO, path: str) -> None:
    """Write the compressed bytes of a file to a new one, on the disk when this returns."""
    Path(path).unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    mode = os.fstat(plain.fileno()).st_mode & 0o777
    with os.fdopen(os.open(path, flags, mode), "wb") as file:
        with load_zstd().open(file, "wb", level=_LEVEL) as target:
            while block := plain.read(_BLOCK):
                target.write(block)

        file.flush()
        os.fsync(file.fileno())


def _require_same(plain: BinaryIO, packed: str) -> None:
    """Refuse to take a file for a segment whose compressed form is there and differs.

    Raises:
        AuditError: EEXIST.
    """
    why = f"segment not compressed: it differs from {packed}, which is kept"
    with open_source(packed) as source:
        try:
            same = all(plain.read(len(block)) == block for block in source.blocks())
        except DamagedSource:
            same = False

    if not same or plain.read(1):
        raise AuditError(str(plain.name), why, errno.EEXIST)
