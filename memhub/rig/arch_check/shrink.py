"""The shortest sequence of requests that still shows a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from memhub.rig.arch_check.asking import Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

#: Runs that a minimisation may take.
_RUNS_MOST: Final = 200


def shrink_requests(
    requests: Sequence[Request], shows: Callable[[Sequence[Request]], bool]
) -> list[Request]:
    """Leave requests out, then make those that are left simpler, while the fault is still shown.

    Args:
        requests: a sequence that shows it.
        shows: whether another sequence shows it.
    """
    best, left = list(requests), _RUNS_MOST
    changed = True
    while changed and left > 0:
        changed = False
        for candidate in _smaller(best):
            left -= 1
            if left <= 0:
                break

            if shows(candidate):
                best, changed = candidate, True
                break

    return best


def _smaller(requests: list[Request]) -> Iterator[list[Request]]:
    count = len(requests)
    size = count // 2
    while size:
        for first in range(0, count, size):
            rest = requests[:first] + requests[first + size :]
            if rest:
                yield rest

        size //= 2

    for number, it in enumerate(requests):
        for other in _simpler(it):
            yield [*requests[:number], other, *requests[number + 1 :]]


def _simpler(it: Request) -> Iterator[Request]:
    """The same request with the usual owner, and without flags beside the attributes."""
    one = b"one\0\0\0\0\0"
    if it.desc.mr_owner != one:
        yield Request(it.op, replace(it.desc, mr_owner=one))

    flags = 0 if it.op == "remove" else it.attribute
    if it.desc.mr_flags != flags:
        yield Request(it.op, replace(it.desc, mr_flags=flags))
