"""The listening sockets. A file or a socket in use at the path is never replaced."""

from __future__ import annotations

import grp
import os
import pwd
import socket
import stat
from typing import TYPE_CHECKING, Final

from memhub.service.server.tls import Tokens, server_context
from memhub.service.settings import ServiceError

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.service.settings import ServiceConfig, TcpConfig

_BACKLOG: Final = 4096
_PATH_MAX: Final = 107


class Endpoints:
    """Where a service listens, and what it needs for it; nothing is accepted yet.

    Args:
        settings: where to listen, and with which certificates and tokens.
        socket_path: path of the Unix socket, in place of the settings' own.
        replace_stale: remove a socket at that path on which no service answers.

    Attributes:
        unix: the Unix socket, or None.
        inet: the TCP socket, or None.
        context: how TCP connections are encrypted, or None.
        tokens: who may use TCP, or None.
        addresses: the addresses, as clients give them to `connect`.

    Raises:
        ServiceError: it cannot listen; the message says why.
    """

    def __init__(
        self,
        settings: ServiceConfig,
        socket_path: Path | None = None,
        *,
        replace_stale: bool = False,
    ) -> None:
        path, tcp = socket_path or settings.socket, settings.tcp
        if path is None and tcp is None:
            raise ServiceError(
                "the service has no address to listen on: give it a socket path or a TCP address"
            )

        self.context = None if tcp is None else server_context(tcp)
        self.tokens = None if tcp is None or tcp.token_file is None else Tokens(tcp.token_file)
        self.unix = (
            None if path is None else UnixListener(path, settings, replace_stale=replace_stale)
        )
        self.addresses: tuple[str, ...] = () if self.unix is None else (self.unix.address,)
        self.inet: socket.socket | None = None
        try:
            self.inet = None if tcp is None else tcp_listener(tcp)
        except ServiceError:
            self.close()
            raise

        if self.inet is not None:
            host, port = self.inet.getsockname()[:2]
            self.addresses += (f"tcp:{host}:{port}",)

    def close(self) -> None:
        """Stop listening. Twice is once."""
        unix, self.unix = self.unix, None
        inet, self.inet = self.inet, None
        if unix is not None:
            unix.close()

        if inet is not None:
            inet.close()


class UnixListener:
    """A listening Unix socket at a path.

    Args:
        path: where.
        settings: its mode, owner and group.
        replace_stale: remove a socket that refuses connections.

    Raises:
        ServiceError: something is there already, or the socket cannot be made.
    """

    def __init__(self, path: Path, settings: ServiceConfig, *, replace_stale: bool) -> None:
        self.path = path
        check_path(path, replace_stale=replace_stale)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind_socket(settings)
        except (OSError, LookupError) as error:
            self.socket.close()
            raise ServiceError(f"{path} cannot be made a listening socket: {error}") from error

        self._inode = path.lstat().st_ino

    def _bind_socket(self, settings: ServiceConfig) -> None:
        before = os.umask(0o777 & ~settings.mode)
        try:
            self.socket.bind(str(self.path))
        finally:
            os.umask(before)

        if settings.owner is not None or settings.group is not None:
            uid = -1 if settings.owner is None else pwd.getpwnam(settings.owner).pw_uid
            gid = -1 if settings.group is None else grp.getgrnam(settings.group).gr_gid
            os.chown(self.path, uid, gid)

        self.path.chmod(settings.mode)
        self.socket.listen(_BACKLOG)
        self.socket.setblocking(False)

    @property
    def address(self) -> str:
        """The address, as clients give it."""
        return f"unix:{self.path}"

    def close(self) -> None:
        """Stop listening, and remove the path if it still is this socket. Twice is once."""
        if self.socket.fileno() < 0:
            return

        self.socket.close()
        try:
            if self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except OSError:
            return


def check_path(path: Path, *, replace_stale: bool) -> None:
    """Check that a socket can be made at a path.

    Raises:
        ServiceError: it cannot; the message says why, and what to do.
    """
    if len(os.fsencode(path)) > _PATH_MAX:
        raise ServiceError(f"{path} is longer than a socket path may be ({_PATH_MAX} bytes)")

    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise ServiceError(f"{path} cannot be examined: {error.strerror}") from error

    if not stat.S_ISSOCK(mode):
        raise ServiceError(f"{path} exists and is not a socket; it is not replaced")

    if _is_answered(path):
        raise ServiceError(f"{path} is in use: a service answers there")

    if not replace_stale:
        raise ServiceError(
            f"{path} is a stale socket: no service answers there. Start with --replace-stale to "
            "remove it"
        )

    path.unlink()


def _is_answered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy, or not accessible to this user; either way in use

    return True


def tcp_listener(tcp: TcpConfig) -> socket.socket:
    """A listening TCP socket.

    Raises:
        ServiceError: the address cannot be bound.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            tcp.host, tcp.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind)
    except OSError as error:
        raise ServiceError(f"{tcp.host}:{tcp.port} cannot be listened on: {error}") from error

    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ServiceError(f"{tcp.host}:{tcp.port} cannot be listened on: {error}") from error

    return listener
