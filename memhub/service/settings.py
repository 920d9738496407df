"""How a service listens, whom it serves, what one client may do and use. Plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, get_args

from memhub.escape import EscapedMessage
from memhub.service.subject import CommonName, Subject, parse_subject

if TYPE_CHECKING:
    from pathlib import Path

#: One of RIGHTS.
Right = Literal[
    "read-memory",
    "write-memory",
    "read-ranges",
    "set-ranges",
    "break-claims",
    "inject-faults",
    "restore-machines",
]

#: What a client may be allowed to do.
RIGHTS: Final[tuple[Right, ...]] = get_args(Right)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one client may use. A connection is a client.

    Attributes:
        frame_size: bytes of one message.
        in_flight: requests of one connection that may be unanswered.
        handles: open handles of one connection.
        claims: claims of one connection, on all machines; those that it lost and has not been
            told of count too.
        waits: requests of one connection that may wait for a range at once, or for a commit.
        subscriptions: subscriptions of one connection.
        unread_events: events that its subscriptions may hold together for a slow reader.
        reports: reports, snapshots and pictures of devices that may be in the making for one
            connection.
        maps: mappings made through the open handles of one connection.
        queued_bytes: bytes of answers for a slow reader: while half of them wait, nothing more is
            read from the client, and no piece of a long answer and no event is made for it; a
            frame may go beyond. Also bytes of streamed writes that may be kept for devices.
        connections: clients of one listener.
        ungreeted: connections of one listener that have not sent HELLO; when more come, one of
            the peer with most of them is closed, the oldest.
        handshake_timeout: seconds in which a new connection must send HELLO.
        idle_timeout: seconds without a request until a connection is closed; 0 is never.
        stall_timeout: seconds in which a client must read some of what waits for it.
        unanswered_timeout: seconds after which a request that a fault rule leaves without an answer
            is answered with ETIMEDOUT; 0 is never.
        driver_timeout: seconds in which a range driver must answer (`memhub serve`).
        driver_failures: failures of a range driver after which its machine is marked failed, and
            what is asked of it is refused (`memhub serve`); 0 is never.
    """

    frame_size: int = 1 << 20
    in_flight: int = 64
    handles: int = 256
    claims: int = 256
    waits: int = 16
    subscriptions: int = 16
    unread_events: int = 1 << 14
    reports: int = 4
    maps: int = 1024
    queued_bytes: int = 4 << 20
    connections: int = 256
    ungreeted: int = 64
    handshake_timeout: float = 5.0
    idle_timeout: float = 0.0
    stall_timeout: float = 30.0
    unanswered_timeout: float = 0.0
    driver_timeout: float = 2.0
    driver_failures: int = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpConfig:
    """The TCP listener.

    Attributes:
        host: address or name to bind.
        port: port number; 0 lets the system choose.
        certfile: the server's certificate chain; None serves without TLS, on loopback only.
        keyfile: its private key.
        ca: certificates that sign clients; with it, clients must show one.
        token_file: file of the tokens that clients may show, a line `NAME:TOKEN` each.
    """

    host: str = "127.0.0.1"
    port: int = 0
    certfile: Path | None = None
    keyfile: Path | None = None
    ca: Path | None = None
    token_file: Path | None = None

    @property
    def exposed(self) -> bool:
        """Whether others could read the traffic, tokens included.

        Without TLS that is so on every host except `localhost`, 127.0.0.0/8 and ::1; other names
        are not looked up, since their addresses may change.
        """
        if self.certfile is not None or self.host == "localhost":
            return False

        from ipaddress import ip_address

        try:
            return not ip_address(self.host).is_loopback
        except ValueError:
            return True


@dataclass(frozen=True, slots=True, kw_only=True)
class RightsRule:
    """What one client may do on one machine; exactly one of the first three is set.

    Attributes:
        uid: the user of a local socket.
        subject: the subject of a client certificate, as `CN=rig-a,O=lab`, or its common name;
            see `parse_subject`.
        token: the name of a token.
        machine: a machine's name, or `*` for all.
        allow: what is allowed.
        certificate: `subject`, parsed.

    Raises:
        ValueError: the subject is malformed.
    """

    uid: int | None = None
    subject: str | None = None
    token: str | None = None
    machine: str = "*"
    allow: frozenset[Right] = frozenset()
    certificate: Subject | CommonName | None = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        certificate = None if self.subject is None else parse_subject(self.subject)
        object.__setattr__(self, "certificate", certificate)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceConfig:
    """How the service runs.

    Attributes:
        socket: path of the local socket; None leaves it to the caller.
        mode: permission bits of the socket.
        owner: user who owns the socket; None leaves it as created.
        group: its group.
        allowed_uids: users that may connect; if empty, those whom the socket's mode admits.
        limits: what one client may use.
        tcp: the TCP listener, or None.
        rights: the rules; without any, every client may do everything.
    """

    socket: Path | None = None
    mode: int = 0o660
    owner: str | None = None
    group: str | None = None
    allowed_uids: tuple[int, ...] = ()
    limits: Limits = field(default_factory=Limits)
    tcp: TcpConfig | None = None
    rights: tuple[RightsRule, ...] = ()


class ServiceError(EscapedMessage, Exception):
    """Raised when a service cannot start: its socket, its certificates or its tokens are wrong."""
