"""`memhub serve` and its clients as processes of their own."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from warm import start_memhub

if TYPE_CHECKING:
    from pathlib import Path

CONFIG = """
[machines.pc]
arch = "amd64"
phys_bits = 36
memory = [{ base = 0x0, length = "64M" }]

[machines.old]
arch = "amd64"
phys_bits = 36
memory = [{ base = 0x0, length = "16M" }]

[service.limits]
connections = 2000
"""

_PATIENCE = 30.0


class Served:
    """A service of `folder`, and what it said.

    Args:
        folder: where its socket, its log and its configuration are.
        arguments: more of the command line.
        environ: more of the environment.
        warm: whether it is forked from a process that has imported memhub, as `warm.py` says.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environ: dict[str, str] | None = None,
        warm: bool = True,
    ) -> None:
        self.socket = folder / "s"
        self.log = folder / "audit.jsonl"
        config = folder / "lab.toml"
        if not config.exists():
            config.write_text('default = "pc"\n' + CONFIG)

        words = ["serve", str(config), "--socket", str(self.socket), "--log", str(self.log)]
        self.process: subprocess.Popen[str] = start_memhub(
            [*words, *arguments],
            warm=warm,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )

    def ready(self) -> str:
        """The line that says it is; fails with what it said instead."""
        assert self.process.stdout is not None
        line = Lines(self.process.stdout.fileno()).next()
        if not line.startswith("memhub: ready"):
            raise AssertionError(f"{line!r}, then {self.stop()}")

        return line

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Stop it, and what it said on standard error."""
        self.process.send_signal(number)

        return self.ended()

    def ended(self) -> tuple[int, str]:
        """Its exit code, and what it said on standard error."""
        _, errors = self.process.communicate(timeout=_PATIENCE)

        return self.process.returncode, errors

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()

        self.process.communicate()


class Script:
    """Python in a process of its own, which talks to the test in lines."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        self.lines = Lines(self.process.stdout.fileno())

    def line(self) -> str:
        """The next line it says."""
        return self.lines.next()

    def say(self, text: str) -> None:
        """Give it a line."""
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill it if it still runs, and be done with it."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Lines:
    """The lines that a process says, as they come.

    Args:
        fd: the pipe.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._kept = b""

    def next(self) -> str:
        """The next line, or what there is of it at the end or when patience ends."""
        while b"\n" not in self._kept:
            readable, _, _ = select.select([self._fd], [], [], _PATIENCE)
            piece = os.read(self._fd, 1 << 16) if readable else b""
            if not piece:
                break

            self._kept += piece

        line, _, self._kept = self._kept.partition(b"\n")

        return line.decode()

    def rest(self) -> list[str]:
        """All that comes until the process has ended."""
        found = []
        while line := self.next():
            found.append(line)

        return found
