"""The message and exit code of a command that fails."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from memhub.errors import DeviceError, Obstacle


#: What keeps a file from being written whose name the error does not have.
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class CommandFailed(Exception):
    """Raised by a command that cannot go on.

    Args:
        reason: one line, or several.
        code: the exit code.
    """

    def __init__(self, reason: str, code: int = 2) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)


def obstacles(error: DeviceError) -> list[str]:
    """The obstacles, a line each; nothing for a single one, which the reason names."""
    if len(error.obstacles) <= 1:
        return []

    return [f"  {obstacle_text(it)}" for it in error.obstacles]


def obstacle_text(it: Obstacle) -> str:
    """One obstacle as text."""
    words = [it.kind] if it.kind != "slot" else []
    if it.slot is not None:
        words.append(f"slot {it.slot}")

    if it.base is not None and it.length is not None:
        words.append(f"{it.base:#x}/{it.length:#x}")

    for label, value in (("type", it.type), ("owner", it.owner), ("of", it.process)):
        if value:
            words.append(f"{label} {value}")

    if it.pid is not None:
        words.append(f"(pid {it.pid})")

    if it.since is not None:
        words.append(f"since {it.since_text}")

    return " ".join(words)


def explain_failure(error: Exception) -> tuple[int, list[str]] | None:
    """The exit code and the lines of an error that the user can correct; None for a bug."""
    if isinstance(error, CommandFailed):
        return error.code, error.reason.splitlines()

    from memhub.errors import DeviceError

    if isinstance(error, DeviceError):
        return 1, [str(error), *obstacles(error)]

    if isinstance(error, ConnectionError) and error.filename is None:
        return 2, [error.strerror or str(error)]

    return _explain_local(error)


def _explain_local(error: Exception) -> tuple[int, list[str]] | None:
    """The same for errors that only work in this process raises; importing these is slow."""
    from memhub.arches import ArchNotInstalled
    from memhub.audit.failure import AuditError
    from memhub.config.errors import ConfigError
    from memhub.core.kernel import OptionError
    from memhub.images.failure import ExtraMissing, ImageError

    if isinstance(
        error,
        AuditError | ConfigError | OptionError | ArchNotInstalled | ImageError | ExtraMissing,
    ):
        return 2, str(error).splitlines()

    if isinstance(error, OSError) and error.filename is not None:
        return 2, [f"{error.filename}: {error.strerror}"]

    if isinstance(error, OSError) and error.errno in _FULL:
        return 2, [str(error.strerror)]

    return None
