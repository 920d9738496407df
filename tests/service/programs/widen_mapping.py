"""Try to make more of a machine's memory than was granted for reading; say what worked, in JSON.

Arguments: the user to become (empty: stay), the descriptor's number, the service's process id.
It runs on its own with the standard library alone (`python -I -S`).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import mmap
import os
import socket
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_DUMPABLE = 4
MADV_REMOVE = 9
PUNCH_HOLE = 3  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

user, fd, service = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [
    *(ctypes.c_void_p, ctypes.c_size_t),
    *(ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long),
]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_long, ctypes.c_long]
if user:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
    libc.prctl(PR_SET_DUMPABLE, 1)  # its own /proc files are its own, as after an execve

SHARED_READ = (None, mmap.PAGESIZE, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
worked: list[str] = []


def check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), "refused")


def write_by(number: int) -> None:
    """Write through a descriptor in every way there is."""
    failures: list[Exception] = []
    for write in (
        lambda: os.pwrite(number, b"X", 0),
        lambda: mmap.mmap(number, mmap.PAGESIZE, mmap.MAP_SHARED).write_byte(88),
        lambda: check(libc.fallocate(number, PUNCH_HOLE, 0, mmap.PAGESIZE)),
        lambda: os.ftruncate(number, 0),
    ):
        try:
            write()
        except (OSError, ValueError) as error:
            failures.append(error)

    if len(failures) == 4:
        raise failures[0]


def write_again(path: str | Path) -> None:
    again = os.open(path, os.O_RDWR)
    try:
        write_by(again)
    finally:
        os.close(again)


def chmod_first() -> None:
    os.fchmod(fd, 0o777)
    write_again(f"/proc/self/fd/{fd}")


def pass_on() -> None:
    here, there = socket.socketpair()
    here.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [fd]))])
    _, ancillary, _, _ = there.recvmsg(1, 64)
    got = array.array("i", ancillary[0][2][:4])[0]
    with contextlib.suppress(OSError):
        write_by(got)
        return

    write_again(f"/proc/self/fd/{got}")


def raise_protection() -> None:
    check(libc.mprotect(libc.mmap(*SHARED_READ), mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_WRITE))


def remove_pages() -> None:
    check(libc.madvise(libc.mmap(*SHARED_READ), mmap.PAGESIZE, MADV_REMOVE))


def write_own_memory() -> None:
    address = libc.mmap(*SHARED_READ)
    own = os.open("/proc/self/mem", os.O_RDWR)
    os.pwrite(own, b"X", address)


def write_service_descriptors() -> None:
    for link in Path(f"/proc/{service}/fd").iterdir():
        if "memfd:memhub" in str(link.readlink()):
            write_again(link)
            return

    raise FileNotFoundError("no such descriptor")


def set_flags() -> None:
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDWR)
    write_by(fd)


def add_seals() -> None:
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


WAYS: dict[str, Callable[[], None]] = {
    "write": lambda: write_by(fd),
    "dup": lambda: write_by(os.dup(fd)),
    "reopen": lambda: write_again(f"/proc/self/fd/{fd}"),
    "reopen the duplicate": lambda: write_again(f"/proc/{os.getpid()}/fd/{os.dup(fd)}"),
    "reopen through /dev/fd": lambda: write_again(f"/dev/fd/{fd}"),
    "reopen the service's": write_service_descriptors,
    "chmod": chmod_first,
    "pass on": pass_on,
    "mprotect": raise_protection,
    "remove pages": remove_pages,
    "/proc/self/mem": write_own_memory,
    "truncate": lambda: os.truncate(f"/proc/self/fd/{fd}", 0),
    "set flags": set_flags,
    "seal": add_seals,
}

for name, way in WAYS.items():
    try:
        way()
    except (OSError, ValueError):
        continue

    worked.append(name)

readable = mmap.mmap(fd, mmap.PAGESIZE, mmap.MAP_SHARED, mmap.PROT_READ)[:4]
found = {"worked": worked, "uid": os.getuid(), "read": readable.decode("latin-1")}
sys.stdout.write(json.dumps(found))
