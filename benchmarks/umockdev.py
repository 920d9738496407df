"""umockdev's /dev/mem with a handler in Python, for the host's interpreter.

`python3 -I umockdev.py KIND CORE` prints the directory that programs find as `UMOCKDEV_DIR` and
serves until its standard input ends. `gi` is the handler that umockdev's own library calls;
`socket` is one that speaks to the preloaded library without it. Both answer a count query
themselves, without a machine. Nothing of memhub is imported, since the host's interpreter has the
GObject bindings and memhub's usually has not.
"""

from __future__ import annotations

import importlib
import os
import socket
import struct
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_MEMRANGE_GET = 0xC0106D32
#: `struct mem_range_op` of LP64.
_OP = struct.Struct("<Qii")
_SLOTS = 96
_DEVICE = "P: /devices/virtual/mem/mem\nN: mem\nE: DEVNAME=/dev/mem\nE: SUBSYSTEM=mem\n"

#: A message of the preloaded library: its kind and two numbers, each a native long.
_MESSAGE = struct.Struct("@LlL")
_IOCTL, _DONE, _READ_MEM, _WRITE_MEM = 1, 3, 5, 6
#: The result that makes the library perform the real call.
_UNHANDLED = -100


def _answer(op: bytes) -> bytes:
    address, _, rest = _OP.unpack(op)

    return _OP.pack(address, _SLOTS, rest)


def _handler(umockdev: Any) -> Any:  # noqa: ANN401 - a class of a library without types
    class Handler(umockdev.IoctlBase):  # type: ignore[misc]
        __gtype_name__ = "MemoryRanges"

        def do_handle_ioctl(self, client: Any) -> bool:  # noqa: ANN401 - as above
            if client.get_request() & 0xFFFFFFFF != _MEMRANGE_GET:
                return False

            data = client.get_arg().resolve(0, _OP.size)
            data.update(0, _answer(bytes(data.retrieve())))
            client.complete(0, 0)

            return True

    return Handler()


@contextmanager
def _gi() -> Iterator[str]:
    importlib.import_module("gi").require_version("UMockdev", "1.0")
    umockdev: Any = importlib.import_module("gi.repository.UMockdev")
    bed = umockdev.Testbed.new()
    bed.add_from_string(_DEVICE)
    bed.attach_ioctl("/dev/mem", _handler(umockdev))
    yield str(bed.get_root_dir())
    bed.detach_ioctl("/dev/mem")


@contextmanager
def _socket() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="umockdev.") as folder, socket.socket(1) as listener:
        for part in ("dev", "ioctl/dev"):
            Path(folder, part).mkdir(parents=True)

        Path(folder, "dev/mem").touch()
        listener.bind(f"{folder}/ioctl/dev/mem")
        listener.listen()
        threading.Thread(target=_accept, args=(listener,), daemon=True).start()
        yield folder


def _accept(listener: socket.socket) -> None:
    while True:
        connection, _ = listener.accept()
        with connection:
            _converse(connection)


def _converse(connection: socket.socket) -> None:
    """Answer until the device is closed: one trip for the argument, one send for the rest."""
    size = _OP.size
    while message := connection.recv(_MESSAGE.size, socket.MSG_WAITALL):
        kind, request, pointer = _MESSAGE.unpack(message)
        if kind != _IOCTL or request & 0xFFFFFFFF != _MEMRANGE_GET:
            connection.sendall(_MESSAGE.pack(_DONE, _UNHANDLED, 0))
            continue

        connection.sendall(_MESSAGE.pack(_READ_MEM, pointer, size))
        answer = _answer(connection.recv(size, socket.MSG_WAITALL))
        writing = _MESSAGE.pack(_WRITE_MEM, pointer, size)
        connection.sendall(writing + answer + _MESSAGE.pack(_DONE, 0, 0))


def main() -> None:
    """Serve what the command line names."""
    kind, core = sys.argv[1:]
    os.sched_setaffinity(0, {int(core)})
    with {"gi": _gi, "socket": _socket}[kind]() as folder:
        print(folder, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
