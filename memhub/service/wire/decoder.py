"""Bytes in, messages out."""

from __future__ import annotations

from io import BytesIO

from memhub.service.wire import (
    administration,
    caches,
    calls,
    devices,
    greeting,
    ioctls,
    replies,
    requests,
    transfer,
)
from memhub.service.wire.greeting import MIN_BODY
from memhub.service.wire.layout import (
    FIRST_REQUEST_TYPE,
    HEADER,
    HEADER_SIZE,
    LAST,
    Message,
    ProtocolError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Final

#: What answers a request of each type when it succeeds; ERROR answers any of them.
ANSWERS: Final[Mapping[int, type[Message]]] = {
    requests.Open.TYPE: replies.Opened,
    requests.Close.TYPE: transfer.Done,
    transfer.Read.TYPE: transfer.Data,
    transfer.Pread.TYPE: transfer.Data,
    transfer.Write.TYPE: transfer.Done,
    transfer.Pwrite.TYPE: transfer.Done,
    requests.Seek.TYPE: transfer.Done,
    ioctls.Ioctl.TYPE: ioctls.IoctlDone,
    ioctls.Set.TYPE: ioctls.SetDone,
    requests.Claim.TYPE: replies.Claimed,
    requests.Release.TYPE: transfer.Done,
    requests.Renew.TYPE: replies.Claimed,
    requests.Wait.TYPE: transfer.Done,
    requests.Break.TYPE: transfer.Done,
    requests.Subscribe.TYPE: transfer.Done,
    requests.Unsubscribe.TYPE: transfer.Done,
    requests.Report.TYPE: transfer.Data,
    requests.Explain.TYPE: transfer.Data,
    requests.Map.TYPE: replies.Mapped,
    requests.Ping.TYPE: transfer.Done,
    administration.Faults.TYPE: transfer.Data,
    administration.Snapshot.TYPE: transfer.Data,
    devices.Show.TYPE: transfer.Data,
    caches.Flush.TYPE: transfer.Done,
    calls.Call.TYPE: transfer.Data,
}

#: Every frame that a client may send.
FROM_CLIENT: Final[tuple[type[Message], ...]] = (
    greeting.Hello,
    greeting.Goodbye,
    greeting.Abort,
    requests.Open,
    requests.Close,
    transfer.Read,
    transfer.Pread,
    transfer.Write,
    transfer.Pwrite,
    requests.Seek,
    ioctls.Ioctl,
    ioctls.Set,
    requests.Cancel,
    requests.Claim,
    requests.Release,
    requests.Renew,
    requests.Wait,
    requests.Break,
    requests.Subscribe,
    requests.Unsubscribe,
    requests.Report,
    requests.Explain,
    requests.Map,
    requests.Ping,
    administration.Faults,
    administration.Snapshot,
    devices.Show,
    caches.Flush,
    calls.Call,
    transfer.Data,
)

#: Every frame that a server may send.
FROM_SERVER: Final[tuple[type[Message], ...]] = (
    greeting.Welcome,
    greeting.Refused,
    greeting.Goodbye,
    greeting.Abort,
    greeting.Event,
    transfer.Data,
    transfer.Done,
    replies.Opened,
    ioctls.IoctlDone,
    replies.Claimed,
    replies.Mapped,
    ioctls.SetDone,
    replies.Error,
)

#: The frames that exist only where their feature was granted.
GATED: Final = {it.TYPE: it.FEATURE for it in (*FROM_CLIENT, *FROM_SERVER) if it.FEATURE}

_PIECES: Final = 256  # so that a body that comes byte by byte needs only the memory of its bytes

#: When this many bytes and this part of a frame have come, memory for all of it is allocated.
_LARGE: Final = 1 << 16
_PART: Final = 8


class Decoder:
    """Cuts a stream of bytes into messages.

    A header is checked as soon as its 12 bytes have come, so a body that is too large is refused
    before any of it is kept. After an error the decoder takes nothing more.

    Args:
        frames: the message classes that the peer may send.
        max_body: the largest body taken, in bytes.
        grown: ignore what a later version of the peer has added at the end of a body.

    Attributes:
        max_body: may be changed between two calls of `feed`.
        one: return at most one message a call and keep what follows; for the handshake,
            whose result decides how the rest is read.
    """

    __slots__ = (
        "_body",
        "_dead",
        "_decoders",
        "_header",
        "_kept",
        "_need",
        "_pending",
        "max_body",
        "one",
    )

    def __init__(
        self, frames: Iterable[type[Message]], max_body: int = MIN_BODY, *, grown: bool = False
    ) -> None:
        self.max_body = max_body
        self.one = False
        self._decoders = {
            frame.TYPE: frame.decode_grown if grown and frame.GROWS else frame.decode
            for frame in frames
        }
        self._pending: list[bytes] = []
        self._header = b""
        self._body: BytesIO | None = None
        self._kept = 0
        self._need = HEADER_SIZE
        self._dead: str | None = None

    @property
    def pending(self) -> int:
        """Bytes that are kept until the rest of their frame arrives."""
        return self._kept

    @property
    def next_type(self) -> int | None:
        """The type of the frame whose first bytes are kept; None where too few have come."""
        head = b"".join(self._pending)[: HEADER_SIZE // 2]

        return int.from_bytes(head[4:6], "little") if len(head) == HEADER_SIZE // 2 else None

    def feed(self, data: bytes | bytearray | memoryview) -> list[Message]:
        """Take what one receive brought.

        Args:
            data: any number of bytes, also none.

        Returns:
            the messages that are now complete, in order.

        Raises:
            ProtocolError: a rule was broken. Its `messages` came before it; nothing more is read.
        """
        if self._dead is not None:
            raise ProtocolError(f"nothing more is read after an error: {self._dead}")

        if data.__class__ is not bytes:
            data = bytes(data)

        if self._body is not None:
            return self._fill_body(self._body, data)

        if self._pending:
            self._pending.append(data)
            self._kept += len(data)
            if self._kept < self._need:
                if len(self._pending) >= _PIECES:
                    self._pending = [b"".join(self._pending)]

                self._make_room()
                return []

            data = b"".join(self._pending)
            self._pending.clear()
            self._kept = 0

        return self._cut_frames(data, [])

    def drop(self, types: Iterable[int]) -> None:
        """Know these frames no more: their feature was not granted."""
        for kind in types:
            self._decoders.pop(kind, None)

    def kill(self, reason: str) -> None:
        """Refuse everything that follows, after the connection found a broken rule."""
        self._dead = reason
        self._pending.clear()
        self._body = None
        self._kept = 0

    def _make_room(self) -> None:
        """Allocate the memory for the body of a large frame, when a part of it has come.

        The message keeps this memory, and each piece is freed when it is copied. Joining the
        pieces at the end would take three times the memory of a read of 1 MiB, which the C
        library returns to the kernel and requests again each time.
        """
        if self.one or not _LARGE <= self._kept < self._need <= self._kept * _PART:
            return

        data = b"".join(self._pending)
        self._pending.clear()
        self._header = data[:HEADER_SIZE]
        self._body = BytesIO(bytes(self._need - HEADER_SIZE))
        self._body.write(memoryview(data)[HEADER_SIZE:])

    def _fill_body(self, body: BytesIO, data: bytes) -> list[Message]:
        left = self._need - self._kept
        body.write(memoryview(data)[:left])
        if len(data) < left:
            self._kept += len(data)
            return []

        self._body = None
        self._kept = 0
        length, kind, flags, request = HEADER.unpack(self._header)
        try:
            message = self._decoders[kind](body.getvalue(), 0, length, flags, request)
        except ProtocolError as error:
            self.kill(error.reason)
            error.answered = kind != greeting.Abort.TYPE
            raise

        return self._cut_frames(data[left:], [message])

    def _cut_frames(self, data: bytes, messages: list[Message]) -> list[Message]:
        at, end = 0, len(data)
        decoders, max_body, header = self._decoders, self.max_body, HEADER.unpack_from
        self._need = HEADER_SIZE
        try:
            while end - at >= HEADER_SIZE:
                length, kind, flags, request = header(data, at)
                decode = decoders.get(kind)
                if (
                    flags
                    or length > max_body
                    or decode is None
                    or (not request) is not (kind < FIRST_REQUEST_TYPE)
                ):
                    self._refuse_header(length, kind, flags, request)

                body = at + HEADER_SIZE
                stop = body + length
                if stop > end:
                    self._need = stop - at
                    break

                messages.append(decode(data, body, stop, flags, request))  # type: ignore[misc]
                at = stop
                if self.one:
                    break
        except ProtocolError as error:
            self.kill(error.reason)
            error.messages = messages
            error.answered = kind != greeting.Abort.TYPE
            raise

        if at < end:
            self._pending.append(data[at:] if at else data)
            self._kept = end - at
            self._make_room()

        return messages

    def _refuse_header(self, length: int, kind: int, flags: int, request: int) -> None:
        if kind not in self._decoders:
            raise ProtocolError(
                f"type {kind:#x} is not a frame that this side may receive", "unknown-frame"
            )

        if length > self.max_body:
            raise ProtocolError(
                f"body of {length} bytes in a frame of type {kind:#x} is over the limit of "
                f"{self.max_body}",
                "too-long",
            )

        if flags and (kind != transfer.Data.TYPE or flags != LAST):
            raise ProtocolError(f"flags {flags:#x} are not defined for a frame of type {kind:#x}")

        if request and kind < FIRST_REQUEST_TYPE:
            raise ProtocolError(
                f"request id {request} on a frame of the connection, type {kind:#x}",
                "bad-request-id",
            )

        if not request and kind >= FIRST_REQUEST_TYPE:
            raise ProtocolError(f"request id 0 on a frame of type {kind:#x}", "bad-request-id")
