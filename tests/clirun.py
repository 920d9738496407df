"""What a command left: exit code, standard output, standard error."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Done(NamedTuple):
    code: int
    out: str
    err: str


class Run(Protocol):
    def __call__(self, *arguments: object) -> Done: ...
