"""The programs of this folder: compiled with the client in C, and driven by lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from service.process_rig import Lines

HERE = Path(__file__).parent
LIBRARY = HERE.parents[2] / "examples" / "c-client"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-O1", "-g")
SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

#: Leaks count as failures, and a fault of the client is never taken for its own exit code.
ENVIRON = {**os.environ, "ASAN_OPTIONS": "exitcode=99:detect_leaks=1"}


def compiler() -> str:
    """The C compiler of this computer; skips the test where there is none."""
    found = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if found is None:
        pytest.skip("no C compiler")

    return found


def build(target: Path, source: Path, *others: Path, sanitized: bool = True) -> Path:
    """Compile a program; without the sanitizers where the compiler has none."""
    words = ["-I", str(LIBRARY), str(source), *map(str, others), "-o", str(target)]
    if sanitized:
        done = subprocess.run([compiler(), *STRICT, *SANITIZED, *words], check=False)
        if done.returncode == 0:
            return target

    subprocess.run([compiler(), *STRICT, *words], check=True)

    return target


class Driven:
    """A client in C that does what the test says.

    Args:
        program: `drive.c`, compiled.
    """

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [str(program)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRON,
        )
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout.fileno())

    def ask(self, *words: object) -> dict[str, Any]:
        """What the client answers to a command; an empty word is an empty text."""
        assert self._process.stdin is not None
        line = " ".join("-" if word == "" else str(word) for word in words)
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._lines.next()
        if not answer:
            raise AssertionError(f"{line}: {self._process.communicate(timeout=30)[1]}")

        found: dict[str, Any] = json.loads(answer)

        return found

    def done(self, *words: object) -> dict[str, Any]:
        """What it answers to a command that has to succeed."""
        answer = self.ask(*words)
        assert answer["code"] == 0, answer

        return answer

    def connect(self, address: object, *words: object) -> Self:
        """Connect, and open `/dev/mem` for reading and writing as handle 0."""
        self.done("connect", address, *(words or ("rig", "")))
        self.done("open", 0, "/dev/mem", 3, 0)

        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """End it; what a sanitizer found at its end counts."""
        try:
            errors = self._process.communicate(timeout=30)[1]
        finally:
            self._process.kill()

        assert kind is not None or (self._process.returncode, errors) == (0, "")
