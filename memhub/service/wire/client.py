"""The client's side of a connection, without I/O."""

from __future__ import annotations

from memhub.service.wire.decoder import ANSWERS, FROM_SERVER
from memhub.service.wire.greeting import (
    MAGIC,
    VERSION_MAX,
    VERSION_MIN,
    Abort,
    Hello,
    Refused,
    Welcome,
)
from memhub.service.wire.layout import (
    FIRST_REQUEST_TYPE,
    U32_MAX,
    LocalProtocolError,
    Message,
    ProtocolError,
)
from memhub.service.wire.protocol import (
    CLOSED,
    CLOSING,
    DECIDING,
    HELLO,
    OPEN,
    Limits,
    Protocol,
    pieces,
)
from memhub.service.wire.replies import Error
from memhub.service.wire.requests import Cancel
from memhub.service.wire.transfer import Data, Pread, Pwrite, Read, Write

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_READS = (Read, Pread)
_WRITES = (Write, Pwrite)
_GREETED = frozenset({OPEN, CLOSING})
_READ_TYPES = frozenset({Read.TYPE, Pread.TYPE})


class ClientProtocol(Protocol):
    """Frames a client's requests and reads the server's answers.

    First send `hello()`; `receive` gives a Welcome or a Refused; then `send` frames
    requests and `receive` gives their answers, in any order, and events.
    """

    def __init__(self) -> None:
        super().__init__(FROM_SERVER, Limits(), grown=True)
        self.welcome: Welcome | None = None
        self._hello: Hello | None = None
        self._id = 0

    def hello(
        self, label: str = "", *, model: int = 0, features: int = 0, token: bytes = b""
    ) -> bytes:
        """The HELLO frame.

        Args:
            label: the client's name for itself.
            model: the data model of handles: `MODEL_NATIVE`, `MODEL_LP64` or `MODEL_ILP32`.
            features: `FEATURE_*` bits that the client asks for.
            token: a token of the server's token file, if the server asks for one.

        Raises:
            LocalProtocolError: HELLO was sent already, or a field does not fit.
        """
        if self.state != HELLO:
            raise LocalProtocolError(f"HELLO cannot be sent while the connection is {self.state}")

        hello = Hello(0, MAGIC, VERSION_MIN, VERSION_MAX, model, 0, features, label, token)
        frame = self._check_size((hello.encode(),), "HELLO")[0]
        self._hello = hello
        self.state = DECIDING

        return frame

    def has_room(self, *, last: bool = False) -> bool:
        """Whether one more request may be sent.

        Args:
            last: it may take the last place, which is kept for a CLOSE; so that a handle can be
                closed whatever is not answered.
        """
        most = self.limits.max_in_flight
        kept = 0 if last or most == 1 else 1

        return max(len(self._flight), len(self._due)) < most - kept

    def send(self, message: Message) -> tuple[bytes, ...]:
        """Frame a request, a piece of a write, or a CANCEL.

        Args:
            message: with request id 0, a request is given the next free id.

        Returns:
            buffers to send in order.

        Raises:
            LocalProtocolError: the connection is not open, the id is in use, or a limit is reached.
        """
        if self.state != OPEN:
            return self._send_late(message)

        if message.TYPE not in ANSWERS:
            return self._send_more(message)

        request = message.request or self.next_id()
        if request in self._flight or request in self._due:
            raise LocalProtocolError(f"request id {request} is used again before its answer")

        most = self.limits.max_in_flight
        if len(self._flight) >= most or len(self._due) >= most:
            busy = max(len(self._flight), len(self._due))
            raise LocalProtocolError(f"{busy} requests are in flight, which is the limit")

        message.request = request
        buffers = self._check_size(message.buffers(), message.NAME)
        self._note_request(message)

        return buffers

    def write(self, message: Write | Pwrite, payload: bytes) -> Iterator[tuple[bytes, ...]]:
        """Frame a write of any size; other frames may be sent between its pieces.

        Args:
            message: with `total` set and `data` empty; it is filled.
            payload: the `total` bytes.

        Yields:
            the buffers of each frame. When the request is answered early, stop after one more
            `send(Data(request, True, b""))`.

        Raises:
            LocalProtocolError: as `send`.
        """
        message.total = len(payload)
        if message.FIXED.size + len(payload) <= self.limits.max_body:
            message.data = payload
            yield self.send(message)
            return

        yield self.send(message)
        for piece in pieces(message.request, payload, self.limits.max_body):
            yield self.send(piece)

    def next_id(self) -> int:
        """The next request id that is free."""
        request = self._id
        while True:
            request = request % U32_MAX + 1
            if request not in self._flight and request not in self._due:
                self._id = request

                return request

    def _note_request(self, message: Message) -> None:
        self._flight[message.request] = message.TYPE
        if isinstance(message, _READS):
            self._due[message.request] = message.count
        elif isinstance(message, _WRITES) and message.total > len(message.data):
            self._due[message.request] = message.total - len(message.data)

    def _send_late(self, message: Message) -> tuple[bytes, ...]:
        if self.state == CLOSING and message.TYPE not in ANSWERS:
            return self._send_more(message)

        raise LocalProtocolError(
            f"{message.NAME} cannot be sent while the connection is {self.state}"
        )

    def _send_more(self, message: Message) -> tuple[bytes, ...]:
        if type(message) is Cancel:
            return message.buffers()

        if not isinstance(message, Data):
            raise LocalProtocolError(f"{message.NAME} cannot be sent by a client here")

        request = message.request
        left = self._due.get(request, -1) - len(message.data)
        if left < 0 or self._flight.get(request) in _READ_TYPES:
            raise LocalProtocolError(f"DATA does not fit what request {request} announced")

        if not message.last and (not left or not message.data):
            raise LocalProtocolError(f"DATA of request {request} needs the flag LAST")

        buffers = self._check_size(message.buffers(), "DATA")
        self._due[request] = left
        if message.last:
            del self._due[request]

        return buffers

    def _admit_message(self, message: Message) -> bool:
        state = self.state
        if state in _GREETED:
            if message.TYPE >= FIRST_REQUEST_TYPE:
                self._check_answer(message)
                return True

            if isinstance(message, Welcome | Refused):
                raise ProtocolError(f"{message.NAME} came after the handshake")

            self._end_by_peer(message)

            return True

        if state != DECIDING:
            raise ProtocolError(f"{message.NAME} came while the connection is {state}")

        self._take_greeting(message)

        return True

    def _take_greeting(self, message: Message) -> None:
        if isinstance(message, Abort):
            self._end_by_peer(message)
            return

        if isinstance(message, Refused):
            self.state = CLOSED
            return

        if not isinstance(message, Welcome) or self._hello is None:
            raise ProtocolError(f"{message.NAME} came before the handshake was answered")

        if not VERSION_MIN <= message.version <= VERSION_MAX:
            raise ProtocolError(f"WELCOME chose version {message.version}, which was not offered")

        if message.features & ~self._hello.features or message.model != self._hello.model:
            raise ProtocolError(
                f"WELCOME grants features {message.features:#x} and model {message.model}, "
                f"which were not asked for"
            )

        self.welcome = message
        self.features = message.features
        self._set_open(self._welcome_limits(message))

    def _welcome_limits(self, welcome: Welcome) -> Limits:
        try:
            return Limits(
                welcome.max_body, welcome.max_in_flight, welcome.max_handles, welcome.idle_ms
            )
        except ValueError as error:
            raise ProtocolError(f"WELCOME: {error}") from None

    def _after_greeting(self, admitted: list[Message]) -> None:
        if self._decoder.pending and self.state == CLOSED:
            raise ProtocolError("bytes came after the connection was refused")

    def receive(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """See `Protocol.receive`; bytes after WELCOME are read with its limits."""
        if not self._decoder.one:
            return super().receive(data)

        messages = super().receive(data)
        if self.state == OPEN and self._decoder.pending:
            try:
                messages += super().receive(b"")
            except ProtocolError as error:
                error.messages[:0] = messages
                raise

        return messages

    def _check_answer(self, message: Message) -> None:
        request = message.request
        kind = self._flight.get(request)
        if kind is None:
            raise ProtocolError(f"{message.NAME} answers request {request}, which is not in flight")

        if isinstance(message, Data) and ANSWERS[kind] is Data:
            self._take_piece(message, kind)
            return

        if type(message) is not ANSWERS[kind] and type(message) is not Error:
            raise ProtocolError(
                f"{message.NAME} answers request {request}, which expects {ANSWERS[kind].NAME}"
            )

        del self._flight[request]
        if kind in _READ_TYPES:
            self._due.pop(request, None)

    def _take_piece(self, piece: Data, kind: int) -> None:
        request = piece.request
        if not piece.data and not piece.last:
            raise ProtocolError(f"DATA of request {request} is empty and not the last")

        if kind in _READ_TYPES:
            left = self._due[request] - len(piece.data)
            if left < 0:
                raise ProtocolError(
                    f"DATA brings {-left} bytes more than request {request} asked for"
                )

            self._due[request] = left

        if piece.last:
            del self._flight[request]
            self._due.pop(request, None)
