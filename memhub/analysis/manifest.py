"""What a packed set holds: its files, and how far each log is in it.

The manifest is replaced by rename, and readers take the files that it names. So a set changes as a
whole or not at all.
"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.failure import AuditError
from memhub.audit.reading.segments import PACKED
from memhub.whole_file import write_whole

if TYPE_CHECKING:
    from pathlib import Path

#: The form of the manifest and of the columns.
VERSION: Final = 2


@dataclass(slots=True)
class Chain:
    """One chain of a log, as far as it is packed.

    Attributes:
        first: `seq` of the first record that is packed; 1 unless the log was packed from a later
            segment on.
        before: what is added to `seq` for the place in the log.
        seq: `seq` of the last record that is packed.
        hash: that record's hash.
    """

    first: int
    before: int
    seq: int
    hash: str


@dataclass(slots=True)
class LogState:
    """How far a log is packed, and what the next record needs to be understood.

    Attributes:
        n: records that are packed.
        run: starts of the hub so far.
        opened: whether the log was opened since the last machine was attached.
        starts: starts of each machine so far.
        parts: of each machine of which more is told that it begins or goes on with: `n` of the
            record with its table, how many records follow, and whether files are among what is new.
        chains: its chains, in order.
    """

    n: int = 0
    run: int = 0
    opened: bool = False
    starts: dict[str, int] = field(default_factory=dict)
    parts: dict[str, tuple[int, int, bool]] = field(default_factory=dict)
    chains: list[Chain] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PackedFile:
    """One Parquet file of a set.

    Attributes:
        path: below the folder of the set.
        log: the log's identity.
        chain: which chain of the log, from 1.
        first: `seq` of the first record.
        last: `seq` of the last record.
        rows: records.
    """

    path: str
    log: str
    chain: int
    first: int
    last: int
    rows: int


@dataclass(slots=True)
class Manifest:
    """A packed set.

    Attributes:
        logs: the logs in it by identity.
        files: its files.
    """

    logs: dict[str, LogState] = field(default_factory=dict)
    files: list[PackedFile] = field(default_factory=list)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; an empty one where there is none.

    Raises:
        AuditError: it is not a manifest of this version.
    """
    path = folder / PACKED
    if not path.exists():
        return Manifest()

    try:
        found = orjson.loads(path.read_bytes())
        if found["version"] != VERSION:
            raise AuditError(path, f"packed set of version {found['version']}, not {VERSION}")

        logs = {name: _log_state(it) for name, it in found["logs"].items()}

        return Manifest(logs, [PackedFile(**it) for it in found["files"]])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(path, f"not the manifest of a packed set: {error}") from error
    except OSError as error:
        raise AuditError.of(path, "packed set not read", error) from error


def _log_state(found: dict[str, Any]) -> LogState:
    return LogState(**{**found, "chains": [Chain(**it) for it in found["chains"]]})


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest of a folder."""
    text = orjson.dumps({"version": VERSION, **asdict(manifest)}, option=orjson.OPT_INDENT_2)
    write_whole(folder / PACKED, text, special="refuse")
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
