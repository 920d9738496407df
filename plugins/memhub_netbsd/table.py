"""NetBSD's table of memory type range registers, which processes share and own ranges in.

Source: NetBSD `sys/arch/x86/x86/mtrr_i686.c`; what its answers mean is NetBSD's, quirks included.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from memhub.plugin.kernels import TYPE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PRIVATE: Final = 1
FIXED: Final = 2
VALID: Final = 4

UC: Final = 0
WC: Final = 1
WT: Final = 4
WB: Final = 6
_U64: Final = (1 << 64) - 1
_MIB: Final = 1 << 20
_OVERLAP: Final = "ranges that overlap are UC and another type, or WT and WB"
#: How the reason of a refusal ends for which no range was free.
NONE_FREE: Final = "ranges that can lie anywhere are in use"


@dataclass(frozen=True, slots=True)
class Mtrr:
    """One range: `struct mtrr`.

    Attributes:
        base: first byte.
        len: bytes.
        type: the type byte.
        flags: PRIVATE, FIXED and VALID.
        owner: the process of a private range, else 0 or what was there.
    """

    base: int = 0
    len: int = 0
    type: int = 0
    flags: int = 0
    owner: int = 0

    @property
    def end(self) -> int:
        """One past the last byte; it wraps at 64 bits."""
        return self.base + self.len & _U64

    def row(self) -> list[int]:
        """The fields in order."""
        return [self.base, self.len, self.type, self.flags, self.owner]

    def __str__(self) -> str:
        """Where it lies, and its type."""
        return f"{self.base:#x}/{self.len:#x} {TYPE_NAMES.get(self.type, f'type {self.type}')}"


class Refused(Exception):
    """Raised when the kernel answers an error.

    Attributes:
        errno: its name.
        why: the value and the rule that refuses it.
    """

    def __init__(self, errno: str, why: str) -> None:
        self.errno = errno
        self.why = why
        super().__init__(f"{errno}: {why}")


class Told(NamedTuple):
    """What a caller is told.

    Attributes:
        errno: the name of the error, or None.
        many: what the caller's count is afterwards.
        done: how many ranges were set.
        why: of an error, the value and the rule that refuses it.
    """

    errno: str | None
    many: int
    done: int = 0
    why: str = ""


class Panicked(Exception):
    """Raised when the kernel dies; the message is its last one."""


class Driver(Protocol):
    """The registers of one kind of processor.

    Attributes:
        table: the ranges; the fixed ones are first.
        most: the most entries of one call.
        listed: how many entries a call without a table is told.
    """

    table: list[Mtrr]
    most: int
    listed: int

    @property
    def default(self) -> int | None:
        """The register of the default type at the attach; None where there is none."""

    def check(self, it: Mtrr, process: int | None) -> None:
        """Refuse what no range can be."""

    def set_one(self, it: Mtrr, process: int | None) -> None:
        """Put one range into the table."""

    def commit(self) -> None:
        """Write every register."""

    def release(self, process: int) -> None:
        """End the private ranges of a process."""


def set_ranges(
    driver: Driver, entries: Sequence[Mtrr], many: int, process: int | None
) -> tuple[Told, bool]:
    """Set ranges one after the other; what is done stays done.

    Args:
        driver: the driver.
        entries: the ranges.
        many: how many the caller says there are.
        process: who asks; None is the kernel.

    Returns:
        how many were set, with the errno of the first that was not, or None; and whether a private
        range was set.
    """
    if many > driver.most:
        why = f"n is {many}, and one call sets at most {driver.most} ranges"
        return Told("EINVAL", 0, why=why), False

    private = False
    for done in range(max(0, many)):
        it = entries[done]
        try:
            driver.check(it, process)
            driver.set_one(it, process)
        except Refused as refused:
            why = f"entry {done}, {it}: {refused.why}"
            return Told(refused.errno, done, done, why), private

        private = private or bool(it.flags & PRIVATE)

    return Told(None, max(0, many), max(0, many)), private


def may_take(old: Mtrr, new: Mtrr, process: int | None) -> bool:
    """Whether a process may replace an older range: it is nobody's, or its own."""
    if not old.flags & PRIVATE:
        return True

    return bool(new.flags & PRIVATE) and process is not None and old.owner == process


def conflict(one: int, other: int) -> bool:
    """Whether two types conflict where ranges overlap; a type conflicts with itself."""
    return UC not in (one, other) and {one, other} != {WT, WB}


def place_variable(rows: Sequence[Mtrr], first: int, new: Mtrr, process: int | None) -> int:
    """The variable range that takes a new one: the same one, or the last free one.

    Args:
        rows: the variable ranges.
        first: the number of the first of them in the whole table.
        new: the range.
        process: who asks; None is the kernel.

    Raises:
        Refused: EBUSY; a range overlaps that conflicts or is another's, or none is free.
    """
    low, high = new.base, new.end
    free = -1
    for index, old in enumerate(rows):
        if not old.flags & VALID:
            free = index
            continue

        if (low, high) == (old.base, old.end) and may_take(old, new, process):
            free = index
            break

        if old.base < high < old.end or old.base <= low < old.end:
            if not may_take(old, new, process):
                raise Refused("EBUSY", _private_why(first + index, old, new, process))

            if conflict(old.type, new.type):
                raise Refused("EBUSY", f"it overlaps range {first + index}, {old}; {_OVERLAP}")

    if free < 0:
        raise Refused("EBUSY", why_none_free(rows))

    return free


def _private_why(number: int, old: Mtrr, new: Mtrr, process: int | None) -> str:
    rule = "" if old.owner != process else ", which has to ask for it as private"
    same = "is" if (old.base, old.len) == (new.base, new.len) else "overlaps"

    return f"it {same} range {number}, {old}, private to process {old.owner}{rule}"


def why_none_free(rows: Sequence[Mtrr]) -> str:
    """Why a new range finds no place in a table."""
    return f"all {len(rows)} {NONE_FREE}"


def name_types(numbers: Iterable[int]) -> str:
    """Types by number and name."""
    return ", ".join(f"{it} ({TYPE_NAMES[it]})" for it in numbers)


def stored(new: Mtrr, process: int | None) -> Mtrr:
    """What a variable range holds of a new one."""
    owner = process if new.flags & PRIVATE and process is not None else 0

    return replace(new, flags=new.flags & ~FIXED, owner=owner)
