"""How large caches and buffers are, and what else is to be said of memory that is not coherent."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Least and most of each number.
BOUNDS: Final[Mapping[str, tuple[int, int]]] = {
    "lines": (1, 1 << 16),
    "line_size": (8, 4096),
    "buffers": (1, 64),
    "seed": (0, (1 << 64) - 1),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLimits:
    """The caches of a machine that is not coherent.

    Attributes:
        lines: lines that the cache of the CPUs holds.
        line_size: bytes of a line and of a combining buffer, a power of two from 8 to 4096.
        buffers: combining buffers of each process.
        seed: decides which line or buffer is evicted, and in which order buffers are drained.
        logged: whether the log, and those who subscribe, have the order in which lines reach
            the bus (`bus.lines`).
        forget_flush: a fault: a change of a range's type does not flush caches before it.
    """

    lines: int = 512
    line_size: int = 64
    buffers: int = 6
    seed: int = 0
    logged: bool = False
    forget_flush: bool = False

    @property
    def shift(self) -> int:
        """How many bits of an address say the place in a line."""
        return self.line_size.bit_length() - 1


def wrong_limits(given: object) -> list[str]:
    """What is wrong with a machine's `caches`: each value with the rule that it breaks."""
    if not isinstance(given, CacheLimits):
        return [f"caches: is a {type(given).__name__}, not CacheLimits"]

    found = []
    for field in fields(CacheLimits):
        try:
            check_limit(field.name, getattr(given, field.name))
        except ValueError as error:
            found.append(f"caches.{field.name}: {error}")

    return found


def say_table_of(key: object) -> str:
    """Where a key belongs that another table does not have; empty for one that is no limit."""
    known = key in [it.name for it in fields(CacheLimits)]

    return f"; it is one of [machines.NAME.caches], CacheLimits({key}=…)" if known else ""


def check_limit(name: str, value: Any) -> Any:  # noqa: ANN401 - whatever the embedder gave
    """One value of `CacheLimits`, by its name.

    Raises:
        ValueError: the rule that it breaks.
    """
    if name not in BOUNDS:
        if not isinstance(value, bool):
            raise ValueError(f"is {value!r}, not true or false")

        return value

    least, most = BOUNDS[name]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"is {value!r}, not an integer")

    if not least <= value <= most:
        raise ValueError(f"{value} is not between {least} and {most}")

    if name == "line_size" and value & (value - 1):
        raise ValueError(f"{value} is not a power of two")

    return value
