"""Records as journal entries, received on a socket of the test's own."""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.shipping.failure import ShippingFailed
from memhub.shipping.follow import Found
from memhub.shipping.journal import Journal, encode_entry, journal_fields
from memhub.shipping.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECORD = {
    "v": 1,
    "seq": 7,
    "event": "request.set",
    "wall_ns": 5,
    "machine": "pc",
    "process": None,
    "base": 0xFFFF_FFFF_8000_0000,
    "length": 4096,
    "slots": [1, 2],
    "errno": "EBUSY",
    "reason": "two\nlines",
    "hash": "ab",
    "not in the schema": 3,
}
NAMES = st.from_regex(r"[A-Z][A-Z0-9_]{0,63}", fullmatch=True)


def decode_entry(data: bytes) -> list[tuple[str, str]]:
    """The fields of an entry, as the journal reads them."""
    found = []
    while data:
        line, _, rest = data.partition(b"\n")
        name, mark, value = line.partition(b"=")
        if mark:
            data = rest
        else:
            size = int.from_bytes(rest[:8], "little")
            value, end = rest[8 : 8 + size], rest[8 + size : 9 + size]
            assert end == b"\n"
            data = rest[9 + size :]

        found.append((name.decode(), value.decode()))

    return found


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "socket"))
        sock.settimeout(20)
        yield sock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(str(tmp_path / "socket"), retry=Retry(patience=0))
    yield journal
    journal.close()


def test_a_record_is_an_entry_with_the_fields_that_the_journal_knows(
    listening: socket.socket, journal: Journal
) -> None:
    journal.send([Found(b"", RECORD, "a-log")])

    assert dict(decode_entry(listening.recv(1 << 16))) == {
        "MESSAGE": "request.set pc 0xffffffff80000000+4K EBUSY: two lines",
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "memhub",
        "ERRNO": str(errno.EBUSY),
        "MEMHUB_LOG_ID": "a-log",
        "MEMHUB_SEQ": "7",
        "MEMHUB_EVENT": "request.set",
        "MEMHUB_WALL_NS": "5",
        "MEMHUB_MACHINE": "pc",
        "MEMHUB_BASE": "0xffffffff80000000",
        "MEMHUB_LENGTH": "4096",
        "MEMHUB_SLOTS": "[1,2]",
        "MEMHUB_ERRNO": "EBUSY",
        "MEMHUB_REASON": "two\nlines",
        "MEMHUB_HASH": "ab",
        "MEMHUB_OTHERS": '{"not in the schema":3}',
    }


def test_what_was_granted_has_the_priority_of_information() -> None:
    fields = dict(journal_fields({**RECORD, "errno": None}, "a-log"))

    assert fields["PRIORITY"] == "6"
    assert "ERRNO" not in fields


def test_an_error_that_this_host_has_no_number_for_keeps_its_name() -> None:
    fields = dict(journal_fields({**RECORD, "errno": "EDOOFUS"}, "a-log"))

    assert fields["MEMHUB_ERRNO"] == "EDOOFUS"
    assert "ERRNO" not in fields


@given(st.lists(st.tuples(NAMES, st.text(st.characters(exclude_categories=["Cs"])))))
def test_every_text_comes_through(fields: list[tuple[str, str]]) -> None:
    assert decode_entry(encode_entry(fields)) == fields


@pytest.mark.parametrize("name", ["", "a", "_A", "1A", "A=B", "A\n", "A" * 65])
def test_a_name_that_the_journal_does_not_take_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of a journal field"):
        encode_entry([(name, "x")])


def test_an_entry_that_is_too_large_is_sent_as_a_sealed_file(
    listening: socket.socket, journal: Journal
) -> None:
    large = {**RECORD, "reason": "x" * (4 << 20)}
    journal.send([Found(b"", large, "a-log"), Found(b"", RECORD, "a-log")])

    data, (fd,), _, _ = socket.recv_fds(listening, 1 << 16, 1)
    with open(fd, "rb") as file:  # noqa: PTH123 - a descriptor
        assert data == b""
        assert dict(decode_entry(file.read()))["MEMHUB_REASON"] == large["reason"]
        with pytest.raises(PermissionError):
            os.truncate(file.fileno(), 0)

    assert dict(decode_entry(listening.recv(1 << 16)))["MEMHUB_SEQ"] == "7"


def test_a_journal_that_is_not_there_is_waited_for_and_then_named(
    tmp_path: Path, journal: Journal
) -> None:
    with pytest.raises(ShippingFailed, match="socket: No such file or directory; given up"):
        journal.send([Found(b"", RECORD, "")])

    path = str(tmp_path / "later")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        retry = Retry(patience=9, wait=lambda _: sock.bind(path))
        late = Journal(path, retry=retry)
        late.send([Found(b"", RECORD, "")])
        late.close()
        assert b"MEMHUB_SEQ=7\n" in sock.recv(1 << 16)
