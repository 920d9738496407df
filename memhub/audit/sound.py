"""Records of a log whose chain is checked as they are read, in one pass."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.source import DamagedSource, open_source
from memhub.audit.verify import ChainWalk, is_in_use

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator


class DamagedLog(AuditError):
    """Raised where a log's chain breaks; the records before the break were given."""


class SoundLog:
    """The records of a log, up to where its chain breaks.

    Args:
        path: a file, which may be in use, a pipe, or `-` for standard input; it may be
            compressed, as for `read_records`.
        progress: called with the bytes done and the bytes in all, once a block; not for a pipe.

    Attributes:
        name: what the log is called in messages.
        torn: that the last line is unfinished, once all records were read; None if it is not.
    """

    def __init__(
        self, path: str | os.PathLike[str], progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.torn: str | None = None
        self.name = ""
        self._path = path
        self._progress = progress

    def records(self) -> Iterator[dict[str, Any]]:
        """Each record that verifies, in order; memory is bounded as for `read_records`.

        An unfinished last line took no effect and is left out, and `torn` says so.

        Raises:
            DamagedLog: the chain breaks here, or the log has no record.
            AuditError: it cannot be read, or a member of a record is not of its type.
        """
        walk, number, rest = ChainWalk(None), 0, b""
        with open_source(self._path) as source:
            self.name = source.name
            try:
                for block in source.blocks():
                    lines = (rest + block).split(b"\n")
                    rest = lines.pop()
                    walk.feed(block)
                    for line in lines[: walk.lines - number]:
                        number += 1
                        yield parse_record(line, typed=True)

                    self._check(walk)
                    if self._progress and source.size is not None:
                        self._progress(source.taken, source.size)
            except DamagedSource as error:
                where = f"line {number + 1}"
                raise AuditError(source.name, f"audit log not read: {where}: {error}") from error
            except ValueError as error:
                raise AuditError(source.name, f"line {number} is not a record: {error}") from error

            self._end(walk, in_use=bool(rest) and is_in_use(source))

    def _check(self, walk: ChainWalk) -> None:
        if walk.broken is not None:
            raise DamagedLog(self.name, f"broken after {walk.lines} records: {walk.broken}")

    def _end(self, walk: ChainWalk, *, in_use: bool) -> None:
        walk.finish(in_use=in_use)
        if walk.broken is None or walk.broken.kind != "torn":
            self._check(walk)
        else:
            self.torn = f"{walk.broken}; it is left out"
