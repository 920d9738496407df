"""The kernel's side of seccomp user notification, as plain Python calls.

Numbers and layouts are those of `linux/seccomp.h` (5.0 and later) for 64-bit machines.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from dataclasses import dataclass
from typing import Final

from memhub.escape import EscapedMessage

RET_ALLOW: Final = 0x7FFF0000
RET_USER_NOTIF: Final = 0x7FC00000
RET_ERRNO: Final = 0x00050000

_RECV: Final = 0xC0502100
_SEND: Final = 0xC0182101
_ID_VALID: Final = 0x40082102
_ADDFD: Final = 0x40182103
_SET_FLAGS: Final = 0x40082104
_SYNC_WAKE_UP: Final = 1
_RESPONSE_CONTINUE: Final = 1
_ADDFD_SETFD: Final = 1
_ADDFD_SEND: Final = 2

_NOTIF: Final = struct.Struct("<QIIiIQ6Q")
_RESPONSE: Final = struct.Struct("<QqiI")
_ADDFD_ARG: Final = struct.Struct("<QIIII")
_ID: Final = struct.Struct("<Q")
_BLANK: Final = bytes(_NOTIF.size)


class ShimUnavailable(EscapedMessage, RuntimeError):
    """Raised when this machine cannot run an unmodified program; the message says what it lacks."""


@dataclass(slots=True)
class Notification:
    """One trapped system call.

    Attributes:
        id: the kernel's cookie; the answer carries it.
        pid: the calling thread, in this process's pid namespace.
        nr: the system call's number.
        arch: AUDIT_ARCH_* of the calling convention that was used.
        args: the six arguments, unsigned.
    """

    id: int
    pid: int
    nr: int
    arch: int
    args: tuple[int, ...]

    def fd(self, index: int = 0) -> int:
        """An argument that is a descriptor: the low 32 bits, signed."""
        value = self.args[index] & 0xFFFFFFFF

        return value - (1 << 32) if value >> 31 else value


class Listener:
    """The descriptor on which the kernel reports trapped calls.

    `receive` belongs to one thread; the answers may come from any.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._buffer = bytearray(_BLANK)
        self._probe_kernel()
        self._wake_on_same_core()

    def _probe_kernel(self) -> None:
        """Refuse a kernel that cannot inject a descriptor and answer in one step (5.14)."""
        try:
            self._add_descriptor(0, -1, 0, _ADDFD_SEND, 0)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBADF):
                raise ShimUnavailable(
                    "the kernel cannot inject a descriptor with its answer "
                    "(SECCOMP_IOCTL_NOTIF_ADDFD with SECCOMP_ADDFD_FLAG_SEND, Linux 5.14): "
                    f"{error.strerror}"
                ) from error

    def _wake_on_same_core(self) -> None:
        """Ask for synchronous wake-ups (Linux 6.6): caller and supervisor take turns."""
        try:
            fcntl.ioctl(self.fd, _SET_FLAGS, _SYNC_WAKE_UP)
        except OSError:
            return

    def receive(self) -> Notification | None:
        """Take one trapped call, or None if it vanished (its thread was killed)."""
        buffer = self._buffer
        buffer[:] = _BLANK
        try:
            fcntl.ioctl(self.fd, _RECV, buffer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINTR):
                return None
            raise

        call_id, pid, _flags, nr, arch, _ip, *args = _NOTIF.unpack(buffer)

        return Notification(call_id, pid, nr, arch, tuple(args))

    def valid(self, call: Notification) -> bool:
        """Whether the call still waits, so that its pid is still the thread that made it."""
        try:
            fcntl.ioctl(self.fd, _ID_VALID, _ID.pack(call.id))
        except OSError:
            return False

        return True

    def answer(self, call: Notification, value: int) -> bool:
        """Return `value` (unsigned 64-bit) from the call; False if nobody waits for it."""
        if value >> 63:
            value -= 1 << 64

        return self._send_response(_RESPONSE.pack(call.id, value, 0, 0))

    def fail(self, call: Notification, number: int) -> bool:
        """Make the call fail with the host's errno `number`; False if nobody waits for it."""
        return self._send_response(_RESPONSE.pack(call.id, 0, -number, 0))

    def proceed(self, call: Notification) -> bool:
        """Let the kernel perform the call; False if nobody waits for it."""
        return self._send_response(_RESPONSE.pack(call.id, 0, 0, _RESPONSE_CONTINUE))

    def _send_response(self, response: bytes) -> bool:
        if self.fd < 0:
            return False

        try:
            fcntl.ioctl(self.fd, _SEND, response)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EINPROGRESS):
                return False
            raise

        return True

    def inject(self, call: Notification, source: int, number: int, *, cloexec: bool) -> None:
        """Put descriptor `source` into the caller as `number`, leaving the call waiting.

        Raises:
            OSError: ENOENT if the caller is gone, EMFILE or EBADF past its limits.
        """
        self._add_descriptor(call.id, source, number, _ADDFD_SETFD, os.O_CLOEXEC if cloexec else 0)

    def answer_with(self, call: Notification, source: int, number: int, *, cloexec: bool) -> None:
        """Put descriptor `source` into the caller as `number` and return `number` from the call.

        Raises:
            OSError: as `inject`; the call then still waits.
        """
        flags = _ADDFD_SETFD | _ADDFD_SEND
        self._add_descriptor(call.id, source, number, flags, os.O_CLOEXEC if cloexec else 0)

    def _add_descriptor(
        self, call_id: int, source: int, number: int, flags: int, fd_flags: int
    ) -> None:
        packed = _ADDFD_ARG.pack(call_id, flags, source & 0xFFFFFFFF, number, fd_flags)
        fcntl.ioctl(self.fd, _ADDFD, packed)

    def close(self) -> None:
        """Close it: calls that are trapped from now on fail with ENOSYS."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def libc() -> ctypes.CDLL:
    """The C library, with errno kept per call."""
    return ctypes.CDLL(None, use_errno=True)
