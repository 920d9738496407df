"""What a recorded driver was asked, step by step, and what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

#: `(base, length, flags, owner up to its first NUL)`.
Row = tuple[int, int, int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class GetStep:
    """MEMRANGE_GET: `mo_arg[0]` before (`n`) and after (`count`), and the errno or 0.

    Attributes:
        null: whether `mo_desc` leads nowhere.
    """

    n: int
    count: int
    errno: str | int
    null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SetStep:
    """MEMRANGE_SET and everything that it changed.

    Attributes:
        arg: `mo_arg[0]`.
        base: `mr_base`, cut to 64 bits as the C structure cuts it.
        length: `mr_len`, likewise.
        flags: `mr_flags`, as unsigned 32 bits.
        owner: the eight bytes of `mr_owner`.
        errno: the symbolic name, or 0.
        changed: slot and its new row.
        msrs: registers that differ.
        null: whether `mo_desc` leads nowhere.
    """

    arg: int
    base: int
    length: int
    flags: int
    owner: bytes
    errno: str | int
    changed: tuple[tuple[int, Row], ...]
    msrs: Mapping[int, int]
    null: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IoctlStep:
    """An ioctl that is not mem(4)'s: its number, and the errno."""

    number: int
    errno: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeStep:
    """The hook that starts a CPU, run again, and the registers that it left different."""

    msrs: Mapping[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class PanicStep:
    """A request that kills the kernel, with its last message; the last step of a scenario."""

    message: str


Step = GetStep | SetStep | IoctlStep | ResumeStep | PanicStep
