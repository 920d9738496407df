"""Looking for a record that is not in its place, in what follows a break."""

from __future__ import annotations

from memhub.audit.schema import SCHEMA_VERSION


class LookAhead:
    """Searches the bytes of a log for the record with one number.

    Args:
        seq: the number.
    """

    def __init__(self, seq: int) -> None:
        self._mark = b'\n{"v":%d,"seq":%d,' % (SCHEMA_VERSION, seq)
        self._rest = b""

    def feed(self, block: bytes) -> bool:
        """Look at further bytes; whether the record begins in what there was so far."""
        data = self._rest + block
        self._rest = data[-len(self._mark) :]

        return self._mark in data
