"""A proof that one record is in a sealed log, which can be checked without the log."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from memhub.audit.failure import AuditError
from memhub.audit.line import parse_record
from memhub.audit.reading.reader import lines_of
from memhub.audit.reading.segments import Meter, log_files, log_name
from memhub.audit.reading.source import open_source
from memhub.audit.seals.merkle import inclusion_path, leaf_hash
from memhub.audit.seals.tlog_proof import InclusionProof, ProofFailed

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from memhub.audit.seals.checkpoint import Checkpoint
    from memhub.audit.seals.note_keys import VerifierKey

_SEAL = b',"event":"log.seal",'


def prove_record(
    path: str | os.PathLike[str],
    seq: int,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> InclusionProof:
    """Prove that a record is in a log, by the first seal that covers it.

    The log is read up to that seal. Its chain is not checked: the proof itself shows whether what
    was read is what was sealed, when it is checked.

    Args:
        path: a file, a folder of segments, a pipe, or `-`.
        seq: the record's number.
        progress: called with the bytes done and the bytes in all.

    Returns:
        the proof; its `extra` is the record's line.

    Raises:
        AuditError: the log cannot be read, does not begin with record 1, has no such record, or
            no seal that covers it; or that seal does not fit what is there.
    """
    name, leaves, found = log_name(path), bytearray(), b""
    for number, line in enumerate(_lines(path, progress), 1):
        if number == 1:
            _require_beginning(name, line)

        if number == seq:
            found = line

        if found and number > seq and _SEAL in line[:200]:
            note = _seal_of(line)
            if note is not None:
                return _make_proof(name, seq, leaves, note, found)

        leaves += leaf_hash(line)

    ends = f"which ends with record {len(leaves) // 32}"
    if not found:
        raise AuditError(name, f"record {seq} is not in the log, {ends}", errno.ENOENT)

    raise AuditError(name, f"no seal covers record {seq} of the log, {ends}", errno.ENOENT)


def _lines(
    path: str | os.PathLike[str], progress: Callable[[int, int], None] | None
) -> Iterator[bytes]:
    files = log_files(path)
    meter = Meter(files, progress)
    for file in files:
        with open_source(file) as source:
            yield from lines_of(source, meter)


def _require_beginning(name: str, line: bytes) -> None:
    record = _parse(name, line)
    if record.get("seq") != 1:
        why = "the log's beginning is missing, over which its seals are"
        raise AuditError(name, why, errno.EINVAL)

    if record.get("key") is None:
        raise AuditError(name, "the log is not sealed", errno.EINVAL)


def _parse(name: str, line: bytes) -> dict[str, Any]:
    try:
        return parse_record(line)
    except ValueError as error:
        raise AuditError(name, f"line 1 is not a record: {error}") from error


def _seal_of(line: bytes) -> str | None:
    """The checkpoint in a line, if it is a seal."""
    try:
        record = parse_record(line)
    except ValueError:
        return None

    note = record.get("checkpoint")

    return note if record.get("event") == "log.seal" and isinstance(note, str) else None


def _make_proof(name: str, seq: int, leaves: bytearray, note: str, line: bytes) -> InclusionProof:
    from memhub.audit.seals.checkpoint import Checkpoint
    from memhub.audit.seals.merkle import root_of
    from memhub.audit.seals.seal_text import SealError
    from memhub.audit.seals.signed_note import split_note

    try:
        sealed = Checkpoint.parse(split_note(note).text)
        if sealed.size != len(leaves) // 32 or sealed.root != root_of(leaves):
            why = f"the seal after record {len(leaves) // 32} is not over what the log holds"
            raise AuditError(name, why, errno.EINVAL)

        return InclusionProof(seq - 1, tuple(inclusion_path(leaves, seq - 1)), note, line)
    except SealError as error:
        why = f"the seal after record {len(leaves) // 32} cannot be read: {error}"
        raise AuditError(name, why, errno.EINVAL) from error


def check_proof(
    proof: InclusionProof, keys: Iterable[VerifierKey], line: bytes | None = None
) -> tuple[Checkpoint, dict[str, Any]]:
    """Check that a record is in the log that a key has sealed.

    Args:
        proof: the proof.
        keys: whose seal it must be.
        line: the record's line without its newline; None takes the one that the proof carries.

    Returns:
        what was signed, and the record.

    Raises:
        SealError: the proof does not show that.
        ValueError: the line is not a record.
    """
    if line is None:
        line = proof.extra

    if line is None:
        raise ProofFailed("the proof does not carry its record: give the record's line too")

    checkpoint = proof.check(line, keys)

    return checkpoint, parse_record(line)
