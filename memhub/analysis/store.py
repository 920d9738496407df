"""Logs opened for questions: a packed set, or logs that are packed for the occasion."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from memhub.analysis.extra import require_analysis
from memhub.analysis.manifest import Manifest, read_manifest
from memhub.analysis.pack import MEMORY, pack_into
from memhub.analysis.paths import find_logs, is_packed
from memhub.audit.failure import AuditError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Progress = Callable[[int, int], None]


class Store:
    """The records of some logs as one table. Use it as a context manager, or close it.

    A packed set is read as it is. Logs are read once, checked, and kept as Parquet in a temporary
    folder, so memory stays bounded.

    Args:
        paths: packed sets, or logs and folders of logs; not both.
        verified: whether the chains of logs are checked; a packed set was checked before.
        progress: called with the bytes done and the bytes in all of the log that is read.
        memory: the most memory that DuckDB takes, as `1GB`.

    Attributes:
        notes: what was left out of the logs, in words.
        files: the Parquet files.
        kept: the SQL of each view that was kept, in the order in which they were made.

    Raises:
        DamagedLog: the chain of a log breaks; the line is named.
        AuditError: a log or a set cannot be read.
        AnalysisNotInstalled: the extra `analysis` is missing.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        verified: bool = True,
        progress: Progress | None = None,
        memory: str = MEMORY,
    ) -> None:
        require_analysis()
        given = [os.fspath(path) for path in paths]
        self.notes: tuple[str, ...] = ()
        self.kept: dict[str, str] = {}
        self._work = tempfile.TemporaryDirectory(prefix="memhub-questions-")
        self._memory = memory
        try:
            sets = [path for path in given if is_packed(path)]
            if sets and len(sets) < len(given):
                raise AuditError(sets[0], "a packed set and logs are not questioned together")

            self.files = _files_of(sets) if sets else self._pack(given, verified, progress)
            self.backend = self._connect()
        except BaseException:
            self._work.cleanup()
            raise

    def _pack(self, given: list[str], verified: bool, progress: Progress | None) -> list[str]:
        work = Path(self._work.name)
        run = pack_into(
            find_logs(given), Manifest(), work, None, False, verified, progress, self._memory
        )
        self.notes = tuple(run.notes)

        return [str(work / "made" / file.path) for file in run.made]

    def _connect(self) -> Any:  # noqa: ANN401 - Ibis is optional
        from memhub.analysis.engine import Engine

        spill = str(Path(self.folder, "spill"))
        backend = Engine().connect(temp_directory=spill, memory_limit=self._memory)
        backend.con.execute("SET enable_progress_bar = false")
        backend.read_parquet(
            self.files, table_name="records", hive_partitioning=False, union_by_name=True
        )

        return backend

    @property
    def folder(self) -> str:
        """A folder for what an engine keeps for a while; it is deleted at the end."""
        return self._work.name

    @property
    def records(self) -> Any:  # noqa: ANN401 - an Ibis table
        """Every record as an Ibis table: `memhub.analysis.columns` has its columns."""
        return self.backend.table("records")

    def keep(self, name: str, expr: Any) -> Any:  # noqa: ANN401 - an Ibis table
        """Make a view of the engine, so that what asks it need not compile it again."""
        self.kept[name] = self.backend.compile(expr)
        self.backend.con.execute(f'CREATE VIEW "{name}" AS {self.kept[name]}')

        return self.backend.stand_in(name, expr)

    def compute(self, name: str, expr: Any) -> Any:  # noqa: ANN401 - an Ibis table
        """Compute a table of the engine at once, so that what asks it need not compute it again."""
        self.backend.con.execute(f'CREATE TABLE "{name}" AS {self.backend.compile(expr)}')

        return self.backend.table(name)

    def close(self) -> None:
        """End the engine and delete what was kept."""
        self.backend.disconnect()
        self._work.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def _files_of(sets: list[str]) -> list[str]:
    """The Parquet files of some packed sets.

    Raises:
        AuditError: a set is empty, lacks a file, or has a log that another has too.
    """
    found: list[str] = []
    logs: set[str] = set()
    for path in sets:
        manifest = read_manifest(Path(path))
        both = logs & manifest.logs.keys()
        if both:
            raise AuditError(path, f"the log {min(both)} is in two of the packed sets")

        logs |= manifest.logs.keys()
        for file in manifest.files:
            there = Path(path, file.path)
            if not there.is_file():
                raise AuditError(path, f"the packed set lacks its file {file.path}")

            found.append(str(there))

    if not found:
        raise AuditError(sets[0], "the packed set is empty")

    return found
