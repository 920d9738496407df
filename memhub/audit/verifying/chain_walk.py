"""One pass over the lines of a log: the chain, record by record, and the seals in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.chain import GENESIS, digest_of
from memhub.audit.line import MAX_LINE, show_value
from memhub.audit.reading.damage import Break, Fault
from memhub.audit.reading.line_fault import (
    ENDLESS,
    find_fault,
    find_header_fault,
    find_name_fault,
    find_torn_fault,
    is_integer,
    parse_line,
)
from memhub.audit.reading.unfinished import UnfinishedLine
from memhub.audit.verifying.line_batch import BATCH, check_some
from memhub.audit.verifying.line_shapes import LineShapes
from memhub.audit.verifying.look_ahead import LookAhead

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.audit.seals.note_keys import VerifierKey
    from memhub.audit.seals.seal_check import SealCheck
from memhub.audit.verifying.line_batch import SoundLines

#: Why a log may be continued whose writer did not close it.
_WHY: Final = ": the writer was killed, or the end was cut off"


class ChainWalk:
    """The state of one pass: the position, and what the next record must say.

    A log may be several files, each of which goes on where the one before ended. A pass over one
    takes the number and the hash before it from its first record.

    Args:
        wanted: a record's hash that has to be in the chain, or None.
        keys: whose signatures a seal may have; none takes the key that the log names itself.
        whole: whether the pass begins with the log's first record.
        anywhere: whether it may begin with any record; then seals are not checked.

    Attributes:
        seq: number of the last record that verifies.
        head: its hash.
        head_seq: number of the record that has the hash wanted, or None.
        first_seq: number of the first record.
        lines: lines of this file that verify.
        offset: their bytes.
        taken: bytes that were fed.
        rest: the line that has no newline yet.
        log_id: identity that the header gives.
        closed: whether the last record, seals left out, is a `log.close`.
        seals: what is sealed; None for a log without seals.
        goes_on_in: the segment that the last record, seals left out, says goes on.
        broken: the first break, or None.
        notes: what is not a break but should be known.
    """

    def __init__(
        self,
        wanted: str | None = None,
        keys: Sequence[VerifierKey] = (),
        *,
        whole: bool = True,
        anywhere: bool = False,
    ) -> None:
        self.wanted = wanted
        self.head = GENESIS
        self.head_seq: int | None = None
        self.seq, self.first_seq = 0, 1
        self.lines = 0
        self.offset = 0
        self.taken = 0
        self.rest = UnfinishedLine()
        self.log_id: str | None = None
        self.closed = False
        self.seals: SealCheck | None = None
        self.goes_on_in: object = None
        self.broken: Break | None = None
        self.notes: list[str] = []
        self._keys = keys
        self._whole, self._anywhere = whole, anywhere
        self._file: str | None = None
        self._looking: LookAhead | None = None
        self._shapes = LineShapes()

    @property
    def records(self) -> int:
        """How many records verify."""
        return self.seq - self.first_seq + 1

    def is_probing(self) -> bool:
        """Whether a record that is not in its place is still looked for."""
        return self._looking is not None

    def begin_file(self, name: str) -> None:
        """Go on in a file of the log."""
        self._file = name
        self.lines = self.offset = 0

    def end_file(self) -> None:
        """End a file that another one follows; its last line has to be whole."""
        if self.broken is None and self.rest.size:
            self._break_torn("the segment's last line is unfinished, and another one follows")

        self.rest.take()

    def break_packed(self, reason: str) -> None:
        """Break where the compressed data of a file do not go on."""
        if self.broken is None:
            self._break(Fault("packed", "whole data", "damaged data", reason, "altered"))

    def feed(self, block: bytes) -> None:
        """Check the lines that `block` completes."""
        self.taken += len(block)
        if self.is_probing():
            self._look_ahead(block)
            return

        lines = self.rest.split_whole(block)
        looked_at = self._check_lines(lines)
        if self.is_probing():
            self._look_ahead(b"".join((b"\n", *lines[looked_at:], self.rest.look())))
        elif self.broken is None and self.rest.size >= MAX_LINE:
            self._break(ENDLESS)

    def _check_lines(self, lines: list[bytes]) -> int:
        """Check whole lines, with their newlines; the answer is how many were looked at."""
        first = 0
        while first < len(lines):
            some = lines[first : first + BATCH]
            hashes = check_some(self._shapes, some, self.seq, self.head) if self.lines else None
            if hashes is not None:
                self._take_sound(some[: len(hashes)], hashes)
                first += len(hashes)
                continue

            for line in some:
                self._check_line(line[:-1])
                first += 1
                if self.broken is not None:
                    return first

        return len(lines)

    def _take_sound(self, lines: list[bytes], hashes: list[str]) -> None:
        """Go past lines that are sound, none of which is about the log itself."""
        if self.seals is not None:
            append = self.seals.tree.append
            for line in lines:
                append(line[:-1])

        if self.wanted is not None and self.wanted in hashes:
            self.head_seq = self.seq + 1 + hashes.index(self.wanted)

        self.closed, self.goes_on_in = False, None
        self.head = hashes[-1]
        self.seq += len(lines)
        self.lines += len(lines)
        self.offset += sum(map(len, lines))

    def pass_sound(self, lines: SoundLines) -> bool:
        """Go past lines that were checked elsewhere, if they follow here.

        Returns:
            whether they do; if not, they are to be fed.
        """
        if not self.lines or self.rest.size or (lines.seq, lines.prev) != (self.seq, self.head):
            return False

        if self.seals is not None:
            append = self.seals.tree.append_leaf
            for first in range(0, len(lines.leaves), 32):
                append(lines.leaves[first : first + 32])

        if lines.found is not None:
            self.head_seq = self.seq + 1 + lines.found

        self.closed, self.goes_on_in = False, None
        self.head = lines.head
        self.seq += lines.lines
        self.lines += lines.lines
        self.offset += lines.size
        self.taken += lines.size

        return True

    def _check_line(self, line: bytes) -> None:
        record = self._look(line)
        if record is None or self.broken is not None:
            return

        if not record["event"].startswith("log."):
            self.closed, self.goes_on_in = False, None
        elif not self._take_own(record):
            assert self.seals is not None and self.seals.fault is not None  # noqa: PT018
            self._break(self.seals.fault.as_fault(), record)
            return

        self.head = digest_of(line)
        self.seq += 1
        self.lines += 1
        self.offset += len(line) + 1
        if self.seals is not None:
            self.seals.tree.append(line)

        if self.head == self.wanted:
            self.head_seq = self.seq

    def _take_own(self, record: dict[str, Any]) -> bool:
        """Keep what the log's own records say; whether a seal holds."""
        event, line = record["event"], self.lines + 1
        if event == "log.seal":
            return self.seals is None or self.seals.take(record, self.seq)

        if event == "log.resume" and not self.closed:
            self.notes.append(f"{self._place(line)}: continued without a log.close before it{_WHY}")
        elif event == "log.recovered":
            what = "an unfinished line was cut off before this record"
            self.notes.append(f"{self._place(line)}: {what}")

        self.closed = event == "log.close"
        self.goes_on_in = record.get("segment") if event == "log.rotate" else None

        return True

    def _place(self, line: int) -> str:
        return f"line {line}" if self._file is None else f"{self._file}: line {line}"

    # A line that is not as it should be, or is a file's first

    def _look(self, line: bytes) -> dict[str, Any] | None:
        """Find what is wrong with a line, if anything, and take what a file's first one says."""
        first = self.lines == 0
        anywhere = self._anywhere and self.seq == 0
        record, fault = parse_line(line)
        if record is not None and anywhere:
            self._begin_in_the_middle(record)
        elif record is not None and first:
            fault = find_header_fault(line, record, first=self.seq == 0, whole=self._whole)
            if fault is None and self.seq == 0 and not self._whole:
                self._begin_in_the_middle(record)

        if record is not None and fault is None:
            fault = find_fault(line, record, self.seq, self.head)

        if fault is not None:
            self._break(fault, record)
            if fault.damage == "missing":
                self._looking = LookAhead(self.seq + 1)
        elif record is not None and first and not anywhere:
            self._take_header(record)

        return record

    def _begin_in_the_middle(self, record: dict[str, Any]) -> None:
        """Take the place of a log's later file from its first record."""
        seq, prev = record.get("seq"), record.get("prev")
        fits = record.get("event") == "log.segment" or self._anywhere
        if fits and is_integer(seq) and isinstance(prev, str):
            self.seq, self.head, self.first_seq = seq - 1, prev, seq
            what = f"the record before it has the hash {show_value(prev)}"
            self.notes.append(f"begins with record {seq}; {what}")

    def _take_header(self, record: dict[str, Any]) -> None:
        log_id = show_value(record.get("log_id"))
        if self.log_id not in (None, log_id):
            why = "the segment is of another log"
            self._break(Fault("header", str(self.log_id), log_id, why, "foreign"), record)
            return

        self.log_id = log_id
        if self._anywhere:
            return

        fault = None if self._file is None else find_name_fault(self._file, record)
        if fault is not None:
            self._break(fault, record)
            return

        if self.seals is None and (record.get("key") is not None or self._keys):
            self._begin_seals(record)

    def _begin_seals(self, record: dict[str, Any]) -> None:
        # few logs are sealed, and a one-shot command should not wait for this
        from memhub.audit.seals.seal_check import SealCheck, SealFault

        try:
            self.seals = SealCheck.begin(record, self._keys)
        except SealFault as fault:
            self._break(fault.as_fault(), record)

    def _break(self, fault: Fault, record: dict[str, Any] | None = None) -> None:
        seq = None if record is None else record.get("seq")
        known = seq if is_integer(seq) else None
        line = self.lines + 1
        self.broken = Break(fault.kind, line, self.offset, known, *fault[1:], self._file)

    def _look_ahead(self, block: bytes) -> None:
        if self._looking is not None and self._looking.feed(block):
            assert self.broken is not None
            self._looking = None
            self.broken = replace(self.broken, damage="reordered")

    # The end

    def finish(self, *, in_use: bool) -> None:
        """Check the end of the log.

        Args:
            in_use: whether a writer has it open, so that more is to come.
        """
        self._looking = None
        if self.broken:
            return

        if self.rest.size and in_use:
            self.notes.append(f"{self.rest.size} bytes of a record that is being written")
        elif self.rest.size:
            self._break_torn()
        elif not self.lines and not self.seq:
            self._break(Fault("empty", "a log.open record", "nothing", "the log is empty", "cut"))

        if self.broken is None and self.wanted and self.head_seq is None:
            why = "records are missing from the end, or the chain was rewritten"
            self._break(Fault("head", self.wanted, self.head, why, "cut"))

        if self.broken is None and self.seals is not None:
            fault = self.seals.find_end_fault(self.seq, in_use=in_use)
            self.notes += self.seals.notes
            if fault is not None:
                self._break(fault)

    def _break_torn(self, why: str = "the last line is unfinished") -> None:
        self._break(find_torn_fault(self.rest.look(), why))
