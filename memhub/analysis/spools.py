"""Lines on their way into Parquet: kept in files for a while, then converted by DuckDB.

The lines of one machine and day go into one file. What the reader adds to the records is the same
for all lines of it, so it is not written behind each line but given to DuckDB once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from memhub.analysis.columns import OWN
from memhub.analysis.extra import require_package
from memhub.audit.failure import AuditError
from memhub.audit.fields import FIELDS
from memhub.audit.line import MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import BufferedWriter
    from pathlib import Path

_COLUMNS: Final = ", ".join(f"'{name}': '{kind}'" for name, kind in OWN.items())
_OWN_NAMES: Final = ", ".join(f'"{name}"' for name in OWN)


@dataclass(slots=True)
class Spool:
    """Lines of one log that share what is added to them.

    Attributes:
        path: the file they are in.
        target: the Parquet file that they become, below the folder of the set.
        source: what the log is called in messages.
        log: the log's identity.
        chain: which chain of the log.
        before: what is added to `seq` for the place in the log.
        run: which start of the hub.
        first: `seq` of the first line.
        last: `seq` of the last line.
        starts: which start of each machine that the lines name.
        begun: `seq` of each record here that such a start begins with.
        told: by `seq` of each record here that tells what a machine begins with, or went back to:
            `n` of the record with its table, and whether its files are told for the first time.
        parts: what is not yet in the file.
        waiting: bytes of that.
        size: bytes so far.
        rows: lines so far.
    """

    path: Path
    target: str
    source: str
    log: str
    chain: int
    before: int
    run: int
    first: int
    last: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    begun: list[int] = field(default_factory=list)
    told: dict[int, tuple[int, bool]] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    waiting: int = 0
    size: int = 0
    rows: int = 0
    file: BufferedWriter | None = None

    def add(self, lines: Sequence[bytes]) -> None:
        """Take lines, with their newlines."""
        part = b"".join(lines)
        self.parts.append(part)
        self.waiting += len(part)
        self.size += len(part)
        self.rows += len(lines)

    def store(self) -> None:
        """Write what waits into the file."""
        if not self.waiting:
            return

        if self.file is None:
            self.file = self.path.open("wb", buffering=0)  # type: ignore[assignment]
            assert self.file is not None

        text = b"".join(self.parts)
        self.parts.clear()
        self.waiting = 0
        self.file.write(text)

    def close(self) -> None:
        """Write the rest and close the file."""
        self.store()
        if self.file is not None:
            self.file.close()
            self.file = None


#: Claims and files in a `held.part`, as far as they are read.
_CLAIM_ITEMS: Final = (
    '[{"fence": "UBIGINT", "kind": "VARCHAR", "process": "VARCHAR", "process_id": "BIGINT", '
    '"base": "UBIGINT", "last": "UBIGINT", "expires_ns": "BIGINT", "slots": [["UBIGINT"]]}]'
)
_FILE_ITEMS: Final = '[{"process_id": "BIGINT"}]'

#: A claim as it is kept. The whole address space is one byte short: its length has 65 bits.
_CLAIM: Final = (
    "{fence: it.fence, kind: it.kind, process: it.process, process_id: it.process_id, "
    "base: it.base, length: least(it.last - it.base, 18446744073709551614) + 1, "
    "expires_ns: it.expires_ns, slots: list_transform(it.slots, lambda one: one[1]::BIGINT)}"
)
_CLAIMS: Final = (
    "STRUCT(fence UBIGINT, kind VARCHAR, process VARCHAR, process_id BIGINT, base UBIGINT, "
    "length UBIGINT, expires_ns BIGINT, slots BIGINT[])[]"
)


class Converter:
    """Turns spools into Parquet files, one at a time.

    Args:
        folder: for files that DuckDB needs while it works.
        memory: the most memory that DuckDB takes, as `1GB`.
    """

    def __init__(self, folder: Path, memory: str = "1GB") -> None:
        duckdb = require_package("duckdb")
        self._error = duckdb.Error
        self._engine = duckdb.connect(
            config={"temp_directory": str(folder), "memory_limit": memory, "threads": 2}
        )
        self._engine.execute("SET preserve_insertion_order = true")
        self._engine.execute("SET enable_progress_bar = false")

    def convert(self, spool: Spool, into: Path) -> None:
        """Write the lines of a closed spool as Parquet and delete their file.

        Raises:
            AuditError: a number of a record is beyond the type of its column.
        """
        into.parent.mkdir(parents=True, exist_ok=True)
        source = f"read_json({_text(str(spool.path))}, format = 'newline_delimited', \
columns = {{{_COLUMNS}}}, maximum_object_size = {MAX_LINE + 1024})"
        query = f"SELECT {_added(spool)}, {_OWN_NAMES} FROM {source}"  # noqa: S608 - quoted
        try:
            self._engine.execute(f"COPY ({query}) TO {_text(str(into))} (FORMAT parquet)")
        except self._error as error:
            raise _refusal(spool) or error from error

        spool.path.unlink()

    def close(self) -> None:
        """End the engine."""
        self._engine.close()


def _added(spool: Spool) -> str:
    """The columns that are added to a record, as SQL."""
    names, numbers = ([*it] for it in (spool.starts, spool.starts.values()))
    start = "NULL"
    if names:
        known = f"MAP([{', '.join(map(_text, names))}], {numbers})"
        start = f"{known}[machine]"

    begins = f"seq IN ({', '.join(map(str, spool.begun))})" if spool.begun else "false"

    return (
        f"{_text(spool.log)} AS log, {spool.chain}::INTEGER AS chain, "
        f"seq + {spool.before} AS n, {spool.run}::INTEGER AS run, "
        f"({start})::INTEGER AS start, {begins} AS begins, {_told(spool)}, "
        f"make_timestamp(wall_ns // 1000) AS time"
    )


def _told(spool: Spool) -> str:
    """What a machine begins with, or went back to, as SQL; `held` is JSON that is checked here."""
    if not spool.told:
        return (
            f"NULL::BIGINT AS held_n, NULL::{_CLAIMS} AS held_claims, NULL::BIGINT[] AS held_files"
        )

    numbers, heads = [*spool.told], [n for n, _ in spool.told.values()]
    whole = [seq for seq, (_, files) in spool.told.items() if files]

    return (
        f"MAP({numbers}, {heads})[seq]::BIGINT AS held_n, "
        f"CASE WHEN list_contains({numbers}, seq) AND part = 'claims' AND json_valid(held) "
        f"THEN list_transform(from_json(held, {_text(_CLAIM_ITEMS)}), lambda it: {_CLAIM}) "
        f"END::{_CLAIMS} AS held_claims, "
        f"CASE WHEN list_contains({whole}::BIGINT[], seq) AND part = 'files' AND json_valid(held) "
        f"THEN list_transform(from_json(held, {_text(_FILE_ITEMS)}), lambda it: it.process_id) "
        f"END::BIGINT[] AS held_files"
    )


def _text(value: str) -> str:
    """A text as SQL."""
    return "'" + value.replace("'", "''") + "'"


def _refusal(spool: Spool) -> AuditError | None:
    """What is wrong with a line that DuckDB does not take."""
    with spool.path.open("rb") as file:
        for line in file:
            record = orjson.loads(line)
            for name, value in record.items():
                known = FIELDS.get(name)
                if known is not None and value is not None and not known.admits(value):
                    reason = f"line {record['seq']} is not a record: {name} is beyond {known.type}"
                    return AuditError(spool.source, reason)

    return None
