"""The open devices of the program, and how the supervisor recognises them.

Each open(2) of a device makes a pipe and puts its writing end into the program. No
byte goes through the pipe; what the kernel knows of it is used:

* identity: `/proc/PID/fd/N` names the pipe's inode, so a descriptor is recognised after dup,
  dup2, fork, execve or SCM_RIGHTS, in any process, without a table of descriptors;
* last close: when the last writing end is gone, by close, exit or SIGKILL, the reading end that
  the supervisor keeps hangs up;
* safety: a call that is not trapped fails. A read from a writing end is EBADF, a write to a
  full pipe EAGAIN, mmap ENODEV.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import stat
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from memhub.exec.backend import STREAMS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.exec.backend import DeviceSession, StreamSession
    from memhub.exec.filter import Window

_PIPE_SIZE: Final = 4096
_F_SETPIPE_SZ: Final = 1031
_LAST_STANDARD: Final = 2


@dataclass(frozen=True, slots=True)
class Node:
    """What `struct stat` says of a device.

    Attributes:
        dev: `st_dev`.
        ino: `st_ino`.
        mode: `st_mode`; a character device, as mem(4) is, or a file of procfs.
        rdev: `st_rdev`.
    """

    dev: int
    ino: int
    mode: int
    rdev: int


def node_of(path: str, inode: int) -> Node:
    """The host's device of that name, so that stat and fstat agree; else an invented one."""
    if path in STREAMS:
        return Node(0, inode, stat.S_IFREG | 0o644, 0)

    with contextlib.suppress(OSError):
        found = os.stat(path)  # noqa: PTH116 - device names are plain strings
        if stat.S_ISCHR(found.st_mode):
            return Node(found.st_dev, found.st_ino, found.st_mode, found.st_rdev)

    minor = 2 if path.endswith("kmem") else 1

    return Node(0, inode, stat.S_IFCHR | 0o640, os.makedev(1, minor))


class OpenDevice:
    """One open file description of the program that is a device.

    Attributes:
        session: the device behind it.
        path: the name that was opened.
        flags: access mode and status flags, as F_GETFL shows them.
        offset: the file offset (u64).
        lock: held while a transfer moves the offset.
        inode: the pipe's.
        node: what stat shows of it.
        stream: its session, where that keeps the position; None where `offset` is.
        watch: the pipe's reading end; hangs up at the last close.
    """

    __slots__ = ("flags", "inode", "lock", "node", "offset", "path", "session", "stream", "watch")

    def __init__(
        self, session: DeviceSession, path: str, flags: int, inode: int, watch: int
    ) -> None:
        self.session = session
        self.path = path
        self.flags = flags
        self.inode = inode
        self.watch = watch
        self.node = node_of(path, inode)
        self.stream = cast("StreamSession", session) if path in STREAMS else None
        self.offset = 0
        self.lock = threading.Lock()

    @property
    def readable(self) -> bool:
        """Whether it was opened for reading."""
        return self.flags & os.O_ACCMODE != os.O_WRONLY

    @property
    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self.flags & os.O_ACCMODE != os.O_RDONLY


class OpenDevices:
    """All open devices of the program, by pipe.

    Attributes:
        poll: reports the reading end of each pipe whose last writing end is gone. Threads may
            add to it while another waits in it.
    """

    def __init__(self) -> None:
        self.poll = select.epoll()
        self._by_link: dict[str, OpenDevice] = {}
        self._by_watch: dict[int, OpenDevice] = {}
        self._file_system = -1

    def __iter__(self) -> Iterator[OpenDevice]:
        return iter(tuple(self._by_link.values()))

    def add(self, session: DeviceSession, path: str, flags: int) -> int:
        """Make an open device of a session.

        Returns:
            the descriptor to put into the program and then to close here.
        """
        watch, handle = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _fill_file(handle)
        made = os.fstat(watch)
        self._file_system = made.st_dev
        inode = made.st_ino
        device = OpenDevice(session, path, flags, inode, watch)
        self._by_link[f"pipe:[{inode}]"] = device
        self._by_watch[watch] = device
        self.poll.register(watch, 0)

        return handle

    def find(self, pid: int, fd: int) -> OpenDevice | None:
        """The device behind a descriptor of a process, or None if it is something else."""
        if not self._by_link:
            return None

        return self._by_link.get(_read_link(pid, fd))

    def behind(self, info: os.stat_result) -> OpenDevice | None:
        """The device that a file found by name is a descriptor of (`/proc/self/fd/N`)."""
        if not stat.S_ISFIFO(info.st_mode) or info.st_dev != self._file_system:
            return None

        return self._by_link.get(f"pipe:[{info.st_ino}]")

    def watched(self, watch: int) -> OpenDevice | None:
        """The device whose pipe has this reading end."""
        return self._by_watch.get(watch)

    def close(self) -> None:
        """Stop watching."""
        self.poll.close()

    def remove(self, device: OpenDevice) -> None:
        """Forget a device and close its session."""
        del self._by_link[f"pipe:[{device.inode}]"]
        del self._by_watch[device.watch]
        self.poll.unregister(device.watch)
        os.close(device.watch)
        device.session.close()


def another_handle(pid: int, fd: int) -> int:
    """One more writing end of the pipe behind a descriptor of a process.

    Raises:
        OSError: the process or the descriptor is gone.
    """
    return os.open(f"/proc/{pid}/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)


def free_number(pid: int, window: Window, at_least: int = 0) -> int:
    """A descriptor number of the window that a process does not use.

    Raises:
        OSError: EMFILE if all are taken.
    """
    for number in range(max(window.first, at_least), window.end):
        if not is_open(pid, number):
            return number

    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def standard_gap(pid: int, at_least: int = 0) -> bool:
    """Whether a new descriptor would become standard input, output or error."""
    numbers: Iterable[int] = range(at_least, _LAST_STANDARD + 1)

    return any(not is_open(pid, number) for number in numbers)


def is_open(pid: int, number: int) -> bool:
    """Whether a process has a descriptor of this number."""
    return bool(_read_link(pid, number))


def _read_link(pid: int, number: int) -> str:
    """What the kernel calls the file behind a descriptor; nothing if there is none."""
    try:
        return os.readlink(f"/proc/{pid}/fd/{number}")  # noqa: PTH115 - on every call's path
    except OSError:
        return ""


def _fill_file(handle: int) -> None:
    fcntl.fcntl(handle, _F_SETPIPE_SZ, _PIPE_SIZE)
    try:
        while os.write(handle, bytes(_PIPE_SIZE)):
            pass
    except BlockingIOError:
        return
