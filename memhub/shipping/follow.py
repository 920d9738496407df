"""The records of a log in their order, as far as they are written, over each of its files.

`Follower.take` never waits: whoever wants more calls it again later. It looks at the files first
and reads afterwards, since a file gets its last record before the one that follows it gets its
first. So no record is lost over a rotation, and none comes twice.

A writer that could not begin the next file takes it back and goes on in the one before. What was
read of it then stays read, and reading goes back to the file before.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.reading.segments import is_folder
from memhub.shipping.part_file import START, open_part
from memhub.shipping.parts import Part, choose_next, first_part, has_record, list_parts, read_header
from memhub.shipping.places import Place, find_last_mark

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.shipping.part_file import GrowingFile, PackedFile

#: `whole`: another file holds all that was read; `short`: one holds its beginning; `same`: the
#: file itself was cut further back than is remembered.
Copy = Literal["none", "whole", "short", "same"]

#: What is done next: read this file on; read nothing; read the copy on; go on at the end of a
#: file that was cut; go back to the file before; finish this file and begin the next.
Step = Literal["read", "wait", "copy", "end", "back", "next"]

_BEFORE_ALL: Final = (-1, "")


class Look(NamedTuple):
    """What a look at the files of a log found.

    Attributes:
        held: whether the file that is read still holds what was read of it.
        copy: if not, whether another file does.
        before: whether the file that was read before it is still open.
        follows: whether a file that has a record is behind it.
    """

    held: bool
    copy: Copy = "none"
    before: bool = False
    follows: bool = False


class Found(NamedTuple):
    """A record that was read.

    Attributes:
        line: its bytes, without the newline.
        record: what they hold.
        log_id: identity of its log.
    """

    line: bytes
    record: dict[str, Any]
    log_id: str


def choose_step(look: Look) -> Step:
    """What is done after a look at the files."""
    if not look.held:
        if look.copy == "whole":
            return "copy"

        if look.copy == "same":
            return "end"

        if look.copy == "none" and look.before:
            return "back"

    if look.follows:
        return "next"

    return "read" if look.held else "wait"


class Follower:
    """Reads a log from a place on.

    Args:
        path: a file or a folder of segments.
        start: behind which line; None for the beginning of the log.
        tell: takes what is to be reported, one line each.

    Attributes:
        log_id: identity of the log, as far as it is known.

    Raises:
        AuditError: the log cannot be read.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        start: Place | None = None,
        tell: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._path = os.fspath(path)
        self._folder = is_folder(self._path)
        self._tell = tell
        self._part: Part | None = None
        self._file: GrowingFile | PackedFile | None = None
        self._before: tuple[Part, GrowingFile | PackedFile] | None = None
        self._seq: int | None = None
        self._passed = 0
        self.log_id = ""
        if start is not None:
            header = read_header(start.part.path)
            self.log_id = "" if header is None else header.log_id
            self._part, self._file = start.part, open_part(start.part.path, start.mark)

    def take(self) -> Iterator[Found]:
        """The records that are there now and were not taken yet.

        Raises:
            AuditError: a file cannot be read, or a line is not a record.
        """
        while True:
            if self._file is None:
                part = self._find_first()
                if part is None:
                    return

                self._open(part)
                continue

            step, following, copy = self._look(self._file)
            if step in ("read", "next"):
                yield from self._read(self._file)

            if step in ("read", "wait"):
                return

            self._go(step, following, copy)

    def count_bytes(self) -> int:
        """Bytes of files that were read, as they are on the disk."""
        return self._passed + (0 if self._file is None else self._file.count_bytes())

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        for file in (self._file, self._before and self._before[1]):
            if file is not None:
                file.close()

        self._file = self._before = None

    def _find_first(self) -> Part | None:
        if self._folder:
            first = choose_next(list_parts(self._path), _BEFORE_ALL)
            return first if first is not None and has_record(first) else None

        return first_part(self._path)

    # What is found

    def _look(self, file: GrowingFile | PackedFile) -> tuple[Step, Part | None, Part | None]:
        assert self._part is not None
        fate = file.find_fate()
        if fate == "cut":
            self._tell(f"{file.path}: the last records were taken back, or the file was cut")

        if fate != "gone" and not self._folder and file.is_at(self._path):
            return "read", None, None

        parts, order = list_parts(self._path), self._part.order
        following = choose_next(parts, order)
        if following is not None and not has_record(following):
            following = None

        copy = next((part for part in parts if part.order == order), None)
        held = fate != "gone" and not self._is_discarded(file, copy, following)
        look = Look(
            held,
            "none" if held or copy is None else self._compare(copy, file),
            self._before is not None,
            following is not None,
        )

        return choose_step(look), following, copy

    def _is_discarded(
        self, file: GrowingFile | PackedFile, same: Part | None, following: Part | None
    ) -> bool:
        """Whether a segment was begun and taken away again by its writer."""
        if not self._folder or not file.is_unlinked():
            return False

        return following is None if same is None else same.path == file.path

    def _compare(self, copy: Part, file: GrowingFile | PackedFile) -> Copy:
        """What another file of the same place has of what was read."""
        other = open_part(copy.path, file.mark)
        try:
            if other.find_fate() == "held":
                return "whole"
        finally:
            other.close()

        if self._folder:
            # a segment of the same number that was begun anew
            return "none"

        return "same" if file.is_at(copy.path) else "short"

    # What is done

    def _go(self, step: Step, following: Part | None, copy: Part | None) -> None:
        file = self._file
        assert file is not None
        if step == "copy":
            assert copy is not None
            self._part, self._file = copy, open_part(copy.path, file.mark)
            file.close()
        elif step == "end":
            assert copy is not None
            self._tell(f"{file.path}: the file was cut far back; it is read on from its new end")
            self._part, self._file = copy, open_part(copy.path, find_last_mark(copy.path))
            file.close()
        elif step == "back":
            assert self._before is not None
            self._tell(f"{file.path}: the file was taken back; the one before goes on")
            (self._part, self._file), self._before = self._before, None
            self._passed -= self._file.count_bytes()
            file.close()
        else:
            assert following is not None
            self._open(following)

    def _open(self, part: Part) -> None:
        file = open_part(part.path, START)
        if self._before is not None:
            self._before[1].close()

        if self._file is not None and self._part is not None:
            self._before = (self._part, self._file)
            self._passed += self._file.count_bytes()

        self._part, self._file = part, file

    def _read(self, file: GrowingFile | PackedFile) -> Iterator[Found]:
        begins = not file.mark.end
        for line in file.read_lines():
            try:
                record = parse_record(line, typed=True)
            except ValueError as error:
                start = file.mark.end - len(line) - 1
                raise AuditError(
                    file.path, f"the line at byte {start} is not a record: {error}"
                ) from error

            self.log_id = record.get("log_id", self.log_id)
            seq = record["seq"]
            if begins and self._folder and self._seq is not None and seq > self._seq + 1:
                self._tell(f"{file.path}: records {self._seq + 1} to {seq - 1} are missing")

            self._seq, begins = seq, False
            yield Found(line, record, self.log_id)
