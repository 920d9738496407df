"""What a driver does outside of its process: files, programs, connections.

CPython tells hooks of all that (PEP 578), and a hook stays as long as its process, so that this is
for a process which is soon to end.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, Final, Self

#: Flags of `open` with which a file can change.
_CHANGING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
#: Events of the interpreter that change something elsewhere, in words; arguments follow.
_EVENTS: Final = {
    **{f"os.{it}": it for it in ("remove", "rename", "mkdir", "rmdir", "link", "symlink")},
    **{f"os.{it}": it for it in ("truncate", "chmod", "chown", "utime", "kill", "setxattr")},
    **{f"os.{it}": "starts a program" for it in ("system", "exec", "posix_spawn", "spawn")},
    "os.fork": "starts a process",
    "subprocess.Popen": "starts a program",
    **{f"socket.{it}": it for it in ("connect", "bind", "sendto", "sendmsg")},
    "socket.getaddrinfo": "asks for an address",
    "sqlite3.connect": "opens a database",
}


class OutsideWatch:
    """Notes what is done outside of this process while its `with` block runs; made once for each.

    Attributes:
        seen: the first thing, in words and with its place in the source; empty if there is none.
    """

    def __init__(self) -> None:
        self.seen = ""
        self._watches = False
        sys.dont_write_bytecode = True  # an import inside of a call writes nothing
        sys.addaudithook(self._note_event)

    def __enter__(self) -> Self:
        self._watches = True

        return self

    def __exit__(self, *_: object) -> None:
        self._watches = False

    def _note_event(self, event: str, args: tuple[Any, ...]) -> None:
        if not self._watches or self.seen:
            return

        words = _EVENTS.get(event, "")
        if event == "open" and isinstance(args[2], int) and args[2] & _CHANGING:
            words = "opens for writing"

        if words:
            self._watches = False
            self.seen = f"{words}: {args[0]!r:.80}, at {_find_place()}"
            self._watches = True


def _find_place() -> str:
    """File and line from which the interpreter's own modules were called, if they were."""
    library = str(Path(os.__file__).parent)
    frame = sys._getframe(2)  # noqa: SLF001 - the public way to it
    while frame.f_back is not None and _is_library(frame.f_code.co_filename, library):
        frame = frame.f_back

    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"


def _is_library(name: str, library: str) -> bool:
    inside = name.startswith(library) and "-packages" not in name

    return inside or name.startswith("<frozen")
