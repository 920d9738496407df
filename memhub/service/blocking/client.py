"""The blocking client, for scripts and one-shot commands; it imports nothing that is slow to load.

Its methods have the names of the asynchronous client's and may be called from several threads.
One of the threads that wait reads the socket for all of them.
"""

from __future__ import annotations

import socket

from memhub.service import wire
from memhub.service.address import parse_address
from memhub.service.blocking.handle import BlockingHandle
from memhub.service.blocking.line import Line
from memhub.service.client_errors import lost_connection, name_place, refused_connection
from memhub.service.remote_hub import hello_frame, open_request, report_request, take_greeting
from memhub.service.wire.wide import narrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Any, Final, Self

    from memhub.abi import DataModel

_CHUNK: Final = 1 << 16


class BlockingClient(Line):
    """A connection to a service, which is one process of its hub; use it in `with`.

    Args:
        address: `unix:PATH`, a path, or `tcp:HOST:PORT`; None takes `$MEMHUB_SOCKET`.
        label: the name of this client in reports and in the log.
        token: for a TCP service, in place of a certificate.
        ssl_context: TLS over TCP, an `ssl.SSLContext`.
        server_hostname: the name in the service's certificate; None takes the host.
        timeout: seconds for connecting and the handshake; None or `math.inf` has no limit.

    Raises:
        ValueError: the address is malformed, or the timeout is not a time to come.
        TypeError: an argument has the wrong type.
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
        timeout: float | None = 10.0,
    ) -> None:
        kind, place, port = parse_address(address)
        label, secret, limit, _ = take_greeting(label, token, timeout)
        try:
            sock = _dial(kind, place, port, limit)
        except OSError as error:
            raise name_place(error, place) from None

        super().__init__(sock, local=kind == "unix")
        try:
            if ssl_context is not None:
                name = server_hostname or place
                self._socket = ssl_context.wrap_socket(self._socket, server_hostname=name)

            self._greet(label, secret)
            self._socket.settimeout(None)
        except ConnectionError as error:
            self._socket.close()
            raise name_place(error, place) from error.__cause__
        except BaseException:
            self._socket.close()
            raise

    def _greet(self, label: str, token: bytes) -> None:
        features = wire.FEATURES | (wire.MAP_FEATURES if self._local else 0)
        self._socket.sendall(hello_frame(self._protocol, label, token, features))
        while self._protocol.welcome is None:
            data = self._socket.recv(_CHUNK)
            if not data:
                raise lost_connection("the service closed it during the handshake")

            for message in self._protocol.receive(data):
                if isinstance(message, wire.Refused):
                    raise refused_connection(message)

                if isinstance(message, wire.Abort):
                    raise lost_connection(message.reason)

    @property
    def software(self) -> str:
        """The service's name and version."""
        welcome = self._protocol.welcome

        return welcome.server if welcome is not None else ""

    # The methods of a hub

    def open(
        self, path: str, mode: str = "r", *, undo: bool = False, model: DataModel | None = None
    ) -> BlockingHandle:
        """Open a device file; see `Hub.open`."""
        opened = self.ask(open_request(path, mode, undo=undo, model=model))

        return BlockingHandle(self, opened, path)

    def report(self, what: str = "", machine: str = "") -> dict[str, Any]:
        """Who has what open, who holds what, who waits for what, and since when.

        Args:
            what: `machines`, `claims`, `waits`, `rates`, or several with commas between;
                empty is all.
            machine: one machine's name; empty is all.
        """
        import json

        answer = self.ask(report_request(what, machine))
        found: dict[str, Any] = json.loads(answer, object_hook=narrow)

        return found

    def ping(self) -> None:
        """Return once the service has answered."""
        self.ask(wire.Ping(0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dial(kind: str, place: str, port: int, timeout: float | None) -> socket.socket:
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
