"""The blocking client, for scripts and one-shot commands; it imports nothing that is slow to load.

Its methods have the names of the asynchronous client's and may be called from several threads.
One of the threads that wait reads the socket for all of them.
"""

from __future__ import annotations

import socket
from time import monotonic, sleep

from memhub.service import wire
from memhub.service.address import parse_address
from memhub.service.blocking.handle import BlockingHandle
from memhub.service.blocking.line import Line
from memhub.service.client_errors import (
    BUSY_PAUSE,
    UNANSWERED_PAUSES,
    ClosedUnanswered,
    closed_unanswered,
    lost_connection,
    name_place,
    refused_connection,
)
from memhub.service.remote_hub import (
    file_pieces,
    hello_frame,
    open_request,
    report_request,
    rule_text,
    show_request,
    snapshot_request,
    take_greeting,
)
from memhub.service.wire.wide import narrow

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Iterable
    from typing import Any, Final, Self

    from memhub.abi import DataModel
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.core.spec import Content
    from memhub.service.blocking.hardware import BlockingHardware

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
        end = None if limit is None else monotonic() + limit
        reach = (kind, place, port), ssl_context, server_hostname or place, label, secret
        for pause in (*UNANSWERED_PAUSES, None):
            try:
                self._connect_socket(*reach, end)
            except ClosedUnanswered:
                if pause is None or (end is not None and monotonic() + pause >= end):
                    raise

                sleep(pause)
            else:
                return

    def _connect_socket(
        self,
        where: tuple[str, str, int],
        ssl_context: Any,  # noqa: ANN401 - as above
        hostname: str,
        label: str,
        token: bytes,
        end: float | None,
    ) -> None:
        kind, place, port = where
        try:
            sock = _dial_server(kind, place, port, end)
        except OSError as error:
            raise name_place(error, place) from None

        super().__init__(sock, local=kind == "unix")
        try:
            self._socket.settimeout(_seconds_left(end))
            if ssl_context is not None:
                self._socket = _wrap_tls(self._socket, ssl_context, hostname)

            self._send_hello(label, token)
            self._socket.settimeout(None)
        except ConnectionError as error:
            self._socket.close()
            raise name_place(error, place) from error.__cause__
        except BaseException:
            self._socket.close()
            raise

    def _send_hello(self, label: str, token: bytes) -> None:
        features = wire.FEATURES | (wire.MAP_FEATURES if self._local else 0)
        hello = hello_frame(self._protocol, label, token, features)
        try:
            self._socket.sendall(hello)
            data = self._socket.recv(_CHUNK)
        except ConnectionError:
            data = b""

        if not data:
            raise closed_unanswered()

        while True:
            for message in self._protocol.receive(data):
                if isinstance(message, wire.Refused):
                    raise refused_connection(message)

                if isinstance(message, wire.Abort):
                    raise lost_connection(message.reason)

            if self._protocol.welcome is not None:
                return

            data = self._socket.recv(_CHUNK)
            if not data:
                raise lost_connection("the service closed it during the handshake")

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
            what: `machines`, `claims`, `waits`, `rates`, `hazards`, `map`, or several with
                commas between; empty is all but `map`.
            machine: one machine's name; empty is all.
        """
        found: dict[str, Any] = self._ask_json(report_request(what, machine))

        return found

    def add_fault(self, rule: FaultRule | Sickness) -> dict[str, Any]:
        """Add a fault rule or a sickness to the hub; what the hub has of it."""
        return self.hardware.ask("add", rule_text(rule))[0]

    def remove_fault(self, name: str) -> dict[str, Any]:
        """End a fault rule or sickness; what the hub had of it, with its counts."""
        return self.hardware.ask("remove", name)[0]

    def list_faults(self) -> list[dict[str, Any]]:
        """The fault rules and sicknesses that this client may touch, with their counts."""
        return self.hardware.ask("list", "")

    @property
    def hardware(self) -> BlockingHardware:
        """Suspend, resume and check of machines."""
        from memhub.service.blocking.hardware import BlockingHardware

        return BlockingHardware(self.ask, self._protocol.features)

    def _ask_json(self, request: wire.Message) -> Any:  # noqa: ANN401 - what JSON holds
        import json

        return json.loads(self.ask(request), object_hook=narrow)

    def take_snapshot(self, machine: str | None = None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        answer: bytes = self.ask(self._snapshot_request("take", machine))

        return answer

    def restore_snapshot(self, file: bytes, machine: str | None = None) -> list[str]:
        """Let machines be as a file has them, and all clients go on; the names of the machines."""
        for piece in file_pieces(file, self._protocol.limits.max_body):
            self.ask(self._snapshot_request("put", machine, piece))

        return self._go_back("restore", machine)

    def load_memory(
        self, contents: Iterable[Content], machine: str | None = None, *, clear: bool = False
    ) -> int:
        """Put contents of `memhub.images` into the RAM of a machine (the default one if None).

        Args:
            contents: what to put; all of it or, with an error, nothing.
            machine: the machine's name.
            clear: let all other RAM become zero.

        Returns:
            how many bytes were put, zeros among them.
        """
        from memhub.images.packed import pack_contents

        for piece in file_pieces(pack_contents(contents), self._protocol.limits.max_body):
            self.ask(self._snapshot_request("put", machine, piece))

        request = self._snapshot_request("replace" if clear else "load", machine)

        return int(self._ask_json(request)["bytes"])

    def list_devices(self, machine: str | None = None) -> list[dict[str, Any]]:
        """The devices that a machine (the default one if None) declares."""
        features = self._protocol.features

        return list(self._ask_json(show_request(features, "list", machine, None)))

    def read_device(self, device: str | None = None, machine: str | None = None) -> bytes:
        """The bytes of a device that shows memory, as it reads them itself; see `Hub.show`."""
        answer: bytes = self.ask(show_request(self._protocol.features, "bytes", machine, device))

        return answer

    def reset(self, machine: str | None = None) -> list[str]:
        """Let the machines, or one, be as they were at the start of the service; their names."""
        return self._go_back("reset", machine)

    def _go_back(self, what: str, machine: str | None) -> list[str]:
        found = self._ask_json(self._snapshot_request(what, machine))

        return list(found["machines"])

    def _snapshot_request(self, what: str, machine: str | None, data: bytes = b"") -> wire.Snapshot:
        return snapshot_request(self._protocol.features, what, machine, data)

    def ping(self) -> None:
        """Return once the service has answered."""
        self.ask(wire.Ping(0, 0))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _seconds_left(end: float | None) -> float | None:
    """Seconds until `end`, and never 0, which would mean not to wait at all."""
    return None if end is None else max(end - monotonic(), 1e-6)


def _wrap_tls(sock: socket.socket, context: Any, hostname: str) -> socket.socket:  # noqa: ANN401
    import ssl

    try:
        wrapped: socket.socket = context.wrap_socket(sock, server_hostname=hostname)
    except (ConnectionError, ssl.SSLEOFError):
        raise closed_unanswered() from None

    return wrapped


def _dial_server(kind: str, place: str, port: int, end: float | None) -> socket.socket:
    if kind == "tcp":
        return socket.create_connection((place, port), _seconds_left(end))

    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        while True:
            sock.settimeout(_seconds_left(end))
            try:
                sock.connect(place)
            except BlockingIOError:
                if end is not None and monotonic() >= end:
                    raise TimeoutError("timed out") from None

                sleep(BUSY_PAUSE)
            else:
                return sock
    except BaseException:
        sock.close()
        raise
