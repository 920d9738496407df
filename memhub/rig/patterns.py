"""The bytes of transfer scenarios: what RAM holds at the start, and what a write step writes."""

from __future__ import annotations

from typing import Final

from memhub.abi import PAGE_SIZE, U64_MAX

_PAGE: Final = bytes((o ^ ((o >> 8) * 29)) & 255 for o in range(PAGE_SIZE))


def page_at(number: int) -> bytes:
    """What page `number` of RAM holds at the start of a scenario."""
    top = (number * 0x9E3779B97F4A7C15 & U64_MAX) >> 56

    return _PAGE.translate(bytes(it ^ top for it in range(256)))


def written(seed: int, length: int) -> bytes:
    """The first bytes of the buffers of a write step."""
    pages = [page_at(n ^ seed << 40) for n in range(-(-length // PAGE_SIZE))]

    return b"".join(pages)[:length]
