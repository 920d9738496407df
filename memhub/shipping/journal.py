r"""Records of an audit log as entries of systemd's journal, in its native protocol.

An entry is one datagram of fields. A value without a newline is `NAME=value\n`; any other is
`NAME\n`, its size as 64 bits in little-endian order, the value, and `\n`. An entry that is too
large for a datagram goes as a sealed file in memory, whose descriptor is sent.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from array import array
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.fields import FIELDS
from memhub.shipping.otlp import as_hexadecimal, is_warning
from memhub.shipping.retry import TryAgain
from memhub.shipping.sentence import record_sentence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memhub.shipping.follow import Found
    from memhub.shipping.retry import Retry

#: Where the journal listens.
JOURNAL_SOCKET: Final = "/run/systemd/journal/socket"

#: Priorities of syslog(3).
_WARNING: Final = "4"
_INFO: Final = "6"

#: Members that are not fields of their own: the schema's version.
_LEFT_OUT: Final = frozenset({"v"})

#: What the journal takes as the name of a field.
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")

#: Errors of a datagram that is too large.
_TOO_LARGE: Final = frozenset({errno.EMSGSIZE, errno.ENOBUFS})

#: Errors while the journal is being started again.
_FOR_NOW: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EAGAIN})


def journal_fields(record: Mapping[str, Any], log_id: str) -> Iterator[tuple[str, str]]:
    """The fields of a record's entry, by name; the table is in `docs/shipping.md`.

    Args:
        record: as `read_records` gives it, with the members of their types.
        log_id: identity of its log.
    """
    yield "MESSAGE", record_sentence(record)
    yield "PRIORITY", _WARNING if is_warning(record) else _INFO
    yield "SYSLOG_IDENTIFIER", "memhub"
    if log_id and "log_id" not in record:
        yield "MEMHUB_LOG_ID", log_id

    number = _host_errno(record.get("errno"))
    if number is not None:
        yield "ERRNO", str(number)

    others: dict[str, Any] = {}
    for name, value in record.items():
        if value is None or name in _LEFT_OUT:
            continue

        if name in FIELDS:
            yield f"MEMHUB_{name.upper()}", _text(as_hexadecimal(name, value))
        else:
            others[name] = value

    if others:
        yield "MEMHUB_OTHERS", _text(others)


def encode_entry(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields in the journal's native protocol.

    Args:
        fields: names and values.

    Raises:
        ValueError: a name is none that the journal takes.
    """
    parts: list[bytes] = []
    for name, text in fields:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not the name of a journal field")

        head, value = name.encode(), text.encode()
        if b"\n" in value:
            parts += head, b"\n", len(value).to_bytes(8, "little"), value, b"\n"
        else:
            parts += head, b"=", value, b"\n"

    return b"".join(parts)


def _text(value: object) -> str:
    if isinstance(value, str):
        return value

    return orjson.dumps(value).decode()


def _host_errno(name: str | None) -> int | None:
    """This host's number of an error that the log names as FreeBSD does."""
    return None if name is None else getattr(errno, name, None)


class Journal:
    """The journal's socket.

    Args:
        path: the socket.
        retry: repeats what failed while the journal is being started again.

    Attributes:
        refused: always 0.
    """

    def __init__(self, path: str = JOURNAL_SOCKET, *, retry: Retry) -> None:
        self.refused = 0
        self._path = path
        self._retry = retry
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def send(self, batch: Sequence[Found]) -> None:
        """Send an entry for each record; the call waits while the journal's queue is full.

        Raises:
            ShippingFailed: nobody listens at the socket.
            OSError: it cannot be sent for another reason.
        """
        for it in batch:
            entry = encode_entry(journal_fields(it.record, it.log_id))
            self._retry.run(lambda entry=entry: self._attempt(entry))  # type: ignore[misc]

    def close(self) -> None:
        """Close the socket; a second call does nothing."""
        self._socket.close()

    def _attempt(self, entry: bytes) -> None:
        try:
            try:
                self._socket.sendto(entry, self._path)
            except OSError as error:
                if error.errno not in _TOO_LARGE:
                    raise

                self._send_file(entry)
        except OSError as error:
            if error.errno in _FOR_NOW:
                raise TryAgain(f"{self._path}: {error.strerror}") from error

            raise OSError(error.errno, error.strerror, self._path) from error

    def _send_file(self, entry: bytes) -> None:
        """Send an entry as a sealed file in memory, which the journal reads in place."""
        fd = os.memfd_create("memhub-entry", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            rest = memoryview(entry)
            while rest:
                rest = rest[os.write(fd, rest) :]

            os.lseek(fd, 0, os.SEEK_SET)
            seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals | fcntl.F_SEAL_SEAL)
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", [fd]))]
            self._socket.sendmsg([], rights, 0, self._path)
        finally:
            os.close(fd)
