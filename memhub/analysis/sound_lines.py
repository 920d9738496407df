"""The lines of a log with their records, checked on the way, in blocks.

This does what `memhub.audit.verifying.sound` does in less than half the time, since most lines are
not parsed: a line of a known shape is compared with the pattern of that, and the hashes of many
lines at once with what they have to be. The log's own records, a file's first record, and every
line that is not as it should be are left to ChainWalk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import orjson

from memhub.audit.failure import AuditError
from memhub.audit.line import MAX_LINE, parse_record
from memhub.audit.reading.segments import Meter, is_folder, is_folder_in_use, log_files, log_name
from memhub.audit.reading.source import DamagedSource, Source, open_source
from memhub.audit.reading.unfinished import UnfinishedLine
from memhub.audit.seals.merkle import leaf_hash
from memhub.audit.verifying.chain_walk import ChainWalk
from memhub.audit.verifying.line_batch import BATCH, check_known, read_known
from memhub.audit.verifying.line_batch import SoundLines as Passed
from memhub.audit.verifying.line_shapes import LineShapes
from memhub.audit.verifying.sound import DamagedLog
from memhub.audit.verifying.verify import is_in_use

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from memhub.audit.verifying.line_batch import KnownLines

    Progress = Callable[[int, int], None]

#: What may be wrong with the end of a log while its records so far are sound.
_ENDS: Final = ("torn", "unsealed")


class Block(NamedTuple):
    """Some lines of a log.

    Attributes:
        lines: with their newlines.
        seqs: the `seq` of each.
        machines: the machine of each record as JSON; None for none.
        walls: `wall_ns` of each record.
        digests: the hash of each.
        records: the records that were parsed, by their index: the first of a file, the log's own,
            those with whole tables, and some more.
    """

    lines: list[bytes]
    seqs: Sequence[int]
    machines: list[bytes | None]
    walls: list[int]
    digests: list[str]
    records: dict[int, dict[str, Any]]


class _NoRecord(Exception):
    """Raised where a line is not a record."""

    def __init__(self, line: int, rule: ValueError) -> None:
        super().__init__(f"line {line} is not a record: {rule}")


class SoundLines:
    """One log, read once.

    Args:
        path: a file, a folder of segments, a pipe, or `-`; as for `read_records`.
        verified: whether the chain is checked too.
        progress: called with the bytes done and the bytes in all, once a block; not for a pipe.

    Attributes:
        name: what the log is called in messages.
        torn: what is wrong with the end, once all was read; None if nothing is.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        verified: bool = True,
        progress: Progress | None = None,
    ) -> None:
        self.name = log_name(path)
        self.torn: str | None = None
        self._path = path
        self._files = log_files(path)
        self._folder = is_folder(path)
        self._verified = verified
        self._meter = Meter(self._files, progress)
        self._walk = ChainWalk(whole=self._folder)
        self._shapes = LineShapes()
        self._number = 0
        self._rest = UnfinishedLine()

    def blocks(self) -> Iterator[Block]:
        """The log in blocks; memory is bounded by the longest line that is allowed.

        Raises:
            DamagedLog: the chain breaks here, or the log has no record.
            AuditError: it cannot be read, or a line is not a record.
        """
        in_use = False
        for file in self._files:
            with open_source(file) as source:
                if self._folder:
                    self._walk.begin_file(source.name)

                yield from self._blocks_of(source)
                in_use = is_folder_in_use(self._path) if self._folder else is_in_use(source)

            if file != self._files[-1]:
                self._walk.rest = self._rest
                self._walk.end_file()
                self._stop_at_break()

        self._end(in_use=in_use)

    def _blocks_of(self, source: Source) -> Iterator[Block]:
        read = self._check if self._verified else self._parse
        self._number, self._rest = 0, UnfinishedLine()
        try:
            for block in source.blocks():
                lines = self._rest.split_whole(block)
                if lines:
                    yield read(lines)

                if self._rest.size >= MAX_LINE:
                    self._have_looked_at(self._rest.look())
                    rule = ValueError(f"a line has at most {MAX_LINE} bytes")
                    raise _NoRecord(self._number + 1, rule)

                self._meter.tell(source)
        except DamagedSource as error:
            where = f"line {self._number + 1}"
            raise AuditError(source.name, f"audit log not read: {where}: {error}") from error
        except _NoRecord as error:
            raise AuditError(source.name, str(error)) from error

    def _check(self, lines: list[bytes]) -> Block:
        block = Block(lines, [], [], [], [], {})
        first, index = self._walk.seq + 1, 0
        while index < len(lines):
            # a file's first line says more than its record
            taken = self._pass_known(lines[index:], block) if self._number else 0
            if not taken:
                self._check_one(lines[index], index, block)
                taken = 1
                if not index:
                    first = self._walk.seq

            index += taken

        return block._replace(seqs=range(first, self._walk.seq + 1))

    def _check_one(self, line: bytes, index: int, block: Block) -> None:
        """Have ChainWalk check a line, and parse it."""
        self._have_looked_at(line)
        self._parse_line(line, index, block)
        block.digests.append(self._walk.head)

    def _pass_known(self, lines: list[bytes], block: Block) -> int:
        """Go past lines that have known shapes and follow each other.

        Returns:
            how many; 0 if ChainWalk has to look at the first.
        """
        walk = self._walk
        known = check_known(self._shapes, lines, walk.seq, walk.head)
        if known is None:
            return 0

        hashes = known.hashes
        lines = lines[: len(hashes)]
        leaves = b"" if walk.seals is None else b"".join(leaf_hash(line[:-1]) for line in lines)
        size = sum(map(len, lines))
        if not walk.pass_sound(
            Passed(walk.seq, walk.head, len(lines), size, hashes[-1], leaves, None)
        ):
            return 0

        self._number += len(lines)
        self._add_known(known, block)

        return len(lines)

    def _add_known(self, known: KnownLines, block: Block) -> None:
        """Add what lines of known shapes say to a block."""
        block.digests.extend(known.hashes)
        block.walls.extend(map(int, known.walls))
        block.machines.extend(known.machines)

    def _parse_line(self, line: bytes, index: int, block: Block) -> None:
        """Parse a line that has no known shape."""
        self._number += 1
        try:
            record = parse_record(line[:-1], typed=True)
        except ValueError as error:
            raise _NoRecord(self._number, error) from error

        block.records[index] = record
        name = record.get("machine")
        block.machines.append(None if name is None else orjson.dumps(name))
        block.walls.append(record["wall_ns"])

    def _have_looked_at(self, text: bytes) -> None:
        """Have ChainWalk take a line."""
        if self._verified:
            self._walk.feed(text)
            self._stop_at_break()

    def _stop_at_break(self) -> None:
        walk = self._walk
        if self._verified and walk.broken is not None:
            raise DamagedLog(self.name, f"broken after {walk.records} records: {walk.broken}")

    def _parse(self, lines: list[bytes]) -> Block:
        seqs: list[int] = []
        block = Block(lines, seqs, [], [], [], {})
        while (index := len(seqs)) < len(lines):
            # a file's first line says more than its record
            some = lines[index : index + BATCH] if self._number else []
            known = read_known(self._shapes, some) if some else None
            if known is None:
                self._parse_line(lines[index], index, block)
                seqs.append(block.records[index]["seq"])
                block.digests.append(block.records[index]["hash"])
            else:
                self._number += len(known.seqs)
                seqs += known.seqs
                self._add_known(known, block)

        return block

    def _end(self, *, in_use: bool) -> None:
        walk = self._walk
        if not self._verified:
            self.torn = "the last line is unfinished; it is left out" if self._rest.size else None
            return

        walk.rest = self._rest
        walk.finish(in_use=in_use)
        if walk.broken is None or walk.broken.kind not in _ENDS:
            self._stop_at_break()
        elif walk.broken.kind == "torn":
            self.torn = f"{walk.broken}; it is left out"
        else:
            self.torn = str(walk.broken)
