"""What a question is asked of: files, folders of files, and packed sets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.audit.failure import AuditError
from memhub.audit.reading.reader import first_record
from memhub.audit.reading.segments import PACKED, list_segments

if TYPE_CHECKING:
    from collections.abc import Iterable

#: The names of logs in a folder.
PATTERNS: Final = ("*.jsonl", "*.jsonl.gz", "*.jsonl.zst", "*.jsonl.[0-9]*")


def is_packed(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder that `pack` has made."""
    return (Path(path) / PACKED).is_file()


def find_logs(paths: Iterable[str | os.PathLike[str]]) -> list[str]:
    """The logs that some paths lead to: files and folders of segments.

    Args:
        paths: files, pipes, `-` and folders of segments, taken in this order; another folder
            stands for the logs in it (`*.jsonl`, also with `.gz`, `.zst` or a number behind), in
            the order of their first records.

    Raises:
        AuditError: a folder has no log, or the first record of one cannot be read.
    """
    found: list[str] = []
    for path in paths:
        if Path(path).is_dir() and not list_segments(path):
            found += _logs_inside(Path(path))
        else:
            found.append(os.fspath(path))

    return found


def _logs_inside(folder: Path) -> list[str]:
    names = sorted({path for pattern in PATTERNS for path in folder.glob(pattern)})
    begun = [(first_record(path), os.fspath(path)) for path in names]
    logs = [(it["seq"], it["wall_ns"], path) for it, path in begun if it is not None]
    if not logs:
        raise AuditError(folder, f"no audit log is in it: {', '.join(PATTERNS)}")

    return [path for _, _, path in sorted(logs)]
