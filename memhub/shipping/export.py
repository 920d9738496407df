"""From a log to where it goes: in batches, each acknowledged before the next."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from memhub.shipping.state_file import Shipped, write_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from memhub.shipping.follow import Found

#: The most records of a batch, and bytes of their lines, unless one line alone has more.
MAX_RECORDS: Final = 512
MAX_BYTES: Final = 1 << 20


class Target(Protocol):
    """What takes records.

    Attributes:
        refused: records that it did not take, and will not.
    """

    refused: int

    def send(self, batch: Sequence[Found]) -> None:
        """Take a batch for good; it raises ShippingFailed otherwise."""

    def close(self) -> None:
        """Give back what it holds."""


def split_batches(found: Iterable[Found]) -> Iterator[list[Found]]:
    """Records in batches that are not too large; each has at least one."""
    batch: list[Found] = []
    size = 0
    for it in found:
        if batch and (len(batch) >= MAX_RECORDS or size + len(it.line) > MAX_BYTES):
            yield batch
            batch, size = [], 0

        batch.append(it)
        size += len(it.line)

    if batch:
        yield batch


class Export:
    """Sends the records of a log to a target.

    Args:
        target: what takes them.
        wanted: says of a record whether it is sent.
        state: a file for the record that was handled last; None to keep none.

    Attributes:
        sent: records that the target has taken or refused.
    """

    def __init__(
        self,
        target: Target,
        wanted: Callable[[dict[str, Any]], bool] = lambda _record: True,
        state: str | None = None,
    ) -> None:
        self.sent = 0
        self._target = target
        self._wanted = wanted
        self._state = state

    def send(self, found: Iterable[Found], told: Callable[[], None] = lambda: None) -> None:
        """Send records; the state file follows each batch.

        Args:
            found: the records.
            told: called after each batch.

        Raises:
            ShippingFailed: the target does not take them; what it has taken is in the state file.
            OSError: the state file cannot be written.
        """
        for batch in split_batches(found):
            chosen = [it for it in batch if self._wanted(it.record)]
            if chosen:
                self._target.send(chosen)
                self.sent += len(chosen)

            if self._state is not None:
                last = batch[-1]
                write_state(
                    self._state, Shipped(last.log_id, last.record["seq"], last.record["hash"])
                )

            told()
