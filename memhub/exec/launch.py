"""Runs in a new interpreter: installs the filter on itself, then executes the program.

It is started as a file, with `-I -S`, so that it needs only the standard library, and so that no
process with threads is forked. Arguments: the number of a connected Unix socket, whether the
program keeps CAP_SYS_RAWIO ("keep" or "drop"), then the program and its arguments. From the
socket come the filter and the environment; the listener, or the reason why there is none, is
sent back through it.
"""

import ctypes
import os
import signal
import socket
import struct
import sys
from pathlib import Path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_PDEATHSIG = 1
_PR_CAPBSET_DROP = 24
_CAP_SYS_RAWIO = 17
_CAPABILITY_VERSION = 0x20080522
_CAPABILITIES = struct.Struct("<6I")
_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE_RECV = 1 << 5
_SECCOMP = {"x86_64": 317, "aarch64": 277}
_NOT_FOUND = 127
_NOT_EXECUTABLE = 126
_ESCAPE = Path(__file__).resolve().parents[1] / "escape.py"


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def _take_block(channel: socket.socket) -> bytes:
    """Read one block: its length in four bytes, then its bytes."""
    stream = channel.recv(4, socket.MSG_WAITALL)
    (size,) = struct.unpack("<I", stream)

    return channel.recv(size, socket.MSG_WAITALL) if size else b""


def _install_filter(code: bytes) -> tuple[int, str]:
    """Install the filter: the listener and an empty text, or -1 and what the kernel refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return -1, f"prctl(PR_SET_NO_NEW_PRIVS): {os.strerror(ctypes.get_errno())}"

    kept = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // 8, ctypes.addressof(kept))
    number = _SECCOMP[os.uname().machine]
    # Without WAIT_KILLABLE_RECV (Linux 5.19) a signal can make the kernel repeat a call that
    # was already performed.
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE_RECV, _NEW_LISTENER):
        fd = libc.syscall(number, _SET_MODE_FILTER, flags, ctypes.byref(program))
        if fd >= 0:
            return fd, ""

    return -1, f"seccomp(SECCOMP_FILTER_FLAG_NEW_LISTENER): {os.strerror(ctypes.get_errno())}"


def _end_with_supervisor(channel: socket.socket) -> None:
    """Have the kernel kill this process when the supervisor dies.

    Without a supervisor, each trapped call would fail with ENOSYS.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    supervisor = struct.unpack("3i", channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    if os.getppid() != supervisor[0]:  # it died before the request
        sys.exit(_NOT_EXECUTABLE)


def _drop_raw_io() -> None:
    """Drop CAP_SYS_RAWIO, so that execve does not bring it back.

    Opening the host's memory, ports or model-specific registers needs it, so a program that wins
    a race about a path still cannot open them. Root without CAP_SETPCAP cannot shrink its
    bounding set and regains it at execve; the supervisor still examines the paths.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_CAPBSET_DROP, _CAP_SYS_RAWIO, 0, 0, 0)
    header = struct.pack("<Ii", _CAPABILITY_VERSION, 0)
    data = ctypes.create_string_buffer(_CAPABILITIES.size)
    if libc.capget(header, data) == 0:
        kept = ~(1 << _CAP_SYS_RAWIO)
        low = [word & kept for word in _CAPABILITIES.unpack(data.raw)[:3]]
        libc.capset(header, _CAPABILITIES.pack(*low, *_CAPABILITIES.unpack(data.raw)[3:]))


def _escape_name(text: str) -> str:
    """Make a name that somebody else chose fit for a terminal, see `memhub.escape`.

    That module is loaded by its file, because this interpreter does not find memhub.
    """
    import runpy

    escape_controls: Callable[[str], str] = runpy.run_path(str(_ESCAPE))["escape_controls"]

    return escape_controls(text)


def _execute_program(program: list[bytes], environment: dict[bytes, bytes]) -> int:
    # CPython ignores these two, and ignored signals stay ignored across execve.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)

    try:
        os.execvpe(program[0], program, environment)  # noqa: S606
    except OSError as error:
        name = _escape_name(os.fsdecode(program[0]))
        sys.stderr.write(f"memhub exec: {name}: {os.strerror(error.errno or 0)}\n")

        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE


def main() -> int:
    """Install the filter, send the listener, execute the program."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)  # closed by execve
    code, block = _take_block(channel), _take_block(channel)
    pairs = (entry.partition(b"=") for entry in block.split(b"\0") if entry)
    environment = {name: value for name, _, value in pairs}
    if sys.argv[2] == "drop":
        _drop_raw_io()

    _end_with_supervisor(channel)
    listener, complaint = _install_filter(code)
    if listener < 0:
        channel.sendall(complaint.encode())

        return _NOT_EXECUTABLE

    socket.send_fds(channel, [b"\0"], [listener])
    os.close(listener)
    if not channel.recv(1):  # the supervisor has given up
        return _NOT_EXECUTABLE

    return _execute_program([os.fsencode(word) for word in sys.argv[3:]], environment)


if __name__ == "__main__":
    sys.exit(main())
