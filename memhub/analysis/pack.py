"""Pack logs into a set of Parquet files, verified on the way; the set changes as a whole."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.analysis.extra import require_analysis, require_package
from memhub.analysis.manifest import Manifest, Part, read_manifest, sync_folder, write_manifest
from memhub.analysis.packing import Packing
from memhub.analysis.paths import find_logs
from memhub.analysis.sound_lines import Block, SoundLines
from memhub.audit.failure import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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
    part: Part | None = None
    have, last = 0, ("", 0)
    for block in source.blocks():
        if part is None:
            log = block.records[0].get("log_id")
            name = log if isinstance(log, str) else source.name
            part = packing.begin(name, source.name, block.digests[0])
            have = part.seq

        new = _count_known(block, have)
        run.already += new
        if (
            new > 0
            and block.records[new - 1]["seq"] == have
            and block.digests[new - 1] != part.hash
        ):
            _refuse_other(source, have)

        last = (block.digests[-1], block.records[-1]["seq"])
        if new < len(block.records):
            if have and not packing.is_last(part):
                raise AuditError(source.name, _TOO_LATE)

            packing.add(block, part, new)
            run.added += len(block.records) - new

    packing.end()
    if part is not None and folder is not None and last[1] < have:
        _check_packed(source, manifest, folder, part, last)


_TOO_LATE: Final = (
    "not packed: a later part of the same log is packed already; pack the parts of a log in order"
)


def _count_known(block: Block, have: int) -> int:
    """How many records of a block the set has."""
    records = block.records
    if records[0]["seq"] > have:
        return 0

    if records[-1]["seq"] <= have:
        return len(records)

    return sum(1 for it in records if it["seq"] <= have)


def _check_packed(
    source: SoundLines, manifest: Manifest, folder: Path, part: Part, last: tuple[str, int]
) -> None:
    """Refuse a shorter copy of a packed log whose last record is not the one packed.

    Raises:
        AuditError: it is another.
    """
    digest, seq = last
    paths = [
        str(folder / file.path)
        for file in manifest.files
        if file.first <= seq <= file.last and manifest.logs[file.log].parts[file.part - 1] is part
    ]
    if not paths:
        return

    engine = require_package("duckdb").connect()
    try:
        found = engine.execute(
            "SELECT hash FROM read_parquet(?, hive_partitioning = false) WHERE seq = ?",
            [paths, seq],
        ).fetchall()
    finally:
        engine.close()

    if (digest,) not in found:
        _refuse_other(source, seq)


def _refuse_other(source: SoundLines, seq: int) -> None:
    raise AuditError(
        source.name,
        f"not packed: record {seq} is not the one that is packed, though both logs begin with "
        "the same record: one of them was rewritten",
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
