"""What a service answers, as the replies of an open device file; see `remote_file`."""

from __future__ import annotations

from memhub.service.client_errors import malformed_answer
from memhub.service.wire.wide import narrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.core.replies import Explanation
    from memhub.service import wire


class HeldClaim:
    """A claim as the service answers it.

    Attributes:
        fence: its fencing number.
        base: first byte.
        end: one past the last.
        lease: seconds from the answer until it must be renewed, or None.
    """

    __slots__ = ("base", "end", "fence", "lease")

    def __init__(self, answer: wire.Claimed) -> None:
        self.fence = answer.fence
        self.base = answer.base
        self.end = answer.base + answer.length
        self.lease = answer.lease_ms / 1000 or None

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.base

    def __repr__(self) -> str:
        return f"<HeldClaim {self.base:#x}-{self.end - 1:#x} fence {self.fence}>"


def explanation(answer: bytes) -> Explanation:
    """What EXPLAIN answered.

    Raises:
        DeviceError: EPROTO; it is not an object with the fields of an Explanation.
    """
    import json

    from memhub.core.replies import Explanation

    try:
        found = json.loads(answer, object_hook=narrow)
        return Explanation(*(found[name] for name in Explanation._fields))
    except (ValueError, KeyError, TypeError) as error:
        raise malformed_answer(f"EXPLAIN was answered with {answer!r:.80}: {error!r}") from error


def join_pieces(pieces: Sequence[bytes]) -> bytes:
    """The pieces of an answer as one."""
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
