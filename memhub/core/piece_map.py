"""A number for each byte of an address space, kept as the pieces on which it is the same."""

from __future__ import annotations

from bisect import bisect_left

Piece = tuple[int, int, int]


class PieceMap:
    """A number for each byte; all bytes have a default one until another is put there.

    Neighbours with one number are one piece. To look at some bytes or to change them costs as
    much as there are pieces on them, and a search for the first.
    """

    __slots__ = ("_default", "_pieces")

    def __init__(self, default: int) -> None:
        self._default = default
        self._pieces: list[tuple[int, ...]] = []  # (start, end, number), none with the default

    def put(self, lo: int, hi: int, number: int) -> None:
        """Give the bytes `[lo, hi)` a number; they are at least one."""
        pieces = self._pieces
        first = bisect_left(pieces, (lo,))
        if first and pieces[first - 1][1] >= lo:
            first -= 1

        last = bisect_left(pieces, (hi + 1,), first)
        before: list[tuple[int, ...]] = []
        behind: list[tuple[int, ...]] = []
        if first < last:
            start, _, old = pieces[first]
            if start < lo and old == number:
                lo = start
            elif start < lo:
                before.append((start, lo, old))

            _, end, old = pieces[last - 1]
            if end > hi and old == number:
                hi = end
            elif end > hi:
                behind.append((hi, end, old))

        if number != self._default:
            before.append((lo, hi, number))

        pieces[first:last] = before + behind

    def pieces(self, lo: int, hi: int) -> list[Piece]:
        """The pieces of `[lo, hi)` in order, also those with the default number."""
        pieces = self._pieces
        found: list[Piece] = []
        at = bisect_left(pieces, (lo,))
        if at and pieces[at - 1][1] > lo:
            at -= 1

        while lo < hi and at < len(pieces) and pieces[at][0] < hi:
            start, end, number = pieces[at]
            if start > lo:
                found.append((lo, start, self._default))

            found.append((max(start, lo), min(end, hi), number))
            lo = end
            at += 1

        if lo < hi:
            found.append((lo, hi, self._default))

        return found
