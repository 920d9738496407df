"""Who a client is to the service, and what that lets it do on each machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.errors import NotPermitted
from memhub.service.link import peer_of

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable, Mapping

    from memhub.service.settings import Right, RightsRule
    from memhub.service.subject import Subject

READ_MEMORY: Final = 1
WRITE_MEMORY: Final = 2
READ_RANGES: Final = 4
SET_RANGES: Final = 8
BREAK_CLAIMS: Final = 16
INJECT_FAULTS: Final = 32
RESTORE_MACHINES: Final = 64
EVERYTHING: Final = 127

#: Characters of the name that a client gives itself.
_LABEL_MAX: Final = 64

_BITS: Final[Mapping[Right, int]] = {
    "read-memory": READ_MEMORY,
    "write-memory": WRITE_MEMORY,
    "read-ranges": READ_RANGES,
    "set-ranges": SET_RANGES,
    "break-claims": BREAK_CLAIMS,
    "inject-faults": INJECT_FAULTS,
    "restore-machines": RESTORE_MACHINES,
}
_WORDS: Final = {bit: word for word, bit in _BITS.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who the client is, by the kernel, its certificate or its token.

    Attributes:
        pid: process id, on a local socket.
        uid: user id, on a local socket.
        subject: subject of the client certificate.
        token: name of the token that the client showed.
        address: where it connects from, over TCP.
    """

    pid: int | None = None
    uid: int | None = None
    subject: Subject | None = None
    token: str | None = None
    address: str | None = None

    def __str__(self) -> str:
        facts = (
            ("uid", self.uid),
            ("certificate", self.subject),
            ("token", self.token),
            ("at", self.address),
        )

        return ", ".join(f"{word} {value}" for word, value in facts if value is not None)

    def fits(self, rule: RightsRule) -> bool:
        """Whether a rule applies to this client."""
        if rule.uid is not None:
            return rule.uid == self.uid

        if rule.certificate is not None:
            return self.subject is not None and rule.certificate.fits(self.subject)

        return rule.token is not None and rule.token == self.token


def peer_at(sock: socket.socket, address: Any) -> Peer:  # noqa: ANN401 - as accept() gives it
    """Who is at the other end, before it has shown anything.

    Args:
        sock: the connection.
        address: its remote address; a Unix socket's is empty.
    """
    if address:
        return Peer(address="{}:{}".format(*address[:2]))

    pid, uid = peer_of(sock)

    return Peer(pid=pid, uid=uid)


def right_words(rights: int) -> list[Right]:
    """The names of rights.

    Args:
        rights: their bits.
    """
    return [word for bit, word in _WORDS.items() if bit & rights]


def rights_in_file(rights: int) -> int:
    """What a client may do in a file that shows ranges as text, as `/proc/mtrr` is."""
    kept = rights & ~(READ_MEMORY | WRITE_MEMORY)
    kept |= READ_MEMORY if rights & READ_RANGES else 0

    return kept | (WRITE_MEMORY if rights & SET_RANGES else 0)


def missing_in_file(missing: int) -> int:
    """The rights that a client lacks, of those that such a file asks for."""
    kept = missing & ~(READ_MEMORY | WRITE_MEMORY)
    kept |= READ_RANGES if missing & READ_MEMORY else 0

    return kept | (SET_RANGES if missing & WRITE_MEMORY else 0)


class Grants:
    """What one client may do, machine by machine.

    Args:
        rules: the service's rules; without any, every client may do everything.
        peer: the client.
    """

    def __init__(self, rules: Iterable[RightsRule], peer: Peer) -> None:
        rules = tuple(rules)
        self._peer = peer
        self._rules = tuple(rule for rule in rules if peer.fits(rule))
        self._free = not rules

    def on(self, machine: str) -> int:
        """The bits of what is allowed on a machine: the sum of all rules that fit."""
        if self._free:
            return EVERYTHING

        bits = 0
        for rule in self._rules:
            if rule.machine in ("*", machine):
                for right in rule.allow:
                    bits |= _BITS[right]

        return bits

    def refusal(self, machine: str, missing: int) -> NotPermitted:
        """The EPERM of a client that lacks a right.

        Args:
            machine: where.
            missing: bits of the rights that it lacks; 0 if it has none at all.
        """
        words = right_words(missing)
        what = " and ".join(words) if words else "anything"

        return NotPermitted(f"{self._peer} has no right to {what} on {machine}")


def unknown_process(peer: Peer) -> dict[str, object]:
    """What a record says of a client that has no process in the hub yet."""
    return {"process": None, "process_id": None, "pid": peer.pid, "uid": peer.uid}


def clean_label(label: str) -> str | None:
    """The name that a client gave itself, made printable and short."""
    return "".join(c if c.isprintable() else "?" for c in label[:_LABEL_MAX]).strip() or None
