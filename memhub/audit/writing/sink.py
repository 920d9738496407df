"""The file under the log: opened once, locked, appended to, and cut back when a write fails."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from typing import TYPE_CHECKING, Literal

from memhub.audit.failure import AuditError
from memhub.audit.writing.place import LOOK_EVERY_NS, Place, leads_to

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.audit.writing.place import Fate

#: `os`: a record counts when the kernel has it; `disk`: when fdatasync(2) has returned.
Durability = Literal["os", "disk"]

#: How often a path that leads to another file each time is opened again.
_OPENINGS = 10

_FLAGS = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY


class FileSink:
    """A locked regular file that holds whole lines.

    Args:
        path: the file; created, readable by its group, if it does not exist.
        durability: what `append` waits for.
        write: `os.write`, or what a test puts in its place.
        flags: of open(2), further ones.

    Attributes:
        durability: what `append` waits for.
        size: bytes that `append` has written successfully.

    Raises:
        AuditError: the path cannot be opened, is not a regular file, or another process has it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        durability: Durability = "os",
        *,
        write: Callable[[int, bytes], int] = os.write,
        flags: int = 0,
    ) -> None:
        if durability not in ("os", "disk"):
            raise ValueError(f"durability {durability!r} is neither 'os' nor 'disk'")

        self.path = os.fspath(path)
        self.durability: Durability = durability
        self._disk = durability == "disk"
        self._write = write
        self._ragged = False
        self.fd = _open(self.path, flags)
        self.size = self._synced = os.fstat(self.fd).st_size
        self._place = Place(self.path, self.fd, 0 if self._disk else LOOK_EVERY_NS)
        if self._disk:
            self._keep_name()

    def append(self, data: bytes, *, sync: bool = True) -> None:
        """Hand `data` to the operating system, or to the disk: all of it or none.

        Args:
            data: whole lines.
            sync: where `durability` is `disk`, also wait for the disk; without it, `sync` does.

        Raises:
            AuditError: a write or sync failed; the file is cut back to what it held before.
                Where even that fails the next call begins with it. ESTALE: the file was deleted,
                replaced or cut, or was renamed a while ago; nothing was written.
        """
        try:
            if time.monotonic_ns() >= self._place.look_at:
                self._place.check(self.size)
            if self._ragged:
                self._cut()
            self._ragged = True
            written = self._write(self.fd, data)
            if written < len(data):
                self._write_rest(data, written)
        except OSError as error:
            with contextlib.suppress(OSError):
                self._cut()
            raise AuditError.of(self.path, "record not written", error) from error

        self._ragged = False
        self.size += len(data)
        if sync and self._disk:
            self.sync()

    def sync(self) -> None:
        """Wait until the disk has the file, where `durability` is `disk`.

        Raises:
            AuditError: it may not have what was appended since the last sync, which is cut off.
        """
        if not self._disk:
            return

        try:
            os.fdatasync(self.fd)
        except OSError as error:
            self.size, self._ragged = self._synced, True
            with contextlib.suppress(OSError):
                self._cut()
            raise AuditError.of(self.path, "record not written", error) from error

        self._synced = self.size

    def cut(self, size: int) -> None:
        """Drop what follows the first `size` bytes.

        Raises:
            AuditError: the file cannot be shortened.
        """
        self.size = self._synced = size
        try:
            self._cut()
        except OSError as error:
            raise AuditError.of(self.path, "torn line not cut", error) from error

    def find_fate(self) -> Fate:
        """Look whether the file is still where its path leads, with all its bytes."""
        return self._place.find_fate(self.size)

    def find_successor(self) -> FileSink | None:
        """Open what the path leads to now, in the same way.

        Returns:
            None if that is this file as it should be, this sink if another program cut its file,
            otherwise a new one. A renamed file takes a last record in either case.

        Raises:
            AuditError: as for a new sink.
        """
        self._place.restart_grace()
        fate = self.find_fate()
        if fate == "held":
            return None

        if fate == "cut":
            return self

        return FileSink(self.path, self.durability, write=self._write)

    def open_beside(self, path: str) -> FileSink:
        """Begin another file in the same way, where nothing is yet.

        Raises:
            AuditError: as for a new sink; EEXIST: something is there.
        """
        flags = os.O_EXCL | os.O_NOFOLLOW

        return FileSink(path, self.durability, write=self._write, flags=flags)

    def discard(self) -> None:
        """Close the file and take it away."""
        with contextlib.suppress(OSError):
            os.unlink(self.path)  # noqa: PTH108 - the path is text here

        os.close(self.fd)

    def accept_size(self) -> None:
        """Take the file as it is now, after another program cut it."""
        self.size = self._synced = os.fstat(self.fd).st_size
        self._ragged = False

    def close(self) -> None:
        """Close the file, which also ends the lock."""
        if self._ragged:
            with contextlib.suppress(OSError):
                self._cut()
        os.close(self.fd)

    def _write_rest(self, data: bytes, written: int) -> None:
        while written < len(data):
            more = self._write(self.fd, data[written:])
            if not more:
                raise OSError(errno.EIO, "the file takes no more bytes")

            written += more

    def _cut(self) -> None:
        if os.fstat(self.fd).st_size > self.size:
            os.ftruncate(self.fd, self.size)
        if self._disk:
            os.fdatasync(self.fd)
        self._ragged = False

    def _keep_name(self) -> None:
        """Sync the directory, so that a new file's name survives a power failure."""
        folder = os.path.dirname(os.path.abspath(self.path))  # noqa: PTH100, PTH120
        try:
            fd = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            self.close()
            raise AuditError.of(self.path, "directory not synced", error) from error


def _open(path: str, flags: int) -> int:
    """Open and lock the file that the path leads to, also after the lock was taken.

    Between opening and locking another process may have renamed the file and let go of it. Its
    lock says nothing about the file that is now at the path.
    """
    for _ in range(_OPENINGS):
        fd = _open_locked(path, flags)
        if leads_to(path, fd):
            return fd

        os.close(fd)

    raise AuditError(path, "the file was replaced whenever it was opened", errno.EBUSY)


def _open_locked(path: str, flags: int) -> int:
    try:
        fd = os.open(path, _FLAGS | flags, 0o640)
    except OSError as error:
        raise AuditError.of(path, "audit log not opened", error) from error

    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise AuditError(path, "audit log is not a regular file", errno.EINVAL)

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise AuditError(path, "another process writes this audit log", errno.EBUSY) from error
    except OSError as error:
        os.close(fd)
        if isinstance(error, AuditError):
            raise
        raise AuditError.of(path, "audit log not locked", error) from error

    return fd
