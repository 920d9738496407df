"""The server's side of a connection, without I/O."""

from __future__ import annotations

from memhub.service.wire.decoder import ANSWERS, FROM_CLIENT
from memhub.service.wire.greeting import (
    VERSION_MAX,
    VERSION_MIN,
    Abort,
    Event,
    Goodbye,
    Hello,
    Refused,
    Welcome,
)
from memhub.service.wire.layout import LocalProtocolError, Message, ProtocolError, clip
from memhub.service.wire.protocol import CLOSED, CLOSING, DECIDING, HELLO, OPEN, Limits, Protocol
from memhub.service.wire.replies import Error
from memhub.service.wire.requests import Cancel
from memhub.service.wire.transfer import Data, Pwrite, Write

_WRITES = (Write, Pwrite)

#: Characters of a text that answers HELLO; the client takes a body of 4096 bytes before WELCOME.
_WORDS_MAX = 1000


class ServerProtocol(Protocol):
    """Reads a client's requests and frames the answers.

    First `receive` gives a Hello; answer it with `accept` or `refuse`. Then `receive` gives
    requests, and `send` frames their answers in any order. A write whose payload does not fit
    one frame is followed by Data messages with its id. What a client still sends of a write
    that is already answered is dropped.

    Args:
        limits: what this connection is allowed.
    """

    def __init__(self, limits: Limits | None = None) -> None:
        super().__init__(FROM_CLIENT, limits or Limits())
        self.hello: Hello | None = None

    @property
    def busy(self) -> bool:
        """Whether a request is in flight: it is not answered, or its stream has not ended."""
        return bool(self._flight or self._due)

    def accept(self, server: str, features: int = 0) -> bytes:
        """The WELCOME frame.

        Args:
            server: the server's name and version, for people.
            features: what the server offers; the client gets those that it asked for.

        Raises:
            LocalProtocolError: there is no HELLO to answer, or no common version (see `version`).
        """
        hello = self._require_hello("WELCOME")
        version = self.version()
        if version is None:
            raise LocalProtocolError("WELCOME cannot be sent: there is no common version")

        limits = self.limits
        self.features = features & hello.features
        frame = Welcome(
            0,
            version,
            hello.model,
            self.features,
            limits.max_body,
            limits.max_in_flight,
            limits.max_handles,
            limits.idle_ms,
            clip(server[:_WORDS_MAX]),
        ).encode()
        self._set_open(limits)

        return frame

    def refuse(self, code: int, name: str, reason: str) -> bytes:
        """The REFUSED frame; close after it.

        Args:
            code: FreeBSD's errno number.
            name: its name.
            reason: why.

        Raises:
            LocalProtocolError: there is no HELLO to answer.
        """
        self._require_hello("REFUSED")
        self._decoder.kill("the connection was refused")
        self.state = CLOSED

        return Refused(0, code, name, clip(reason[:_WORDS_MAX])).encode()

    def version(self) -> int | None:
        """The highest version that both sides speak, when HELLO has come; else None."""
        if self.hello is None or self.hello.version_min > VERSION_MAX:
            return None

        version = min(VERSION_MAX, self.hello.version_max)

        return version if version >= VERSION_MIN else None

    def send(self, message: Message) -> tuple[bytes, ...]:
        """Frame an answer or an event.

        Args:
            message: a reply with the id of a request in flight, or an Event.

        Returns:
            buffers to send in order.

        Raises:
            LocalProtocolError: the message answers no request in flight, or not in its kind of
                answer.
        """
        request = message.request
        begun = self._flight.get(request)
        kind = type(message)
        if begun is None or (kind is not ANSWERS[begun] and kind is not Error):
            return self._send_other(message)

        buffers = self._check_size(message.buffers(), message.NAME)
        if not isinstance(message, Data) or message.last:
            del self._flight[request]

        return buffers

    def _send_other(self, message: Message) -> tuple[bytes, ...]:
        if type(message) is Event and self.state in {OPEN, CLOSING}:
            return self._check_size(message.buffers(), message.NAME)

        raise LocalProtocolError(
            f"{message.NAME} answers request {message.request}, which is not in flight "
            f"or has another kind of answer"
        )

    def _require_hello(self, name: str) -> Hello:
        if self.state != DECIDING or self.hello is None:
            raise LocalProtocolError(f"{name} cannot be sent while the connection is {self.state}")

        return self.hello

    def _admit_message(self, message: Message) -> bool:
        kind = type(message)
        if kind is Hello or self.hello is None or self.state == DECIDING:
            self._take_greeting(message)
        elif message.TYPE in ANSWERS:
            self._begin_request(message)
        elif isinstance(message, Data):
            return self._continue_write(message)
        elif kind is Cancel:
            return message.request in self._flight
        elif kind is Goodbye and self.peer_left:
            raise ProtocolError("GOODBYE came twice on one connection", "out-of-order")
        else:
            self._end_by_peer(message)

        return True

    def _take_greeting(self, message: Message) -> None:
        if type(message) is Abort:
            self._end_by_peer(message)
            return

        if self.state != HELLO:
            raise ProtocolError("HELLO came twice on one connection", "out-of-order")

        if not isinstance(message, Hello):
            raise ProtocolError(f"{message.NAME} came before the handshake", "out-of-order")

        self.hello = message
        self.state = DECIDING

    def _after_greeting(self, admitted: list[Message]) -> None:
        if self.state == DECIDING and self._decoder.next_type == Abort.TYPE:
            self._decoder.kill("the client sent ABORT behind HELLO")
            self.state = CLOSED
            self._aborted = True
        elif self.state == DECIDING and self._decoder.pending:
            raise ProtocolError(
                f"{self._decoder.pending} bytes came before the handshake was answered",
                "out-of-order",
            )

    def _begin_request(self, message: Message) -> None:
        request, flight, due = message.request, self._flight, self._due
        if request in flight or request in due:
            raise ProtocolError(
                f"request id {request} is used again before its answer", "bad-request-id"
            )

        if self.peer_left:
            raise ProtocolError(f"{message.NAME} came after GOODBYE", "out-of-order")

        most = self.limits.max_in_flight
        if len(flight) >= most or len(due) >= most:
            raise ProtocolError(
                f"request {request} is over the limit of {most} in flight", "too-many"
            )

        if type(message) in _WRITES:
            self._expect_rest(message)

        flight[request] = message.TYPE

    def _expect_rest(self, message: Message) -> None:
        """Expect the DATA that a write announces beside its own bytes."""
        assert isinstance(message, _WRITES)
        left = message.total - len(message.data)
        if left > 0:
            self._due[message.request] = left

    def _continue_write(self, piece: Data) -> bool:
        request = piece.request
        due = self._due.get(request)
        if due is None:
            raise ProtocolError(
                f"DATA belongs to request {request}, which expects none", "bad-stream"
            )

        left = due - len(piece.data)
        if left < 0:
            raise ProtocolError(
                f"DATA brings {-left} bytes more than request {request} announced", "bad-stream"
            )

        if not left and not piece.last:
            raise ProtocolError(f"DATA ends request {request} without the flag LAST", "bad-stream")

        if not piece.data and not piece.last:
            raise ProtocolError(
                f"DATA of request {request} is empty and not the last", "bad-stream"
            )

        if piece.last:
            del self._due[request]
        else:
            self._due[request] = left

        return request in self._flight
