"""Where a log is written: its file, or the last segment of its folder, and what is there."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple, get_args

from memhub.arguments import take_kind
from memhub.audit.reading.segments import is_folder
from memhub.audit.writing.keeping import Keeping
from memhub.audit.writing.sink import Durability, FileSink
from memhub.audit.writing.tail import Tail, read_tail

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.audit.seals.note_keys import SigningKey
    from memhub.audit.writing.folder import LogFolder
    from memhub.audit.writing.sealing import Sealer


class LogPlace(NamedTuple):
    """An open place of a log.

    Attributes:
        sink: the file that is written.
        tail: where the chain of the log ends.
        sealer: what seals it, or None.
        folder: the folder of segments, or None.
        new_segment: whether the file is a segment that is still to begin.
    """

    sink: FileSink
    tail: Tail
    sealer: Sealer | None
    folder: LogFolder | None
    new_segment: bool

    def close(self) -> None:
        """Give all back."""
        self.sink.close()
        if self.folder is not None:
            self.folder.close()


def check_opening(durability: object, key: object, keeping: object) -> None:
    """Refuse arguments of `AuditLog.open` before anything is opened or made.

    Raises:
        TypeError: the key or the keeping is of another class.
        ValueError: the durability is another word.
    """
    if durability not in get_args(Durability):
        raise ValueError(f"durability {durability!r:.80} is neither 'os' nor 'disk'")

    take_kind("keeping", keeping, Keeping)
    if key is not None:
        from memhub.audit.seals.note_keys import SigningKey

        take_kind("key", key, SigningKey)


def open_place(
    path: str | os.PathLike[str],
    durability: Durability,
    key: SigningKey | None,
    write: Callable[[int, bytes], int],
) -> LogPlace:
    """Open and lock a log for writing.

    Args:
        path: a file or a folder, as for `AuditLog.open`.
        durability: what a write waits for.
        key: the key to sign with, or None.
        write: `os.write`, or what a test puts in its place.

    Raises:
        AuditError: as for `AuditLog.open`.
    """
    if is_folder(path):
        return _open_folder(path, durability, key, write)

    with ExitStack() as opened:
        sink = FileSink(path, durability, write=write)
        opened.callback(sink.close)
        tail = read_tail(sink.fd, sink.path)
        sealer = _find_sealer(sink, tail, key)
        opened.pop_all()

    return LogPlace(sink, tail, sealer, None, new_segment=False)


def _open_folder(
    path: str | os.PathLike[str],
    durability: Durability,
    key: SigningKey | None,
    write: Callable[[int, bytes], int],
) -> LogPlace:
    from memhub.audit.writing.folder import LogFolder, continue_packed

    with ExitStack() as opened:
        folder = LogFolder(path)
        opened.callback(folder.close)
        before = folder.last_packed()
        sink = FileSink(folder.segment, durability, write=write, flags=os.O_NOFOLLOW)
        opened.callback(sink.close)
        if before is None:
            folder.check_follows(sink.path)
            tail = read_tail(sink.fd, sink.path)
            sealer = _find_sealer(sink, tail, key)
        else:
            tail, sealer = continue_packed(before.path, key)
            sink.cut(0)

        opened.pop_all()

    return LogPlace(sink, tail, sealer, folder, new_segment=before is not None)


def _find_sealer(sink: FileSink, tail: Tail, key: SigningKey | None) -> Sealer | None:
    if key is None and tail.key is None:
        return None

    # only a log that is sealed needs what makes seals
    from memhub.audit.writing.sealing import continue_sealer

    return continue_sealer(sink.fd, sink.path, tail, key)
