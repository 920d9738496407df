"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a file that appears when the block ends well, in place of one that is there.

    Args:
        path: the file; a symbolic link is followed, and a pipe or a device is written to.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file

        return

    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:  # which names a file that nobody asked for
        raise OSError(error.errno, error.strerror, str(path)) from None

    new = path.parent / name
    try:
        with os.fdopen(number, "wb") as file:
            yield file
            file.flush()
            os.fsync(number)

        if path.exists():
            new.chmod(path.stat().st_mode & 0o7777)

        new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()

        raise
