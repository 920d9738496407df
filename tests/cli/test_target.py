"""Commands on a service over TCP: certificates, tokens, and what is wrong with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trustme

from memhub.service.settings import ServiceConfig, TcpConfig
from service.served import served
from shell.kit import PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

TOKEN = "a-token-of-many-letters"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The files of an authority, a server and a client it signed."""
    authority = trustme.CA()
    server, client = authority.issue_cert("localhost"), authority.issue_cert("rig@lab")
    authority.cert_pem.write_to_path(str(tmp_path / "ca"))
    server.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server"))
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "client"))
    (tmp_path / "tokens").write_text(f"rig:{TOKEN}\n")
    (tmp_path / "tokens").chmod(0o600)
    (tmp_path / "token").write_text(f"{TOKEN}\n")

    return tmp_path


@pytest.fixture
def addresses() -> list[str]:
    return []


@pytest.fixture(params=["certificates", "tokens"])
def shows(
    request: pytest.FixtureRequest, folder: Path, addresses: list[str]
) -> Iterator[list[str]]:
    """A service that wants one of them, and the options that show it."""
    ca, cert = folder / "ca", folder / "server"
    if request.param == "certificates":
        tcp, extra = (
            TcpConfig(certfile=cert, keyfile=cert, ca=ca),
            ["--cert", str(folder / "client")],
        )
    else:
        tokens = folder / "tokens"
        tcp = TcpConfig(certfile=cert, keyfile=cert, token_file=tokens)
        extra = ["--token-file", str(folder / "token")]

    with served(folder / "s", PAT, settings=ServiceConfig(tcp=tcp), addresses=addresses):
        yield ["--ca", str(ca), *extra]


def test_a_command_gets_in_with_what_the_service_wants(
    run: Run, shows: list[str], addresses: list[str]
) -> None:
    done = run("hexdump", "--connect", addresses[1], *shows, "-n", 16, "0")

    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("00000000  00 00 ")
    listed = run("memcontrol", "list", "--connect", addresses[1], *shows)
    assert listed == (0, "", "")


def test_a_command_without_it_is_refused(run: Run, shows: list[str], addresses: list[str]) -> None:
    code, _, err = run("hexdump", "--connect", addresses[1], *shows[:2], "0")

    assert code in (1, 2)
    assert err.startswith("memhub: ")
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("option", ["--ca", "--cert", "--token-file"])
def test_a_file_that_cannot_be_used_is_named(run: Run, folder: Path, option: str) -> None:
    wrong = folder / "nosuch"
    code, _, err = run("top", "--once", "--connect", "tcp:localhost:1", option, wrong)

    assert code == 2
    assert f"{wrong}" in err
