"""A file that appears whole or not at all: a reader sees the old one or the new one."""

from __future__ import annotations

import errno
import os
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is done with a pipe, a device or a socket. It is never replaced.
Special = Literal["write", "refuse"]

_NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


class NotRegular(OSError):
    """Raised where a file would have to take the place of what is none."""


def write_whole(
    path: str | os.PathLike[str],
    data: bytes,
    *,
    special: Special,
    mode: int = 0o666,
    replace: bool = True,
    follow: bool = True,
) -> None:
    """Write a file that appears whole or not at all, and is on the disk then.

    Args:
        path: the file.
        data: the content.
        special: `write` writes to a pipe or a device that is there; `refuse` raises `NotRegular`.
        mode: the permissions of a new file, less the umask; one that is there keeps its own.
        replace: whether a file that is there is replaced.
        follow: whether a symbolic link is followed; it stays a link.

    Raises:
        FileExistsError: it is there, and is not to be replaced.
        NotRegular: EINVAL; it is a pipe or a device. ELOOP; it is a link.
        OSError: it cannot be written, and has not changed; `filename` is `path`.
    """
    with open_whole(path, special=special, mode=mode, replace=replace, follow=follow) as file:
        file.write(data)


@contextmanager
def open_whole(
    path: str | os.PathLike[str],
    *,
    special: Special,
    mode: int = 0o666,
    replace: bool = True,
    follow: bool = True,
) -> Iterator[IO[bytes]]:
    """Write a file piece by piece; it appears, and is on the disk, when the block ends well.

    Arguments and errors are those of `write_whole`. What the block raises of other files is raised
    as it is.
    """
    new = ""
    try:
        target = _find_target(Path(path), special, follow=follow)
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file

            return

        if not replace and target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

        new = os.fspath(target.with_name(f".memhub-{secrets.token_hex(8)}.new"))
        with _put_in_place(target, Path(new), mode, replace=replace) as file:
            yield file
    except OSError as error:
        ours = (None, new, os.fspath(path), os.fspath(Path(path).resolve()))
        if error.filename not in ours:
            raise

        reason = error.strerror or str(error)
        raise type(error)(error.errno, reason, os.fspath(path)) from error


def check_creatable(path: str | os.PathLike[str]) -> None:
    """Find out before long work whether a file could be made; nothing is left of the attempt.

    Args:
        path: the file. One that is there is left as it is, and has to be writable.

    Raises:
        OSError: it could not be written; `filename` is `path`.
    """
    there = os.path.lexists(path)
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | (0 if there else os.O_CREAT | os.O_EXCL)))
    if not there:
        Path(path).unlink()


def _find_target(path: Path, special: Special, *, follow: bool) -> Path:
    """The file that a path leads to, if it may be written."""
    if path.is_symlink():
        if not follow:
            raise NotRegular(errno.ELOOP, "it is a symbolic link")

        path = path.resolve()

    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))

    if path.exists() and not path.is_file() and special == "refuse":
        raise NotRegular(errno.EINVAL, "it is no regular file")

    return path


@contextmanager
def _put_in_place(path: Path, new: Path, mode: int, *, replace: bool) -> Iterator[IO[bytes]]:
    try:
        with os.fdopen(os.open(new, _NEW, mode), "wb") as file:
            if path.exists():
                os.fchmod(file.fileno(), path.stat().st_mode & 0o7777)

            yield file
            file.flush()
            os.fsync(file.fileno())

        if replace:
            new.replace(path)
        else:
            _add(path, new)
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)


def _add(path: Path, new: Path) -> None:
    """Name the new file `path`, which a rename would replace; a link does not."""
    try:
        path.hardlink_to(new)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        path.touch(exist_ok=False)
        new.replace(path)
