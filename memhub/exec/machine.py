"""What differs between the 64-bit machines: system call numbers, `struct stat`, registers."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from platform import machine as machine_name
from typing import TYPE_CHECKING, Final

from memhub.exec.kernel import ShimUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Registers:
    """Where a register set (`NT_PRSTATUS`) keeps what a system call uses, in 64-bit words.

    Attributes:
        words: length of the set.
        nr: the number as the program sets it.
        original: the number as the kernel keeps it, or None where it has no such register.
        args: the six arguments.
        result: the value returned.
        pc: the program counter.
        trap: bytes of the instruction that enters the kernel.
    """

    words: int
    nr: int
    original: int | None
    args: tuple[int, ...]
    result: int
    pc: int
    trap: int


@dataclass(frozen=True, slots=True)
class MachineABI:
    """One machine's calling convention.

    Attributes:
        name: what `uname -m` says.
        audit_arch: AUDIT_ARCH_* of native calls; any other convention is refused.
        calls: system call numbers by name; absent ones do not exist on this machine.
        stat_layout: `struct stat`, up to st_blocks.
        registers: for calls made on behalf of the program.
    """

    name: str
    audit_arch: int
    calls: Mapping[str, int]
    stat_layout: str
    registers: Registers

    def stat(self, dev: int, inode: int, mode: int, rdev: int) -> bytes:
        """A `struct stat` of a character device; every field not given is zero."""
        if self.name == "x86_64":
            fields = (dev, inode, 1, mode, 0, 0, rdev, 0, 4096, 0)
        else:
            fields = (dev, inode, mode, 1, 0, 0, rdev, 0, 4096, 0)

        return struct.pack(self.stat_layout, *fields)


_X86_64_CALLS: Final = {
    "open": 2, "creat": 85, "openat": 257, "openat2": 437,
    "read": 0, "pread64": 17, "readv": 19, "preadv": 295, "preadv2": 327,
    "write": 1, "pwrite64": 18, "writev": 20, "pwritev": 296, "pwritev2": 328,
    "lseek": 8, "fstat": 5, "newfstatat": 262, "statx": 332,
    "mmap": 9, "munmap": 11, "ioctl": 16, "fcntl": 72, "dup": 32, "dup3": 292, "close": 3,
    "open_by_handle_at": 304, "pidfd_getfd": 438, "iopl": 172, "ioperm": 173,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
}  # fmt: skip

_AARCH64_CALLS: Final = {
    "openat": 56, "openat2": 437,
    "read": 63, "pread64": 67, "readv": 65, "preadv": 69, "preadv2": 286,
    "write": 64, "pwrite64": 68, "writev": 66, "pwritev": 70, "pwritev2": 287,
    "lseek": 62, "fstat": 80, "newfstatat": 79, "statx": 291,
    "mmap": 222, "munmap": 215, "ioctl": 29, "fcntl": 25, "dup": 23, "dup3": 24, "close": 57,
    "open_by_handle_at": 265, "pidfd_getfd": 438,
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427,
}  # fmt: skip

X86_64: Final = MachineABI(
    "x86_64",
    0xC000003E,
    _X86_64_CALLS,
    "<QQQIII4xQqqq72x",
    Registers(27, nr=10, original=15, args=(14, 13, 12, 7, 9, 8), result=10, pc=16, trap=2),
)

AARCH64: Final = MachineABI(
    "aarch64",
    0xC00000B7,
    _AARCH64_CALLS,
    "<QQIIIIQ8xqi4xq56x",
    Registers(34, nr=8, original=None, args=(0, 1, 2, 3, 4, 5), result=0, pc=32, trap=4),
)


def native() -> MachineABI:
    """This machine's convention.

    Raises:
        ShimUnavailable: the machine is another than x86-64 and aarch64.
    """
    name = machine_name()
    for abi in (X86_64, AARCH64):
        if abi.name == name:
            return abi

    raise ShimUnavailable(f"running a program on {name} is not supported: only x86_64 and aarch64")
