"""The records of the log itself: how a file of it begins, is sealed and ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.chain import HASH_ALGORITHM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.audit.writing.tail import Tail
    from memhub.audit.writing.writer import RecordWriter


class OwnRecords:
    """Writes the records that are about the log, stamped with its own clocks.

    Args:
        writer: chains and writes them.
        clocks: the wall clock and the monotonic clock, nanoseconds.
        log_id: identity of the log.
        header: further fields of the first record of each file.

    Attributes:
        log_id: as above; that of another log once it goes on in its file.
    """

    def __init__(
        self,
        writer: RecordWriter,
        clocks: tuple[Callable[[], int], Callable[[], int]],
        log_id: str,
        header: Mapping[str, Any],
    ) -> None:
        self.log_id = log_id
        self._writer = writer
        self._wall, self._mono = clocks
        sealer = writer.sealer
        self._header = {**header} if sealer is None else {**header, "key": sealer.key_text}

    def begin(self, tail: Tail) -> None:
        """Begin a log, or continue one after its last whole record, and flush."""
        fields = self._identity(continued=tail.seq > 0)
        if tail.seq:
            self._record("log.resume", {**fields, "clean": tail.closed})
        else:
            self._record("log.open", fields)

        if tail.torn is not None:
            self._writer.require_sink().cut(tail.torn.offset)
            self._record("log.recovered", tail.torn.fields())

        self._writer.append(())

    def begin_segment(
        self, number: int, rows: Iterable[Mapping[str, Any]] = (), *, resumed: Tail | None = None
    ) -> None:
        """Begin a segment that goes on where the one before ended, and flush.

        Args:
            number: its number.
            rows: what follows the first record.
            resumed: where the segment before ends, if another process wrote that.
        """
        sealer = self._writer.sealer
        tree = {} if sealer is None else {"tree": sealer.tree_hashes()}
        identity = self._identity(continued=False)
        self._record("log.segment", {**identity, "segment": number, **tree})
        if resumed is not None:
            again = {**self._identity(continued=True), "clean": resumed.closed}
            self._record("log.resume", again)

        self._writer.append(rows)

    def end_segment(self, following: int) -> None:
        """Say that the next segment goes on, seal and flush."""
        self._record("log.rotate", {"segment": following})
        self.seal()

    def close(self) -> None:
        """Say that the log is closed, seal and flush."""
        self._record("log.close", {"count": self._writer.chain.seq + 1})
        self.seal()

    def seal(self) -> bool:
        """Flush, and sign what is there, where there is a key and something new.

        Returns:
            whether a seal was written.
        """
        sealer, writer = self._writer.sealer, self._writer
        writer.append(())
        if sealer is None or sealer.sealed == writer.chain.seq:
            return False

        self._record("log.seal", {"count": writer.chain.seq, "checkpoint": sealer.sign()})
        writer.append(())
        sealer.sealed = writer.chain.seq

        return True

    def _identity(self, *, continued: bool) -> dict[str, Any]:
        return {
            "log_id": self.log_id,
            "hash_algorithm": HASH_ALGORITHM,
            "continued": continued,
            **self._header,
        }

    def _record(self, event: str, fields: Mapping[str, Any]) -> None:
        stamp = {"event": event, "wall_ns": self._wall(), "mono_ns": self._mono()}
        self._writer.append(({**stamp, **fields},), flush=False)
