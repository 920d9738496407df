"""The blocking client when something breaks off in the middle."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def client(tmp_path: Path) -> Iterator[BlockingClient]:
    with served(tmp_path / "s", PAT), BlockingClient(tmp_path / "s") as client:
        yield client


def interrupt(client: BlockingClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Ctrl-C come in between what has been read and its use."""
    receive = client._receive

    def interrupted() -> bytes:
        receive()
        raise KeyboardInterrupt

    monkeypatch.setattr(client, "_receive", interrupted)


def test_an_interrupted_request_ends_the_connection(
    client: BlockingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer may be half read, so nothing that follows could be trusted."""
    handle = client.open("/dev/mem")
    interrupt(client, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        handle.pread(64, 0)

    with pytest.raises(ConnectionError, match="a request was interrupted"):
        handle.pread(64, 0)


def test_an_interrupt_is_what_comes_out_of_the_blocks_it_ends(
    client: BlockingClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def script() -> None:
        with client.open("/dev/mem") as handle:
            interrupt(client, monkeypatch)
            handle.pread(64, 0)

    with pytest.raises(KeyboardInterrupt):
        script()


def test_a_thread_that_waits_for_its_answer_learns_that_the_connection_was_ended(
    client: BlockingClient, tmp_path: Path
) -> None:
    handle, errors = client.open("/dev/mem"), list[str]()
    handle.claim(0x1000, 0x1000)
    rival = BlockingClient(tmp_path / "s")
    other = rival.open("/dev/mem")

    def wait() -> None:
        try:
            other.wait_free(0x1000, 0x1000, 60)
        except ConnectionError as error:
            errors.append(str(error))

    waiter = threading.Thread(target=wait)
    waiter.start()
    while not client.report()["machines"][0]["waits"]:
        pass

    rival.close()
    waiter.join(10)

    assert len(errors) == 1
    assert "this client closed it" in errors[0]


def test_a_handle_that_outlives_its_service_says_so_when_it_is_closed(tmp_path: Path) -> None:
    with served(tmp_path / "s", PAT):
        client = BlockingClient(tmp_path / "s")
        handle = client.open("/dev/mem")

    with pytest.raises(ConnectionError), handle:
        pass

    client.close()
