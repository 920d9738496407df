"""What both sides of a connection share: states, limits, and the pieces of a stream."""

from __future__ import annotations

from memhub.service.wire.decoder import GATED, Decoder
from memhub.service.wire.greeting import Abort, Goodbye
from memhub.service.wire.layout import LocalProtocolError, Message, ProtocolError, clip
from memhub.service.wire.transfer import Data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Final

HELLO: Final = "hello"  # the handshake has not begun
DECIDING: Final = "deciding"  # HELLO has come and is not answered
OPEN: Final = "open"
CLOSING: Final = "closing"  # a GOODBYE was sent or received: only answers follow
CLOSED: Final = "closed"


class Limits:
    """What a server allows one connection.

    Args:
        max_body: bytes in one body, at least 4096.
        max_in_flight: requests unanswered at once, at least 1.
        max_handles: handles open at once; the server itself counts them.
        idle_ms: milliseconds without a frame from the client until it closes; 0 is never.

    Raises:
        ValueError: a limit is out of its bounds.
    """

    __slots__ = ("idle_ms", "max_body", "max_handles", "max_in_flight")

    def __init__(
        self,
        max_body: int = 256 * 1024,
        max_in_flight: int = 256,
        max_handles: int = 256,
        idle_ms: int = 0,
    ) -> None:
        if not 4096 <= max_body <= 1 << 30:
            raise ValueError(f"max_body {max_body} is not between 4096 and {1 << 30}")

        if not 1 <= max_in_flight <= 1 << 20:
            raise ValueError(f"max_in_flight {max_in_flight} is not between 1 and {1 << 20}")

        self.max_body = max_body
        self.max_in_flight = max_in_flight
        self.max_handles = max_handles
        self.idle_ms = idle_ms


class Protocol:
    """One side of a connection, without I/O.

    Attributes:
        state: `hello`, `deciding`, `open`, `closing` or `closed`.
        limits: the limits of both sides after the handshake.
        features: the features that were granted.
        peer_left: the peer said GOODBYE.
    """

    def __init__(
        self, frames: Iterable[type[Message]], limits: Limits, *, grown: bool = False
    ) -> None:
        self.state: str = HELLO
        self.peer_left = False
        self.limits = limits
        self.features = 0
        self._aborted = False
        self._decoder = Decoder(frames, grown=grown)
        self._decoder.one = True
        self._flight: dict[int, int] = {}  # request id to the request's type
        self._due: dict[int, int] = {}  # request id to the bytes that its stream may still bring

    @property
    def in_flight(self) -> frozenset[int]:
        """The ids of the requests that are not answered."""
        return frozenset(self._flight)

    def receive(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Take what one receive brought; nothing more is read after the peer's ABORT.

        Returns:
            the messages that the caller must act on, in order.

        Raises:
            ProtocolError: the peer broke a rule. Act on its `messages`, send `abort(error)` if it
                is to be `answered`, and close. Every later call raises too.
        """
        admitted: list[Message] = []
        if self._aborted:
            return admitted

        try:
            try:
                arrived = self._decoder.feed(data)
            except ProtocolError as error:
                self._admit_all(error.messages, admitted)
                raise

            self._admit_all(arrived, admitted)
            if self._decoder.one:
                self._after_greeting(admitted)
        except ProtocolError as error:
            self._decoder.kill(error.reason)
            self.state = CLOSED
            error.messages = admitted
            if not self._aborted:
                raise

        return admitted

    def abort(self, error: ProtocolError) -> bytes:
        """The frame that tells the peer which rule it broke; no frame may follow it."""
        self._decoder.kill(error.reason)
        self.state = CLOSED

        return Abort(0, clip(f"{error.code}: {error.reason}")).encode()

    def goodbye(self, reason: str, grace_ms: int = 0) -> bytes:
        """The frame after which no new requests are sent; those in flight are answered.

        Raises:
            LocalProtocolError: the connection is not open.
        """
        if self.state not in {OPEN, CLOSING}:
            raise LocalProtocolError(f"GOODBYE cannot be sent while the connection is {self.state}")

        self.state = CLOSING

        return Goodbye(0, grace_ms, clip(reason)).encode()

    def _admit_all(self, arrived: list[Message], admitted: list[Message]) -> None:
        for message in arrived:
            if self._aborted:
                return

            if self.state == CLOSED:
                raise ProtocolError(f"{message.NAME} came after the connection's end")

            if self._admit_message(message):
                admitted.append(message)

    def _admit_message(self, message: Message) -> bool:
        """Check a message against the state; whether the caller has to act on it."""
        raise NotImplementedError

    def _end_by_peer(self, message: Message) -> None:
        """Handle the peer's GOODBYE or ABORT."""
        if type(message) is Goodbye:
            self.state = CLOSING
            self.peer_left = True
        elif type(message) is Abort:
            self.state = CLOSED
            self._aborted = True

    def _after_greeting(self, admitted: list[Message]) -> None:
        """Continue after the first frame, or refuse to."""
        raise NotImplementedError

    def _set_open(self, limits: Limits) -> None:
        self.state = OPEN
        self.limits = limits
        self._decoder.max_body = limits.max_body
        self._decoder.one = False
        self._decoder.drop(it for it, feature in GATED.items() if not feature & self.features)

    def _check_size(self, buffers: tuple[bytes, ...], name: str) -> tuple[bytes, ...]:
        size = (len(buffers[0]) if len(buffers) == 1 else sum(map(len, buffers))) - 12
        if size > self.limits.max_body:
            raise LocalProtocolError(
                f"{name} body of {size} bytes is over the limit of {self.limits.max_body}"
            )

        return buffers


def pieces(request: int, payload: bytes, max_body: int) -> Iterator[Data]:
    """Cut a payload into DATA messages, the last of them marked; an empty one gives one piece.

    Args:
        request: the request id that they belong to.
        payload: what to send.
        max_body: bytes in one piece.
    """
    view = memoryview(payload)
    for at in range(0, max(len(view), 1), max_body):
        yield Data(request, at + max_body >= len(view), bytes(view[at : at + max_body]))
