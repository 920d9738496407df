"""The blocking client, for scripts and one-shot commands: a socket, and nothing slow to load.

Its methods have the names of the asynchronous face's and may be called from several threads:
one of those that wait reads the socket for all of them.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import socket
from collections import deque

from memhub.service import calls, wire
from memhub.service.blocking.handle import BlockingHandle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final, Self

    from memhub.abi import DataModel

_CHUNK: Final = 1 << 18
_BESIDE: Final = socket.CMSG_LEN(16)  # room for four descriptors


class _Slot:
    """One request, and its answer as it comes."""

    __slots__ = ("done", "lock", "pieces", "reply")

    def __init__(self) -> None:
        self.lock = _thread.allocate_lock()
        self.lock.acquire()
        self.done = False
        self.reply: wire.Message | None = None
        self.pieces: list[bytes] = []

    def wake(self) -> None:
        """Let the waiter look again; it may not have begun to wait."""
        with contextlib.suppress(RuntimeError):
            self.lock.release()


class BlockingClient:
    """A connection to a service, which is one process of its hub; use it in `with`.

    Args:
        address: `unix:PATH`, a path, or `tcp:HOST:PORT`; None takes `$MEMHUB_SOCKET`.
        label: what to be called in reports and in the log.
        token: what a TCP service asks for instead of a certificate.
        ssl_context: TLS over TCP, an `ssl.SSLContext`.
        server_hostname: the name in the service's certificate; the host's if None.
        timeout: seconds for connecting and the handshake.

    Raises:
        ValueError: the address is malformed.
        OSError: the service cannot be reached, or closed the connection (ConnectionError).
        DeviceError: it refused the connection, and the message says why.
    """

    def __init__(
        self,
        address: str | os.PathLike[str] | None = None,
        *,
        label: str = "",
        token: str = "",
        ssl_context: Any = None,  # noqa: ANN401 - ssl is not imported here
        server_hostname: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        kind, place, port = calls.where(address)
        self._protocol = wire.ClientProtocol()
        self._slots: dict[int, _Slot] = {}
        self._state = _thread.allocate_lock()  # the protocol
        self._sending = _thread.allocate_lock()  # taken before the protocol's
        self._reading = _thread.allocate_lock()  # whoever reads for all
        self._fds: deque[int] = deque()
        self._local = kind == "unix"
        self._lost: str | None = None
        self._socket = _dial(kind, place, port, timeout)
        try:
            if ssl_context is not None:
                name = server_hostname or place
                self._socket = ssl_context.wrap_socket(self._socket, server_hostname=name)

            self._greet(label, token)
            self._socket.settimeout(None)
        except BaseException:
            self._socket.close()
            raise

    def _greet(self, label: str, token: str) -> None:
        features = wire.FEATURE_MAP if self._local else 0
        self._socket.sendall(self._protocol.hello(label, features=features, token=token.encode()))
        while self._protocol.welcome is None:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise calls.lost("the service closed it during the handshake")

            for message in self._protocol.receive(data):
                if isinstance(message, wire.Refused):
                    raise calls.refused(message)

                if isinstance(message, wire.Abort):
                    raise calls.lost(message.reason)

    @property
    def limits(self) -> wire.Limits:
        """What the service allows."""
        return self._protocol.limits

    @property
    def software(self) -> str:
        """The service's name and version."""
        welcome = self._protocol.welcome

        return welcome.server if welcome is not None else ""

    # Asking

    def ask(self, message: wire.Message) -> Any:  # noqa: ANN401 - the request's own answer
        """Send a request and wait for its answer.

        Raises:
            DeviceError: what the service answered.
            ConnectionError: the connection is gone.
        """
        slot = _Slot()
        with self._sending:
            with self._state:
                self._check()
                buffers = self._framed(message)
                self._slots[message.request] = slot

            self._send(buffers)

        return self._answer(slot)

    def write(self, message: wire.Write | wire.Pwrite, payload: bytes) -> int:
        """Send a write of any size; the bytes written."""
        slot = _Slot()
        self._check()
        frames = self._protocol.write(message, payload)
        with self._sending:
            while True:
                with self._state:
                    frame = self._next(frames)
                    if message.request not in self._slots and not slot.done:
                        self._slots[message.request] = slot

                if frame is None:
                    break

                self._send(frame)

        done: wire.Done = self._answer(slot)

        return done.value

    def _next(self, frames: Iterator[tuple[bytes, ...]]) -> tuple[bytes, ...] | None:
        try:
            return next(frames, None)
        except wire.LocalProtocolError as error:
            raise calls.unfit(error.reason) from error

    def _framed(self, message: wire.Message) -> tuple[bytes, ...]:
        try:
            return self._protocol.send(message)
        except wire.LocalProtocolError as error:
            raise calls.unfit(error.reason) from error

    def _check(self) -> None:
        if self._lost is not None:
            raise calls.lost(self._lost)

    def _send(self, buffers: tuple[bytes, ...]) -> None:
        try:
            for buffer in buffers:
                self._socket.sendall(buffer)
        except OSError as error:
            self._lose(error.strerror or str(error))
            raise calls.lost(self._lost or "") from error
        except BaseException:
            self._break("a request was interrupted")
            raise

    def _answer(self, slot: _Slot) -> Any:  # noqa: ANN401
        try:
            self._wait(slot)
        except BaseException:
            # What was read may be lost with the interrupt, and the request goes on: only an end
            # of the connection is clean.
            self._break("a request was interrupted")
            raise

        reply = slot.reply
        if reply is None:
            raise calls.lost(self._lost or "it was closed")

        if isinstance(reply, wire.Error):
            raise wire.error_from_wire(reply)

        return calls.joined(slot.pieces) if slot.pieces else reply

    def _wait(self, slot: _Slot) -> None:
        while not slot.done:
            if self._reading.acquire(blocking=False):
                try:
                    while not slot.done:
                        self._read_some()
                finally:
                    self._reading.release()
                    self._hand_over()
            else:
                slot.lock.acquire()

    def _hand_over(self) -> None:
        """Let somebody else who waits read from here on."""
        for slot in list(self._slots.values()):
            slot.wake()
            return

    def _read_some(self) -> None:
        try:
            data = self._receive()
        except OSError as error:
            self._lose(error.strerror or str(error))
            return

        if not data:
            self._lose("the service closed it")
            return

        with self._state:
            try:
                messages = self._protocol.receive(data)
            except wire.ProtocolError as error:
                messages = error.messages
                self._lose(error.reason)

        for message in messages:
            self._take(message)

    def _receive(self) -> bytes:
        if not self._local:
            return self._socket.recv(_CHUNK)

        data, beside, _, _ = self._socket.recvmsg(_CHUNK, _BESIDE)
        for _, _, raw in beside:
            self._fds.extend(memoryview(raw).cast("i"))

        return data

    def _take(self, message: wire.Message) -> None:
        slot = self._slots.get(message.request)
        if slot is None:
            if isinstance(message, wire.Abort):
                self._lose(message.reason)

            return

        if isinstance(message, wire.Data):
            slot.pieces.append(message.data)
            if not message.last:
                return

        del self._slots[message.request]
        slot.reply = message
        slot.done = True
        slot.wake()

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        slots, self._slots = self._slots, {}
        for slot in slots.values():
            slot.done = True
            slot.wake()

    def _break(self, reason: str) -> None:
        """End the connection; whoever reads it wakes up."""
        self._lose(reason)
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def take_fd(self) -> int:
        """The descriptor that came with a mapping."""
        if not self._fds:
            raise calls.lost("no descriptor came with the mapping")

        return self._fds.popleft()

    # The face of a hub

    def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> BlockingHandle:
        """Open a device file; see `Hub.open`."""
        name = None if model is None else model.name
        opened = self.ask(calls.open_request(path, mode, undo=undo, model=name))

        return BlockingHandle(self, opened, path)

    def report(self, what: str = "", machine: str = "") -> dict[str, Any]:
        """Who has what open, who holds what, who waits for what, and since when.

        Args:
            what: `machines`, `claims`, `waits`, `rates`, or several with commas; empty is all.
            machine: only this machine's; empty is all.
        """
        import json

        found: dict[str, Any] = json.loads(self.ask(wire.Report(0, what, machine)))

        return found

    def ping(self) -> None:
        """Return once the service has answered."""
        self.ask(wire.Ping(0, 0))

    def close(self) -> None:
        """Close the connection; the service closes the handles. Closing twice does nothing."""
        self._break("this client closed it")
        self._socket.close()
        while self._fds:
            os.close(self._fds.popleft())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dial(kind: str, place: str, port: int, timeout: float) -> socket.socket:
    if kind == "tcp":
        return socket.create_connection((place, port), timeout)

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.settimeout(timeout)
        sock.connect(place)
    except BaseException:
        sock.close()
        raise

    return sock
