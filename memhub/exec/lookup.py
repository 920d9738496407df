"""The system calls that find the file behind a path or a descriptor of the program.

Python has no openat2(2), fstatfs(2), open_by_handle_at(2) or pidfd_getfd(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.exec.kernel import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_MAGIC_LINKS: Final = 0x02
NO_SYMBOLIC_LINKS: Final = 0x04
BENEATH: Final = 0x08
IN_ROOT: Final = 0x10
#: Fail with EAGAIN rather than ask a file system, which may be slow (Linux 5.12).
CACHED: Final = 0x20

_OPENAT2: Final = 437
_PIDFD_GETFD: Final = 438
_HOW: Final = struct.Struct("<QQQ")
_PROC_MAGIC: Final = 0x9FA0
_STATFS_SIZE: Final = 256
#: O_PATH finds a file without opening it, so a device driver is not called.
_FLAGS: Final = os.O_PATH | os.O_CLOEXEC

#: Identifies a file: `st_dev` and `st_ino`.
Key = tuple[int, int]


class Lookup:
    """These system calls; any thread may use them."""

    def __init__(self) -> None:
        library = libc()
        self._syscall = library.syscall
        self._syscall.restype = ctypes.c_long
        self._fstatfs = library.fstatfs
        self._by_handle = library.open_by_handle_at

    def find(
        self, directory: int, path: bytes, *, follow: bool, resolve: int = 0, cached: bool = False
    ) -> int:
        """Look a file up without opening it.

        Args:
            directory: what a relative path starts from.
            path: the path.
            follow: follow a symbolic link in the last place.
            resolve: RESOLVE_* flags of openat2(2).
            cached: use only the kernel's cache of names.

        Returns:
            a descriptor (O_PATH) that the caller closes.

        Raises:
            OSError: as openat2(2); EAGAIN if `cached` and a file system would have to be asked.
        """
        flags = _FLAGS if follow else _FLAGS | os.O_NOFOLLOW
        how = _HOW.pack(flags, 0, resolve | CACHED if cached else resolve)

        return _check_result(self._syscall(_OPENAT2, directory, path, how, _HOW.size))

    def is_proc(self, handle: int) -> bool:
        """Whether a file lies in a procfs, whichever mount or instance of it."""
        buffer = ctypes.create_string_buffer(_STATFS_SIZE)
        _check_result(self._fstatfs(handle, buffer))

        return int.from_bytes(buffer.raw[:8], "little") == _PROC_MAGIC

    def find_by_handle(self, mount: int, handle: bytes) -> int:
        """Look up what a `struct file_handle` stands for; as `find`."""
        return _check_result(self._by_handle(mount, handle, _FLAGS))

    def fetch(self, pid: int, number: int) -> int:
        """A copy of descriptor `number` of a process, given one of its threads.

        Raises:
            OSError: EBADF; there is none. ESRCH; there is no such thread.
        """
        with closing(os.pidfd_open(process_of(pid))) as process:
            return _check_result(self._syscall(_PIDFD_GETFD, process, number, 0))


@contextlib.contextmanager
def closing(handle: int) -> Iterator[int]:
    """Close a descriptor at the end."""
    try:
        yield handle
    finally:
        os.close(handle)


def key_of(found: os.stat_result) -> Key:
    """What identifies a file."""
    return found.st_dev, found.st_ino


def process_of(tid: int) -> int:
    """The process that a thread belongs to."""
    for line in Path(f"/proc/{tid}/status").read_text().splitlines():
        if line.startswith("Tgid:"):
            return int(line.split()[1])

    raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH))


def _check_result(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))

    return result
