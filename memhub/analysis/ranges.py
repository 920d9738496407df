"""Arithmetic on addresses up to 2**64-1 that no engine overflows in."""

from __future__ import annotations

from typing import Any, Final

import ibis

Table = Any
Column = Any

_TOP: Final = (1 << 64) - 1


def last_byte(table: Table) -> Column:
    """The last byte of the range in `base` and `length`.

    `base + length` may be 2**64, and more where a request was refused; then it is 2**64-1. A range
    without length touches its first byte.
    """
    top = ibis.literal(_TOP, type="uint64")
    one = ibis.literal(1, type="uint64")
    beyond = ibis.greatest(table.length, one) - one

    return table.base + ibis.least(beyond, top - table.base)
