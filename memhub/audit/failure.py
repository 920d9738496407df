"""The one error of the audit log."""

from __future__ import annotations

import errno as host_errno
import os
from typing import Any

from memhub.escape import escape_controls


class AuditError(OSError):
    """Raised when the log cannot take, keep or read a record; no half of a record remains.

    Attributes:
        errno: the host's number for the cause.
        reason: what was wrong, in words.
        filename: the file, as text.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str, errno: int | None = None) -> None:
        self.reason = reason
        super().__init__(host_errno.EIO if errno is None else errno, reason, os.fspath(path))

    def __str__(self) -> str:
        return escape_controls(f"{self.filename}: {self.reason}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.filename, self.reason, self.errno)

    @classmethod
    def of(cls, path: str | os.PathLike[str], action: str, cause: OSError) -> AuditError:
        """The error for `action` that the operating system refused with `cause`."""
        return cls(path, f"{action}: {cause.strerror or cause}", cause.errno)
