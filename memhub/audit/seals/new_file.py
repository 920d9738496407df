"""A file that is written whole where nothing was before, or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from memhub.audit.failure import AuditError


def write_new_file(
    path: str | os.PathLike[str], data: bytes, what: str, *, secret: bool = False
) -> None:
    """Write a new file, which is on the disk when this returns.

    Args:
        path: where nothing is yet.
        data: all that the file holds.
        what: what it is, for the message: `proof`.
        secret: whether its mode is 0600, so that only its owner can read it.

    Raises:
        AuditError: something is there already (EEXIST), or it cannot be written (errno of the
            host); nothing is left behind.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o600 if secret else 0o666)
    except OSError as error:
        raise AuditError.of(path, f"{what} not written", error) from None

    try:
        with os.fdopen(fd, "wb") as file:
            if secret:
                os.fchmod(fd, 0o600)  # a umask may have taken the owner's rights too

            file.write(data)
            file.flush()
            os.fsync(fd)
    except BaseException as error:
        with suppress(OSError):
            Path(path).unlink()

        if isinstance(error, OSError):
            raise AuditError.of(path, f"{what} not written", error) from None

        raise
