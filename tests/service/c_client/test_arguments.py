"""Arguments of the client in C that are wrong or NULL: EINVAL or the empty text, never a crash."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from memhub.service.blocking import BlockingClient
from service.c_client.conftest import CONFIG, TOKEN
from service.process_rig import Served

if TYPE_CHECKING:
    from pathlib import Path

    from service.c_client.c_rig import Driven
    from service.c_client.conftest import Service

pytestmark = pytest.mark.campaign

EINVAL = 22
PORT_RULE = "a port is a decimal number from 1 to 65535"
FORM_RULE = "one of TCP is tcp:HOST:PORT"
HOST_RULE = "a host has at most 255 bytes"
PATH_RULE = "the path is empty"


def refused(driven: Driven, *words: object) -> str:
    """The reason of a command that this side refuses with EINVAL."""
    answer = driven.ask(*words)
    assert (answer["code"], answer["local"], answer["again"]) == (EINVAL, 1, 0), answer

    return str(answer["reason"])


@pytest.mark.parametrize(
    ("address", "rule"),
    [
        *(
            (f"tcp:127.0.0.1:{port}", PORT_RULE)
            for port in ("", "0", "00000", "65536", "99999", "004000", "4294967297")
        ),
        *(
            (f"tcp:127.0.0.1:{port}", PORT_RULE)
            for port in ("abc", "http", "+80", "-1", "80x", "0x50", "1" * 40)
        ),
        ("tcp:[::1]:", PORT_RULE),
        ("tcp:[::1]", PORT_RULE),
        ("tcp:[]:80", FORM_RULE),
        ("tcp::80", FORM_RULE),
        ("tcp:80", FORM_RULE),
        ("tcp:", FORM_RULE),
        ("unix:", PATH_RULE),
    ],
)
def test_a_wrong_address_is_refused(driven: Driven, address: str, rule: str) -> None:
    assert refused(driven, "connect", address) == f'"{address}" is not an address: {rule}'


def test_an_address_that_is_empty_null_or_too_long(driven: Driven) -> None:
    assert refused(driven, "connect", "") == "the address is empty"
    assert refused(driven, "connect", "NULL") == "the address is NULL"
    assert refused(driven, "connect", f"tcp:{'h' * 256}:80").endswith(HOST_RULE)


def test_a_port_beyond_65535_reaches_nobody(driven: Driven) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        refused(driven, "connect", f"tcp:127.0.0.1:{port + 65536}", "rig", TOKEN)
        with pytest.raises(BlockingIOError):
            listener.accept()


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_an_ipv6_host_in_brackets(driven: Driven, tmp_path: Path, backend: str) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this computer has no IPv6")

    (tmp_path / "lab.toml").write_text(CONFIG.replace("port = 0", 'port = 0\nhost = "::1"'))
    (tmp_path / "tokens").write_text(f"ci:{TOKEN}\n")
    (tmp_path / "tokens").chmod(0o600)
    with Served(tmp_path, "--backend", backend, "--grace", "5") as served:
        (tcp,) = [word.rstrip(",") for word in served.ready().split() if word.startswith("tcp:")]
        port = tcp.rpartition(":")[2]
        driven.connect(f"tcp:[::1]:{port}", "rig", TOKEN)
        driven.done("ping")


def test_texts_that_are_null(service: Service, driven: Driven) -> None:
    assert refused(driven, "connect", service.socket, "rig", "NULL") == (
        "the token is NULL, and its length is not 0"
    )
    driven.connect(service.socket, "NULL", "")
    assert refused(driven, "open", 1, "NULL", 1, 0) == "the path is NULL"
    with BlockingClient(service.socket, label="other") as client, client.open("/dev/mem") as other:
        other.claim(0x1000, 0x1000)
        assert driven.done("break", 0, 0x1000, 0x1000, 0, "NULL")["ended"] == 1

    everything = driven.done("report", "", "")["json"]
    assert driven.done("report", "NULL", "NULL")["json"].keys() == everything.keys()
    driven.done("unsubscribe", driven.done("subscribe", "NULL", 0, 0, 0, 0)["subscription"])
    driven.done("goodbye", 20_000, "NULL")


@pytest.mark.parametrize(
    ("text", "member", "found"),
    [('{"a":"7"}', "a", [1, 1]), ("NULL", "a", [0, 0]), ('{"a":"7"}', "NULL", [0, 0])],
)
def test_json_that_is_null(driven: Driven, text: str, member: str, found: list[int]) -> None:
    assert driven.done("json", text, member)["found"] == found
