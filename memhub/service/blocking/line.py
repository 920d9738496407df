"""Requests in flight over one connection: which thread waits for which, and which one reads."""

from __future__ import annotations

import _thread
import contextlib
import os
import socket
from collections import deque

from memhub.service import wire
from memhub.service.client_errors import invalid_argument, lost_connection
from memhub.service.remote_replies import join_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

_CHUNK: Final = 1 << 16
_CHUNK_MAX: Final = (
    1 << 18
)  # only for large transfers: memory of this size is mapped anew for each receive
_BESIDE: Final = socket.CMSG_LEN(16)  # room for four descriptors


class _Slot:
    """One request, and what has come of its answer."""

    __slots__ = ("done", "fd", "lock", "pieces", "reply")

    def __init__(self) -> None:
        self.lock = _thread.allocate_lock()
        self.lock.acquire()
        self.done = False
        self.reply: wire.Message | None = None
        self.pieces: list[bytes] = []
        self.fd = -1  # the descriptor that came with a mapping

    def wake(self) -> None:
        """Wake the waiter, also if it has not begun to wait."""
        try:  # noqa: SIM105 - contextlib's way costs as much as a whole answer's decoding
            self.lock.release()
        except RuntimeError:
            pass


class Line:
    """One connection, shared by threads; one of those that wait reads the socket for all.

    Args:
        sock: the socket; the line owns it.
        local: whether descriptors may come over it.
    """

    def __init__(self, sock: socket.socket, *, local: bool) -> None:
        self._socket = sock
        self._local = local
        self._protocol = wire.ClientProtocol()
        self._slots: dict[int, _Slot] = {}
        self._state = _thread.allocate_lock()  # the protocol
        self._sending = _thread.allocate_lock()  # acquired before the protocol's lock
        self._reading = _thread.allocate_lock()  # held by the thread that reads for all
        self._fds: deque[int] = deque()
        self._turns: deque[_Slot] = deque()  # those that wait until they may ask
        self._lost: str | None = None
        self._chunk = _CHUNK

    @property
    def limits(self) -> wire.Limits:
        """What the service allows."""
        return self._protocol.limits

    @property
    def features(self) -> int:
        """What the service granted."""
        return self._protocol.features

    def ask(self, message: wire.Message) -> Any:  # noqa: ANN401 - the request's own answer
        """Send a request and wait for its answer.

        Raises:
            DeviceError: what the service answered.
            ConnectionError: the connection is gone.
        """
        return self._send_and_wait(message, _Slot())

    def ask_map(self, message: wire.Map) -> tuple[wire.Mapped, int]:
        """As `ask`: the answer, and the descriptor that came with it, which the caller closes."""
        slot = _Slot()
        try:
            mapped: wire.Mapped = self._send_and_wait(message, slot)
        except BaseException:
            if slot.fd >= 0:
                os.close(slot.fd)

            raise

        if slot.fd < 0:
            raise lost_connection("no descriptor came with the mapping")

        return mapped, slot.fd

    def _send_and_wait(self, message: wire.Message, slot: _Slot) -> Any:  # noqa: ANN401
        while True:
            with self._sending:
                with self._state:
                    self._check_open()
                    turn = self._await_turn(last=message.__class__ is wire.Close)
                    if turn is None:
                        buffers = self._frame_message(message)
                        self._slots[message.request] = slot

                if turn is None:
                    self._send_buffers(buffers)
                    break

            turn.lock.acquire()

        return self._take_answer(slot)

    def _await_turn(self, *, last: bool) -> _Slot | None:
        """What to wait for until one more request may be sent, or None."""
        if self._protocol.has_room(last=last):
            return None

        turn = _Slot()
        self._turns.append(turn)

        return turn

    def write(self, message: wire.Write | wire.Pwrite, payload: bytes) -> int:
        """Send a write of any size; the bytes written."""
        slot = _Slot()
        frames = self._protocol.write(message, payload)
        while True:
            with self._sending:
                with self._state:
                    self._check_open()
                    turn = self._await_turn(last=False)

                if turn is None:
                    self._send_pieces(message, slot, frames)
                    break

            turn.lock.acquire()

        done: wire.Done = self._take_answer(slot)

        return done.value

    def _send_pieces(
        self, message: wire.Message, slot: _Slot, frames: Iterator[tuple[bytes, ...]]
    ) -> None:
        while True:
            with self._state:
                frame = self._next_frames(frames)
                if message.request not in self._slots and not slot.done:
                    self._slots[message.request] = slot

            if frame is None:
                return

            self._send_buffers(frame)

    def _next_frames(self, frames: Iterator[tuple[bytes, ...]]) -> tuple[bytes, ...] | None:
        try:
            return next(frames, None)
        except wire.LocalProtocolError as error:
            raise invalid_argument(error.reason) from error

    def _frame_message(self, message: wire.Message) -> tuple[bytes, ...]:
        try:
            return self._protocol.send(message)
        except wire.LocalProtocolError as error:
            raise invalid_argument(error.reason) from error

    def _check_open(self) -> None:
        if self._lost is not None:
            raise lost_connection(self._lost)

    def _send_buffers(self, buffers: tuple[bytes, ...]) -> None:
        try:
            for buffer in buffers:
                self._socket.sendall(buffer)
        except OSError as error:
            self._lose_connection(error.strerror or str(error))
            raise lost_connection(self._lost or "") from error
        except BaseException:
            self._break_connection("a request was interrupted")
            raise

    def _take_answer(self, slot: _Slot) -> Any:  # noqa: ANN401
        try:
            self._await_slot(slot)
        except BaseException:
            # The interrupt may have lost what was read, and the request goes on: only an end
            # of the connection is clean.
            self._break_connection("a request was interrupted")
            raise

        reply = slot.reply
        if reply is None:
            raise lost_connection(self._lost or "it was closed")

        if isinstance(reply, wire.Error):
            raise wire.error_from_wire(reply)

        return join_pieces(slot.pieces) if slot.pieces else reply

    def _await_slot(self, slot: _Slot) -> None:
        while not slot.done:
            if self._reading.acquire(blocking=False):
                try:
                    while not slot.done:
                        self._read_some(slot)
                finally:
                    self._reading.release()
                    if self._slots:
                        self._hand_over()
            else:
                slot.lock.acquire()

    def _hand_over(self) -> None:
        """Let another waiting thread read."""
        for slot in list(self._slots.values()):
            slot.wake()
            return

    def _read_some(self, own: _Slot) -> None:
        try:
            data = self._receive()
        except OSError as error:
            self._lose_connection(error.strerror or str(error))
            return

        if not data:
            self._lose_connection("the service closed it")
            return

        with self._state:
            try:
                messages = self._protocol.receive(data)
            except wire.ProtocolError as error:
                messages = error.messages
                self._lose_connection(error.reason)

        for message in messages:
            self._take_message(message, own)

    def _receive(self) -> bytes:
        if self._local:
            data, beside, _, _ = self._socket.recvmsg(self._chunk, _BESIDE)
            for _, _, raw in beside:
                self._fds.extend(memoryview(raw).cast("i"))
        else:
            data = self._socket.recv(self._chunk)

        if len(data) == self._chunk:
            self._chunk = _CHUNK_MAX
        elif len(data) < _CHUNK:
            self._chunk = _CHUNK

        return data

    def _take_message(self, message: wire.Message, own: _Slot) -> None:
        slot = self._slots.get(message.request)
        if slot is None:
            if isinstance(message, wire.Abort):
                self._lose_connection(message.reason)

            return

        if isinstance(message, wire.Data):
            slot.pieces.append(message.data)
            if not message.last:
                return
        elif message.__class__ is wire.Mapped and self._fds:
            # Answers are handled in the order in which they came, as are the descriptors.
            slot.fd = self._fds.popleft()

        del self._slots[message.request]
        slot.reply = message
        slot.done = True
        if slot is not own:
            slot.wake()

        self._wake_turns()

    def _wake_turns(self) -> None:
        while self._turns:
            self._turns.popleft().wake()

    def _lose_connection(self, reason: str) -> None:
        self._lost = self._lost or reason
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            slot.done = True
            slot.wake()

        self._wake_turns()

    def _break_connection(self, reason: str) -> None:
        """End the connection; whoever reads it wakes up."""
        self._lose_connection(reason)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection; the service closes the handles. Closing twice does nothing."""
        self._break_connection("this client closed it")
        self._socket.close()
        while self._fds:
            os.close(self._fds.popleft())
