"""The `[audit]` table: where the log is, and how it is kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from memhub.audit.writing.keeping import KEEPING, Keeping, wrong_time
from memhub.config.values import choice, count, integer, seconds, text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from memhub.config.reader import Table

Durability = Literal["os", "disk"]

_DURABILITIES: Final[Mapping[str, Durability]] = {word: word for word in get_args(Durability)}


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditConfig:
    """The audit log.

    Attributes:
        path: the log's file or folder; relative paths begin at the configuration file.
        folder: whether it is a folder of segments: the file's `path` ends in a slash.
        durability: a request is acknowledged once its record is handed to the operating
            system (`os`), or is on the disk (`disk`).
        key: the file with the signing key of its seals; None for a log without.
        keeping: when segments end and records are sealed.
    """

    path: Path
    folder: bool = False
    durability: Durability = "os"
    key: Path | None = None
    keeping: Keeping = field(default_factory=Keeping)


def read_audit(table: Table) -> AuditConfig:
    """Read `[audit]`."""
    path, key = table.need("path", text, "audit"), table.take("key", text, None)
    audit = AuditConfig(
        path=table.folder / path,
        folder=path.endswith("/"),
        durability=table.take("durability", choice(_DURABILITIES, "a durability"), "os"),
        key=None if key is None else table.folder / key,
        keeping=_read_keeping(table),
    )
    table.finish()
    if not audit.folder:
        for name in ("max_bytes", "max_age"):
            if getattr(audit.keeping, name) != getattr(KEEPING, name):
                table.wrong(name, "is for a folder of segments, whose path ends in a slash")

    return audit


def _read_keeping(table: Table) -> Keeping:
    return Keeping(
        max_bytes=table.take("max_bytes", integer(1 << 16, 1 << 40), KEEPING.max_bytes),
        max_age=table.take("max_age", _time, KEEPING.max_age),
        seal_every=table.take("seal_every", _time, KEEPING.seal_every),
        snapshot_every=table.take("snapshot_every", count(64, 1 << 30), KEEPING.snapshot_every),
    )


def _time(value: object) -> float:
    found = seconds(value)
    if not found:
        raise ValueError("is zero")

    if wrong := wrong_time(found):
        raise ValueError(f"{found} {wrong}")

    return found
