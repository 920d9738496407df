"""TLS and tokens: how a client over TCP shows who it is."""

from __future__ import annotations

import hmac
import ssl
import stat
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio
from anyio.abc import SocketStream
from anyio.streams.tls import TLSStream

from memhub.service import wire
from memhub.service.server.parting import part_tls
from memhub.service.settings import ServiceError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from pathlib import Path

    from memhub.service.server.parting import Part
    from memhub.service.settings import TcpConfig

_FAILURES: Final = (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream)


def server_context(tcp: TcpConfig) -> ssl.SSLContext | None:
    """The TLS context of a listener, or None where it serves without TLS.

    Args:
        tcp: the listener.

    Raises:
        ServiceError: a file cannot be loaded, clients could not prove who they are, or the
            connection would be readable by others.
    """
    if tcp.ca is None and tcp.token_file is None:
        raise ServiceError(
            "a service over TCP needs client certificates ('ca') or tokens ('token_file'): "
            "without them it cannot tell who a client is"
        )

    if tcp.exposed:
        raise ServiceError(
            f"TCP on {tcp.host!r} needs TLS ('certfile', 'keyfile'): it is not a loopback address, "
            "and tokens would be sent unencrypted"
        )

    if tcp.certfile is None:
        return None

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([wire.ALPN])
    try:
        context.load_cert_chain(tcp.certfile, tcp.keyfile)
        if tcp.ca is not None:
            context.load_verify_locations(tcp.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise ServiceError(
            f"the certificates of the TCP listener cannot be used: {error}"
        ) from error

    return context


class Tokens:
    """The tokens of one file: a line `NAME:TOKEN` each; `#` begins a comment line.

    Args:
        path: the file; only its owner and group may have access.

    Raises:
        ServiceError: it cannot be read, others can read it, or a line is malformed.
    """

    def __init__(self, path: Path) -> None:
        try:
            mode = path.stat().st_mode
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ServiceError(f"the token file {path} cannot be read: {error}") from error

        if stat.S_IMODE(mode) & stat.S_IRWXO:
            raise ServiceError(f"the token file {path} can be accessed by every user: chmod o-rwx")

        self._tokens = dict(self._parse_tokens(path, lines))

    def _parse_tokens(self, path: Path, lines: list[str]) -> Iterable[tuple[bytes, str]]:
        for number, line in enumerate(lines, 1):
            if not line.strip() or line.startswith("#"):
                continue

            name, colon, token = line.strip().partition(":")
            if not colon or not name or len(token) < 16:
                raise ServiceError(
                    f"line {number} of {path} is not NAME:TOKEN, the token at least 16 characters"
                )

            yield token.encode(), name

    def name_of(self, shown: bytes) -> str | None:
        """The name of a token that a client showed, or None; takes equally long for every token."""
        found = None
        for token, name in self._tokens.items():
            if hmac.compare_digest(token, shown):
                found = name

        return found


class TlsFailed(Exception):
    """Raised when TLS with a client failed; the message says why."""


async def accept_tls(
    sock: socket.socket, context: ssl.SSLContext, timeout: float
) -> tuple[TLSStream, Part]:
    """Do the server's side of a TLS handshake.

    Args:
        sock: the connection; the stream has a duplicate of it.
        context: the service's certificate, and whom it trusts.
        timeout: seconds.

    Returns:
        the stream, and what ends it in order.

    Raises:
        TlsFailed: the handshake failed, or took too long.
    """
    raw = await SocketStream.from_socket(sock.dup())
    try:
        with anyio.fail_after(timeout):
            return await _shake_hands(raw, context)
    except BaseException as error:
        with anyio.CancelScope(shield=True):
            await anyio.aclose_forcefully(raw)

        if not isinstance(error, _FAILURES):
            raise

        cause = error.__cause__ or error
        raise TlsFailed(f"TLS failed: {type(cause).__name__} {cause}".rstrip()) from error


async def _shake_hands(raw: SocketStream, context: ssl.SSLContext) -> tuple[TLSStream, Part]:
    """The handshake itself; a client that fails is sent the alert that says why.

    `TLSStream.wrap` would leave the alert unsent.

    Raises:
        ssl.SSLError: the client showed no certificate that is accepted, or does not talk TLS.
        anyio.BrokenResourceError: the connection broke.
    """
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_side=True)
    done = False
    while not done:
        try:
            tls.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            pass
        finally:
            if outgoing.pending:
                await raw.send(outgoing.read())

        if not done:
            try:
                incoming.write(await raw.receive())
            except anyio.EndOfStream:
                incoming.write_eof()

    stream = TLSStream(
        raw, standard_compatible=False, _ssl_object=tls, _read_bio=incoming, _write_bio=outgoing
    )

    return stream, partial(part_tls, raw, tls, outgoing)
