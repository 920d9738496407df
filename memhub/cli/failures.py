"""What a command that fails says, and its exit code."""

from __future__ import annotations


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


def explain_failure(error: Exception) -> tuple[int, list[str]] | None:
    """The exit code and the lines of an error that is the user's to mend; None for a bug."""
    if isinstance(error, CommandFailed):
        return error.code, error.reason.splitlines()

    from memhub.audit.failure import AuditError
    from memhub.config.errors import ConfigError
    from memhub.core.driver import OptionError
    from memhub.errors import DeviceError
    from memhub.plugin.loader import ArchNotInstalled

    if isinstance(error, DeviceError):
        return 1, [str(error)]

    if isinstance(error, AuditError | ConfigError | OptionError | ArchNotInstalled):
        return 2, str(error).splitlines()

    if isinstance(error, OSError) and error.filename is not None:
        return 2, [f"{error.filename}: {error.strerror}"]

    return None
