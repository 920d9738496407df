"""Check a log's chain and say where it breaks: one pass, in constant memory."""

from __future__ import annotations

import fcntl
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.audit.failure import AuditError
from memhub.audit.line import show_value
from memhub.audit.reading.damage import count_text
from memhub.audit.reading.segments import Meter, is_folder, is_folder_in_use, log_files, log_name
from memhub.audit.reading.source import DamagedSource, Source, open_source
from memhub.audit.verifying.chain_walk import ChainWalk

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from memhub.audit.reading.damage import Break
    from memhub.audit.seals.note_keys import VerifierKey
    from memhub.audit.verifying.verify_jobs import Jobs

_HASH: Final = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What `verify` found.

    Attributes:
        path: the file or folder.
        records: whole records that verify, up to the first break.
        size: bytes of the file when it was opened; of a pipe, a compressed file or a folder, bytes
            of the log that were read.
        head: hash of the last record that verifies: keep it elsewhere and give it to `verify`
            later, since a chain cannot show by itself that its end is missing.
        head_line: line that carries the hash that was asked for, or None; in a folder its `seq`.
        log_id: identity that the header gives.
        closed: whether the last record, seals left out, is a `log.close`.
        broken: the first break, or None.
        seals: how many seals hold.
        sealed: how many records the last of them covers.
        sealed_by: the key of the seals, or None for a log without.
        notes: what is not a break but should be known.
    """

    path: str
    records: int
    size: int
    head: str
    head_line: int | None
    log_id: str | None
    closed: bool
    broken: Break | None
    seals: int = 0
    sealed: int = 0
    sealed_by: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether the chain holds from the header to the end."""
        return self.broken is None


def verify(
    path: str | os.PathLike[str],
    *,
    head: str | None = None,
    keys: Sequence[VerifierKey] = (),
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Verdict:
    """Check every record of a log, and its seals.

    Args:
        path: a file, which may be in use, a folder of segments, a pipe, or `-` for standard
            input; files may be compressed with gzip or zstd.
        head: a record's hash that was kept elsewhere, 64 hex digits; it must be in the chain.
        keys: the log has to be sealed with one of these; none takes the key that it names itself.
        jobs: processes that check lines; more than one is quicker from some ten MiB on.
        progress: called with the bytes done and the bytes in all, once a block; not for a pipe,
            whose size is not known.

    Raises:
        AuditError: a file cannot be read, or, where it is no segment of a folder, its compressed
            data are damaged.
        ValueError: `head` is not 64 hex digits.
    """
    wanted = parse_hash(head) if head is not None else None
    name, files = log_name(path), log_files(path)
    folder = is_folder(path)
    walk = ChainWalk(wanted, keys, whole=folder)
    meter, in_use, known = Meter(files, progress), False, None
    with _start_jobs(jobs) as pool:
        for file in files:
            if walk.broken is not None and not walk.is_probing():
                break

            with open_source(file) as source:
                if folder:
                    walk.begin_file(source.name)

                _walk_file(walk, source, meter, pool, segment=folder)
                in_use = is_folder_in_use(path) if folder else is_in_use(source)
                known = source.size if source.plain and not folder else None
                if file != files[-1]:
                    walk.end_file()

    walk.finish(in_use=in_use)

    return _make_verdict(walk, name, walk.taken if known is None else known)


def _walk_file(
    walk: ChainWalk, source: Source, meter: Meter, jobs: Jobs | None, *, segment: bool
) -> None:
    try:
        for _ in _feed_source(walk, source, jobs):
            meter.tell(source)
            if walk.broken is not None and not walk.is_probing():
                return
    except DamagedSource as error:
        if segment:
            walk.break_packed(str(error))
            return

        where = f"line {walk.lines + 1}"
        raise AuditError(source.name, f"audit log not read: {where}: {error}") from error


def _feed_source(walk: ChainWalk, source: Source, jobs: Jobs | None) -> Iterator[object]:
    if jobs is None:
        yield from map(walk.feed, source.blocks())
    elif source.path is None or source.size is None or not source.plain:
        yield from jobs.feed(walk, source.blocks())
    else:
        from memhub.audit.verifying.verify_file import feed_file

        for taken in feed_file(jobs, walk, source.path, source.fd, source.size):
            source.taken = taken
            yield taken


@contextmanager
def _start_jobs(count: int) -> Iterator[Jobs | None]:
    """Processes that check lines; None where one process does it all."""
    if count <= 1:
        yield None
        return

    # few logs are so large, and a one-shot command should not wait for what it does not need
    from memhub.audit.verifying.verify_jobs import start_processes

    with start_processes(count) as made:
        yield made


def _make_verdict(walk: ChainWalk, name: str, size: int) -> Verdict:
    notes, seals = list(walk.notes), walk.seals
    if walk.broken is None and not walk.closed:
        notes.append("no log.close at the end: still open, killed, or cut at a line's end")
        if seals is not None and seals.seal_seq == walk.seq:
            notes[-1] = (
                f"ends in the seal over {count_text(seals.size, 'record')}, without a log.close: "
                "still open, killed, or cut back to this seal"
            )

    if walk.broken is None and walk.goes_on_in is not None:
        notes.append(f"the log goes on in segment {walk.goes_on_in}, which is not here")

    at = walk.head_seq
    if at is not None and at < walk.seq:
        notes.append(f"the head given is line {at}; {walk.seq} are in the chain")

    return Verdict(
        path=name,
        records=walk.records,
        size=size,
        head=walk.head,
        head_line=None if at is None else at - walk.first_seq + 1,
        log_id=walk.log_id,
        closed=walk.closed,
        broken=walk.broken,
        seals=0 if seals is None else seals.seals,
        sealed=0 if seals is None else seals.size,
        sealed_by=None if seals is None else seals.key_text,
        notes=tuple(notes),
    )


def parse_hash(text: str) -> str:
    """Read a record's hash as people hand it over.

    Raises:
        ValueError: it is not 64 hex digits.
    """
    digits = text.strip().lower()
    if not _HASH.fullmatch(digits):
        raise ValueError(
            f"{show_value(text)!r} is not a hash of a record: 64 hex digits are expected, "
            f"and it has {len(digits)} characters"
        )

    return digits


def is_in_use(source: Source) -> bool:
    """Whether a writer has the file locked."""
    if source.size is None or not source.plain:
        return False

    try:
        fcntl.flock(source.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True

    fcntl.flock(source.fd, fcntl.LOCK_UN)

    return False
