"""Things in order, of which those that belong together become one."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")


def join_neighbours(things: Iterable[T], join: Callable[[T, T], T | None]) -> Iterator[T]:
    """The things in their order, each joined to the one before where that can be.

    Args:
        things: what there is, in order.
        join: makes one of two that follow each other, the first of which may be joined already;
            None where they stay apart.
    """
    last: T | None = None
    for thing in things:
        joined = None if last is None else join(last, thing)
        if joined is None and last is not None:
            yield last

        last = thing if joined is None else joined

    if last is not None:
        yield last
