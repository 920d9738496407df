"""Calls on a device descriptor that the supervisor does not answer: the table of docs/exec.md."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from exec.exec_rig import TEXT, TEXT_AT

if TYPE_CHECKING:
    from pathlib import Path

    from exec.exec_rig import Opened


@pytest.mark.parametrize(
    ("call", "outcome"),
    [
        ("sendfile(out, fd, 0, 10)", "EBADF"),
        ("sendfile(fd, plain, 0, 10)", "EAGAIN"),
        ("splice(fd, told, 10)", "EBADF"),
        ("splice(ready, fd, 2, flags=SPLICE_F_NONBLOCK)", "EAGAIN"),
        ("copy_file_range(fd, out, 10)", "EINVAL"),
        ("copy_file_range(plain, fd, 10)", "EINVAL"),
        ("polled(select.poll())", "[]"),
        ("polled(select.epoll())", "[]"),
        ("select.select([fd], [fd], [], 0)", "([], [], [])"),
        ("ftruncate(fd, 0)", "EINVAL"),
        ("fsync(fd)", "EINVAL"),
        ("fdatasync(fd)", "EINVAL"),
        ("posix_fallocate(fd, 0, 1)", "ESPIPE"),
        ("posix_fadvise(fd, 0, 1, 0)", "ESPIPE"),
        ("fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)", "None"),
        ("mapped(mprotect, 4096, 3)", "0 b'hello'"),
        ("mapped(mremap, 4096, 8192, 1)", "moved b'hello'"),
        ("mapped(msync, 4096, 4)", "0 b'hello'"),
    ],
)
def test_each_row_of_the_table_holds(
    opened: Opened, tmp_path: Path, call: str, outcome: str
) -> None:
    """No byte of the device passes unseen, whatever the call."""
    shown = opened(
        f"""
import fcntl, select
fd = open("/dev/mem", O_RDWR)
out = open({str(tmp_path / "out")!r}, O_RDWR | O_CREAT)
plain = open("/etc/passwd", O_RDONLY)
ready, told = pipe()
write(told, b"zz")

def polled(poll):
    poll.register(fd)
    return poll.poll(0)

libc.mmap.restype = libc.mremap.restype = ctypes.c_void_p
number = ctypes.c_size_t
mprotect, mremap, msync = libc.mprotect, libc.mremap, libc.msync

def mapped(call, *arguments):
    at = libc.mmap(None, number(4096), 3, 1, fd, number({TEXT_AT}))
    result = call(number(at), *map(number, arguments))
    if call is mremap:
        at, result = result, "moved"
    return f"{{result}} {{ctypes.string_at(at, 5)}}"

try:
    print({call})
except OSError as error:
    print(errno.errorcode[error.errno])
print(pread(fd, {len(TEXT)}, {TEXT_AT}))
"""
    )

    assert shown == [outcome, str(TEXT)]
