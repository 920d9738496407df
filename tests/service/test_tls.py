"""Clients over TCP show a certificate or a token; nobody else gets in."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

import anyio
import pytest
import trustme
from anyio.streams.tls import TLSAttribute

from memhub.errors import AccessDenied, NotPermitted, NotSupported
from memhub.service.blocking import BlockingClient
from memhub.service.client import connect
from memhub.service.server.tls import Tokens
from memhub.service.settings import Limits, RightsRule, ServiceError, TcpConfig
from memhub.service.wire import ALPN
from service.service_rig import MIB, lab

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "a-token-of-many-letters"


def client_context(
    authority: trustme.CA, name: str | None, signer: trustme.CA | None = None
) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if name is not None:
        (signer or authority).issue_cert(f"{name}@lab", common_name=name).configure_cert(context)

    return context


def tcp_address(addresses: tuple[str, ...]) -> str:
    return next(a for a in addresses if a.startswith("tcp:")).replace("127.0.0.1", "localhost")


async def test_a_certificate_says_who_a_client_is(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    rights = (RightsRule(subject="rig-a", allow=frozenset({"read-memory", "read-ranges"})),)
    tcp = TcpConfig(**files)
    async with lab(tmp_path, tcp=tcp, rights=rights) as it:
        address = tcp_address(it.server.addresses)
        async with connect(address, ssl_context=client_context(authority, "rig-a")) as hub:
            handle = await hub.open("/dev/mem")
            assert len(await handle.pread(3 * MIB, 0)) == 3 * MIB
            with pytest.raises(NotSupported, match="over a Unix socket only"):
                await handle.map()

        async with connect(address, ssl_context=client_context(authority, "rig-b")) as hub:
            with pytest.raises(NotPermitted, match=r"certificate .*CN=rig-b"):
                await hub.open("/dev/mem")

        (first, _) = it.records("service.connect")
        assert "CN=rig-a" in first["peer"]
        assert (first["pid"], first["uid"]) == (None, None)


@pytest.mark.parametrize("stranger", [None, "foreign"])
async def test_without_a_certificate_of_the_authority_nobody_gets_in(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA, stranger: str | None
) -> None:
    context = client_context(authority, stranger, trustme.CA() if stranger else None)
    async with lab(tmp_path, tcp=TcpConfig(**files)) as it:
        with pytest.raises((ConnectionError, ssl.SSLError, anyio.BrokenResourceError)):
            async with connect(tcp_address(it.server.addresses), ssl_context=context):
                pass

        with anyio.fail_after(20):
            while not it.records("service.reject"):
                await anyio.lowlevel.checkpoint()

        assert "TLS failed" in it.records("service.reject")[0]["reason"]
        async with it.connect() as hub:
            await hub.ping()


async def test_whoever_talks_no_tls_is_cut_off(tmp_path: Path, files: dict[str, Any]) -> None:
    limits = Limits(handshake_timeout=0.2)
    async with lab(tmp_path, tcp=TcpConfig(**files), limits=limits) as it:
        port = int(it.server.addresses[1].rpartition(":")[2])
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            with anyio.fail_after(20):
                try:
                    while await stream.receive():
                        pass
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    pass

        async with it.connect() as hub:
            await hub.ping()


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"# who\nci:{TOKEN}\nlab:another-token-as-long\n")
    path.chmod(0o600)

    return path


async def test_a_token_says_who_a_client_is(tmp_path: Path, tokens: Path) -> None:
    rights = (RightsRule(token="ci", allow=frozenset({"read-memory"})),)
    async with lab(tmp_path, tcp=TcpConfig(token_file=tokens), rights=rights) as it:
        address = tcp_address(it.server.addresses)
        async with connect(address, token=TOKEN) as hub:
            assert await (await hub.open("/dev/mem")).pread(1, 0) == b"\0"

        for wrong, reason in (("", "a token is needed"), ("guess", "the token is not known")):
            with pytest.raises(AccessDenied, match=reason):
                async with connect(address, token=wrong):
                    pass

        assert "token ci" in it.records("service.connect")[0]["peer"]


async def test_the_blocking_client_speaks_tls(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    def script(address: str, context: ssl.SSLContext) -> int:
        with BlockingClient(address, ssl_context=context) as client:
            return len(client.open("/dev/mem").pread(2 * MIB, 0))

    async with lab(tmp_path, tcp=TcpConfig(**files)) as it:
        address, context = tcp_address(it.server.addresses), client_context(authority, "script")
        assert await anyio.to_thread.run_sync(script, address, context) == 2 * MIB


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ca": None}, "needs client certificates"),
        ({"keyfile": None}, "cannot be used"),
        ({"token_file": "open"}, "can be accessed by every user"),
        ({"token_file": "short"}, "line 1 of .* is not NAME:TOKEN"),
        ({"token_file": "missing"}, "cannot be read"),
    ],
)
async def test_a_listener_that_cannot_tell_its_clients_apart_does_not_start(
    tmp_path: Path, files: dict[str, Any], changes: dict[str, Any], reason: str
) -> None:
    for name, text, mode in (("open", f"ci:{TOKEN}", 0o644), ("short", "ci:x", 0o600)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)

    changes = {k: tmp_path / v if isinstance(v, str) else v for k, v in changes.items()}
    with pytest.raises(ServiceError, match=reason):
        async with lab(tmp_path, tcp=TcpConfig(**{**files, **changes})):
            pass


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "rig.example", ""])
async def test_without_tls_nothing_is_served_beyond_this_machine(
    tmp_path: Path, tokens: Path, host: str
) -> None:
    with pytest.raises(ServiceError, match=r"needs TLS .* tokens would be sent unencrypted"):
        async with lab(tmp_path, tcp=TcpConfig(host=host, token_file=tokens)):
            pass


async def test_with_tls_any_address_is_served(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    context = client_context(authority, "rig-a")
    async with lab(tmp_path, tcp=TcpConfig(host="0.0.0.0", **files)) as it:
        address = tcp_address(it.server.addresses).replace("0.0.0.0", "localhost")
        async with connect(address, ssl_context=context) as hub:
            await hub.ping()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_needs_no_tls(host: str) -> None:
    assert not TcpConfig(host=host).exposed


def test_the_name_of_a_token(tokens: Path) -> None:
    found = Tokens(tokens)

    assert [found.name_of(t) for t in (TOKEN.encode(), b"", b"x")] == ["ci", None, None]


@pytest.mark.parametrize(
    ("name", "alert"), [(None, "certificate.required"), ("foreign", "unknown.ca")]
)
async def test_a_client_that_fails_tls_is_told_by_an_alert(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA, name: str | None, alert: str
) -> None:
    context = client_context(authority, name, trustme.CA() if name else None)
    async with lab(tmp_path, tcp=TcpConfig(**files)) as it:
        host, port = tcp_address(it.server.addresses).split(":")[1:]
        async with await anyio.connect_tcp(host, int(port)) as stream:
            with anyio.fail_after(20), pytest.raises(ssl.SSLError, match=f"(?i){alert}"):
                await _shake_hands(stream, context)


async def _shake_hands(stream: Any, context: ssl.SSLContext) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    step: Any = tls.do_handshake
    while True:
        try:
            step()
            step = tls.read
        except ssl.SSLWantReadError:
            pass

        if outgoing.pending:
            await stream.send(outgoing.read())

        try:
            incoming.write(await stream.receive())
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            incoming.write_eof()


async def test_a_client_may_name_the_protocol_in_its_tls_handshake(
    tmp_path: Path, files: dict[str, Any], authority: trustme.CA
) -> None:
    async with lab(tmp_path, tcp=TcpConfig(**files)) as it:
        host, port = tcp_address(it.server.addresses).split(":")[1:]
        for offered, chosen in (([ALPN, "http/1.1"], ALPN), (["h2"], None), ([], None)):
            context = client_context(authority, "rig-a")
            if offered:
                context.set_alpn_protocols(offered)

            async with await anyio.connect_tcp(
                host, int(port), ssl_context=context, tls_standard_compatible=False
            ) as stream:
                found = stream.extra(TLSAttribute.alpn_protocol)
                assert found == chosen
