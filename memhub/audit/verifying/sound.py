"""Records of a log whose chain is checked as they are read, in one pass."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.reading.damage import count_text
from memhub.audit.reading.segments import Meter, is_folder, is_folder_in_use, log_files, log_name
from memhub.audit.reading.snapshots import Start
from memhub.audit.reading.source import DamagedSource, open_source
from memhub.audit.reading.unfinished import UnfinishedLine
from memhub.audit.verifying.chain_walk import ChainWalk
from memhub.audit.verifying.verify import is_in_use

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from memhub.audit.reading.source import Source
    from memhub.audit.seals.note_keys import VerifierKey


#: What may be wrong with the end of a log while its records so far are sound.
_ENDS: Final = ("torn", "unsealed")


class DamagedLog(AuditError):
    """Raised where a log's chain breaks; the records before the break were given."""


class SoundLog:
    """The records of a log, up to where its chain breaks.

    Args:
        path: a file, which may be in use, a folder of segments, a pipe, or `-` for standard
            input; it may be compressed, as for `read_records`.
        progress: called with the bytes done and the bytes in all, once a block; not for a pipe.
        start: where to begin; None for the beginning. The chain is checked from there on.
        keys: the log has to be sealed with one of these; none takes the key that it names itself,
            and no seals where `start` is not the beginning of a file.

    Attributes:
        name: what the log is called in messages.
        torn: what is wrong with the end, once all records were read: an unfinished last line, or
            records behind the last seal; None if nothing is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        progress: Callable[[int, int], None] | None = None,
        start: Start | None = None,
        keys: Sequence[VerifierKey] = (),
    ) -> None:
        self.torn: str | None = None
        self.name = log_name(path)
        self._path = path
        self._start = Start(tuple(log_files(path)), 0) if start is None else start
        self._whole = start is None
        self._keys = keys
        self._walk: ChainWalk | None = None
        self._progress = progress

    @property
    def seal_notes(self) -> list[str]:
        """What should be known of the seals that were met, where keys were given."""
        seals = None if self._walk is None or not self._keys else self._walk.seals

        return [] if seals is None else seals.notes

    def records(self) -> Iterator[dict[str, Any]]:
        """Each record that verifies, in order; memory is bounded as for `read_records`.

        An unfinished last line took no effect and is left out, and `torn` says so.

        Raises:
            DamagedLog: the chain breaks here, or the log has no record.
            AuditError: it cannot be read, or a member of a record is not of its type.
        """
        files, folder, offset = self._start.files, is_folder(self._path), self._start.offset
        anywhere = not self._whole and not (self._keys and not offset)
        walk = ChainWalk(None, self._keys, whole=folder and self._whole, anywhere=anywhere)
        self._walk = walk
        meter, in_use = Meter(files, self._progress), False
        for file in files:
            with open_source(file) as source:
                if folder:
                    walk.begin_file(source.name)
                else:
                    self.name = source.name

                yield from self._records_of(source, walk, meter, offset)
                offset = 0
                in_use = is_folder_in_use(self._path) if folder else is_in_use(source)

            if file != files[-1]:
                walk.end_file()
                self._check(walk)

        self._end(walk, in_use=in_use)

    def _records_of(
        self, source: Source, walk: ChainWalk, meter: Meter, offset: int
    ) -> Iterator[dict[str, Any]]:
        number, rest = 0, UnfinishedLine()
        try:
            for block in source.blocks(offset):
                lines = rest.split(block)
                walk.feed(block)
                for line in lines[: walk.lines - number]:
                    number += 1
                    yield parse_record(line, typed=True)

                self._check(walk)
                meter.tell(source)
        except DamagedSource as error:
            where = f"line {number + 1}"
            raise AuditError(source.name, f"audit log not read: {where}: {error}") from error
        except ValueError as error:
            raise AuditError(source.name, f"line {number} is not a record: {error}") from error

    def _check(self, walk: ChainWalk) -> None:
        broken = walk.broken
        if broken is None:
            return

        first, offset = self._start.files[0], self._start.offset
        after = count_text(walk.records, "record") if walk.first_seq == 1 else f"record {walk.seq}"
        if offset and broken.file in (None, first):
            # it was counted from where reading began
            lines = broken.line + _count_lines(first, offset)
            broken = replace(broken, line=lines, offset=broken.offset + offset)

        raise DamagedLog(self.name, f"broken after {after}: {broken}")

    def _end(self, walk: ChainWalk, *, in_use: bool) -> None:
        walk.finish(in_use=in_use)
        if walk.broken is None or walk.broken.kind not in _ENDS:
            self._check(walk)
        elif walk.broken.kind == "torn":
            self.torn = f"{walk.broken}; it is left out"
        else:
            self.torn = str(walk.broken)


def _count_lines(path: str, size: int) -> int:
    """How many lines the first bytes of a file have."""
    count = 0
    with open_source(path) as source:
        for block in source.blocks():
            count += block[:size].count(b"\n")
            size -= len(block)
            if size <= 0:
                break

    return count
