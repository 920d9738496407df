"""Pack logs into a set of Parquet files, verified on the way; the set changes as a whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.analysis.extra import require_analysis, require_package
from memhub.analysis.manifest import (
    Chain,
    LogState,
    Manifest,
    read_manifest,
    sync_folder,
    write_manifest,
)
from memhub.analysis.packing import Packing
from memhub.analysis.paths import find_logs
from memhub.analysis.sound_lines import Block, SoundLines
from memhub.audit.failure import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Progress = Callable[[int, int], None]

_WORK: Final = ".packing-"

#: The most memory that DuckDB takes while it packs.
MEMORY: Final = "1GB"


@dataclass(frozen=True, slots=True)
class Packed:
    """What `pack` did.

    Attributes:
        added: records that were added.
        already: records of these logs that were there.
        files: Parquet files that were added.
        notes: what was left out, in words.
    """

    added: int
    already: int
    files: int
    notes: tuple[str, ...] = ()


def pack(
    paths: Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    verified: bool = True,
    progress: Progress | None = None,
    memory: str = MEMORY,
) -> Packed:
    """Add the records of logs to a packed set.

    Records that the set has are not added again, so a log that has grown can be packed again.
    Either all that is new is added or nothing.

    Args:
        paths: logs, or folders of logs; the parts of one log oldest first.
        out: the folder of the set; it is made where it is missing.
        verified: whether the chains are checked.
        progress: called with the bytes done and the bytes in all of the log that is read.
        memory: the most memory that DuckDB takes, as `1GB`.

    Raises:
        DamagedLog: the chain of a log breaks; the line is named.
        AuditError: a log cannot be read, is another than the one packed under its first record,
            or is older than what is packed of it; or the set cannot be written.
        AnalysisNotInstalled: the extra `analysis` is missing.
    """
    require_analysis()
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            return _pack(find_logs(paths), folder, verified, progress, memory)
    except AuditError:
        raise
    except OSError as error:
        raise AuditError.of(folder, "not packed", error) from error


def _pack(
    logs: list[str], folder: Path, verified: bool, progress: Progress | None, memory: str
) -> Packed:
    manifest = read_manifest(folder)
    with tempfile.TemporaryDirectory(prefix=_WORK, dir=folder) as work:
        run = pack_into(logs, manifest, Path(work), folder, True, verified, progress, memory)
        for file in run.made:
            made, there = Path(work, "made", file.path), folder / file.path
            there.parent.mkdir(parents=True, exist_ok=True)
            _sync_file(made)
            made.replace(there)

        for parent in {(folder / file.path).parent for file in run.made}:
            sync_folder(parent)

        if run.added or run.made:
            manifest.files += run.made
            write_manifest(folder, manifest)

    return Packed(run.added, run.already, len(run.made), tuple(run.notes))


class Run:
    """What one transaction made of the logs.

    Attributes:
        added: records that are new.
        already: records that the set has.
        notes: what was left out, in words.
        made: the files.
    """

    def __init__(self, packing: Packing) -> None:
        self.added = 0
        self.already = 0
        self.notes: list[str] = []
        self.made = packing.made


def pack_into(
    logs: list[str],
    manifest: Manifest,
    work: Path,
    folder: Path | None,
    divided: bool,
    verified: bool,
    progress: Progress | None,
    memory: str,
) -> Run:
    """Make the Parquet files of logs below `work/made`, and bring a manifest up to date.

    Raises:
        DamagedLog: as `pack` does.
        AuditError: likewise.
    """
    packing = Packing(manifest, work, divided=divided, memory=memory)
    run = Run(packing)
    try:
        for path in logs:
            source = SoundLines(path, verified=verified, progress=progress)
            _add_log(source, packing, run, manifest, folder)
            if source.torn is not None:
                run.notes.append(f"{source.name}: {source.torn}")

        packing.finish()
    finally:
        packing.close()

    return run


def _add_log(
    source: SoundLines, packing: Packing, run: Run, manifest: Manifest, folder: Path | None
) -> None:
    chain: Chain | None = None
    have, last = 0, ("", 0)
    for block in source.blocks():
        if chain is None:
            first = block.records[0]
            log = first.get("log_id")
            name = log if isinstance(log, str) else source.name
            known = manifest.logs.get(name, LogState()).chains
            found = _find_chain(source, known, block, partial(_hash_at, manifest, folder, name))
            chain = packing.begin(name, source.name, found, first["seq"])
            have = chain.seq

        new = _count_known(block, have)
        run.already += new
        if new > 0 and block.seqs[new - 1] == have:
            _check_same(source, have, chain.hash, block.digests[new - 1])

        last = (block.digests[-1], block.seqs[-1])
        if new < len(block.lines):
            if not packing.is_last(chain):
                raise AuditError(source.name, _TOO_LATE)

            packing.add(block, chain, new)
            run.added += len(block.lines) - new

    packing.end()
    if chain is not None and last[1] < have:
        number = manifest.logs[name].chains.index(chain)
        _check_same(source, last[1], _hash_at(manifest, folder, name, number, last[1]), last[0])


_TOO_LATE: Final = (
    "not packed: a later file of the same log is packed already; pack the files of a log in order"
)


def _find_chain(
    source: SoundLines,
    known: Sequence[Chain],
    block: Block,
    hash_at: Callable[[int, int], str | None],
) -> Chain | None:
    """The packed chain that a file has records of, or goes on with; None if it is another.

    Raises:
        AuditError: records are missing between those packed and the first of the file.
    """
    first, digest = block.records[0], block.digests[0]
    seq = first["seq"]
    for number, chain in enumerate(known):
        if chain.first <= seq <= chain.seq and hash_at(number, seq) in (digest, None):
            return chain

        if seq == chain.seq + 1 and first.get("prev") == chain.hash:
            return chain

    if seq == 1 or not known:
        return None

    last = known[-1].seq
    raise AuditError(
        source.name,
        f"not packed: it begins with record {seq}, which does not go on with record {last}, the "
        "last one packed of this log; pack the files of a log in order",
    )


def _count_known(block: Block, have: int) -> int:
    """How many records of a block the set has."""
    seqs = block.seqs
    if seqs[0] > have:
        return 0

    if seqs[-1] <= have:
        return len(seqs)

    return sum(1 for seq in seqs if seq <= have)


def _hash_at(
    manifest: Manifest, folder: Path | None, log: str, number: int, seq: int
) -> str | None:
    """The hash of a packed record; None for one of this transaction."""
    chain = manifest.logs[log].chains[number]
    if seq == chain.seq:
        return chain.hash

    paths = [
        str(Path(folder, file.path))
        for file in manifest.files
        if folder is not None
        and (file.log, file.chain) == (log, number + 1)
        and file.first <= seq <= file.last
    ]
    if not paths:
        return None

    engine = require_package("duckdb").connect()
    try:
        row = engine.execute(
            "SELECT hash FROM read_parquet(?, hive_partitioning = false) WHERE seq = ?",
            [paths, seq],
        ).fetchone()
    finally:
        engine.close()

    return None if row is None else str(row[0])


def _check_same(source: SoundLines, seq: int, packed: str | None, found: str) -> None:
    """Refuse a record that is another than the packed one of its number.

    Raises:
        AuditError: it is.
    """
    if packed in (found, None):
        return

    raise AuditError(
        source.name,
        f"not packed: record {seq} is not the one that is packed, though both logs have the same "
        "beginning: one of them was rewritten",
    )


def _sync_file(path: Path) -> None:
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from packing into the folder, and clear away what a killed one has left.

    Raises:
        AuditError: another packs into it.
    """
    number = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AuditError(folder, "not packed: another process packs into it") from None

        for left in folder.glob(f"{_WORK}*"):
            shutil.rmtree(left, ignore_errors=True)

        yield
    finally:
        os.close(number)
