"""The seccomp filter: which system calls of the program reach the supervisor.

A filter sees only numbers, not the file behind a descriptor or the memory behind a pointer. So
the program gets devices under descriptor numbers of a reserved window, and the filter tests for
these numbers.
Standard input and output are watched as well (`dd if=`, shell redirection, `freopen`), each only
for the direction in which it is used. Calls without a rule are allowed by number, which the
kernel decides from a bitmap (Linux 5.11) without running the filter.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.abi import DATA_MODELS, MEM_EXTRACT_PADDR
from memhub.exec.kernel import RET_ALLOW, RET_ERRNO, RET_USER_NOTIF
from memhub.exec.machine import X86_64, MachineABI

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

F_DUPFD: Final = 0
F_GETFL: Final = 3
F_SETFL: Final = 4
F_DUPFD_CLOEXEC: Final = 1030

#: TCGETS, FIONBIO, FIONCLEX, FIOCLEX, FIOASYNC: the kernel answers these on any descriptor.
_PLAIN_IOCTLS: Final = (0x5401, 0x5421, 0x5450, 0x5451, 0x5452)
#: MTRRIOC_* of Linux, which the host's /proc/mtrr would perform.
MTRR_REQUESTS: Final = frozenset(
    {*(0x40104D00 | number for number in (0, 1, 2, 4, 5, 6, 7, 9)), 0xC0184D03, 0xC0184D08}
)
#: No filter sees what io_uring does. ENOSYS is the answer of a kernel without it.
_REFUSED: Final = ("io_uring_setup", "io_uring_enter", "io_uring_register")
_X32_BIT: Final = 0x40000000
_MAX_SIZE: Final = 255

_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_RETURN: Final = 0x06
_INSTRUCTION: Final = struct.Struct("<HBBI")

_NEXT: Final = "next"
_NOTIFY: Final = "notify"
_ALLOW: Final = "allow"

#: Operation, operand, where to go if true, where else.
_Step = tuple[int, int, str, str]


@dataclass(frozen=True, slots=True)
class Window:
    """The descriptor numbers under which devices are given to the program.

    Attributes:
        first: first number.
        end: one past the last; no more than the program's RLIMIT_NOFILE.
        every: watch reads and writes of every descriptor, which makes each of them slower; for
            programs that use a device under a number of their own choosing.
    """

    first: int
    end: int
    every: bool = False

    @property
    def scratch(self) -> int:
        """A number outside the window, for a descriptor that exists only while memory is mapped."""
        return self.first - 1


def build(abi: MachineABI, window: Window) -> bytes:
    """Assemble the filter.

    Args:
        abi: the machine whose system call numbers are meant.
        window: the descriptors to watch.

    Returns:
        an array of `struct sock_filter`.
    """
    notify = _INSTRUCTION.pack(_RETURN, 0, 0, RET_USER_NOTIF)
    code = _INSTRUCTION.pack(_LOAD, 0, 0, 4) + _INSTRUCTION.pack(_EQUAL, 1, 0, abi.audit_arch)
    code += notify + _INSTRUCTION.pack(_LOAD, 0, 0, 0)
    if abi is X86_64:
        code += _guard_block(_AT_LEAST, _X32_BIT, notify)

    for names, steps in _filter_rules(window):
        block = _assemble_block(steps)
        for name in names:
            if name in abi.calls:
                code += _guard_block(_EQUAL, abi.calls[name], block)

    absent = _INSTRUCTION.pack(_RETURN, 0, 0, RET_ERRNO | errno.ENOSYS)
    for name in _REFUSED:
        code += _guard_block(_EQUAL, abi.calls[name], absent)

    return code + _INSTRUCTION.pack(_RETURN, 0, 0, RET_ALLOW)


def _filter_rules(window: Window) -> Iterable[tuple[tuple[str, ...], tuple[_Step, ...]]]:
    always = ((_EQUAL, 0, _NOTIFY, _NOTIFY),)
    yield ("open", "openat", "openat2", "creat"), always
    yield ("open_by_handle_at", "pidfd_getfd", "iopl", "ioperm"), always
    yield ("read", "pread64", "readv", "preadv", "preadv2"), _watch_descriptor(window, 0, (0,))
    yield ("write", "pwrite64", "writev", "pwritev", "pwritev2"), _watch_descriptor(window, 0, (1,))
    yield ("lseek",), _watch_descriptor(window, 0, (0, 1))
    yield ("fstat", "newfstatat", "statx"), _watch_descriptor(window, 0, (0, 1))
    yield ("mmap",), _watch_descriptor(window, 4, (0, 1))
    yield ("fcntl",), (*_fcntl_steps(), *_watch_descriptor(window, 0, (0, 1)))
    yield ("dup",), _within_window(window, 0)
    yield ("ioctl",), (*_ioctl_steps(), *_within_window(window, 0))


def _watch_descriptor(window: Window, index: int, standard: tuple[int, ...]) -> tuple[_Step, ...]:
    if not window.every:
        steps = tuple((_EQUAL, number, _NOTIFY, _NEXT) for number in standard)

        return (_load_argument(index), *steps, *_within_window(window, index)[1:])

    return (
        _load_argument(index),
        (_EQUAL, window.scratch, _ALLOW, _NEXT),
        (_AT_LEAST, 1 << 31, _ALLOW, _NOTIFY),
    )


def _within_window(window: Window, index: int) -> tuple[_Step, ...]:
    return (
        _load_argument(index),
        (_AT_LEAST, window.first, _NEXT, _ALLOW),
        (_AT_LEAST, window.end, _ALLOW, _NOTIFY),
    )


def _fcntl_steps() -> tuple[_Step, ...]:
    first, *middle, last = (F_DUPFD, F_GETFL, F_SETFL, F_DUPFD_CLOEXEC)
    tests = [(_EQUAL, command, "fd", _NEXT) for command in (first, *middle)]

    return (_load_argument(1), *tests, (_EQUAL, last, "fd", _ALLOW))


def _ioctl_steps() -> tuple[_Step, ...]:
    ours = [number for model in DATA_MODELS for number in (model.get, *model.set)]
    ours.append(MEM_EXTRACT_PADDR)

    return (
        _load_argument(1),
        *((_EQUAL, number, _NOTIFY, _NEXT) for number in (*ours, *sorted(MTRR_REQUESTS))),
        *((_EQUAL, number, _ALLOW, _NEXT) for number in _PLAIN_IOCTLS),
    )


def _load_argument(index: int) -> _Step:
    """Load the low word of an argument; the machines here are little-endian."""
    return (_LOAD, 16 + 8 * index, _NEXT, _NEXT)


def _guard_block(test: int, operand: int, block: bytes) -> bytes:
    """Run `block`, which returns on every path, only if the test holds."""
    size = len(block) // _INSTRUCTION.size
    assert size <= _MAX_SIZE

    return _INSTRUCTION.pack(test, 0, size, operand) + block


def _assemble_block(steps: tuple[_Step, ...]) -> bytes:
    """Assemble steps, followed by the two ways to return.

    The label `fd` is the second load of the block: the test of the descriptor.
    """
    loads = [at for at, step in enumerate(steps) if step[0] == _LOAD]
    labels = {_NOTIFY: len(steps), _ALLOW: len(steps) + 1, "fd": loads[-1] if loads else 0}
    resolve: Callable[[int, str], int] = lambda at, label: labels.get(label, at + 1) - at - 1  # noqa: E731
    code = b"".join(
        _INSTRUCTION.pack(op, *_jump_offsets(op, resolve(at, true), resolve(at, false)), operand)
        for at, (op, operand, true, false) in enumerate(steps)
    )

    return code + b"".join(
        _INSTRUCTION.pack(_RETURN, 0, 0, verdict) for verdict in (RET_USER_NOTIF, RET_ALLOW)
    )


def _jump_offsets(op: int, true: int, false: int) -> tuple[int, int]:
    return (0, 0) if op == _LOAD else (true, false)
