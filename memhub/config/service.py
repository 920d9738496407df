"""The `[service]` table: where the service listens, whom it serves, and its limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub.config.values import choice, count, integer, seconds, text
from memhub.service.settings import RIGHTS as RIGHTS
from memhub.service.settings import Limits as Limits
from memhub.service.settings import Right
from memhub.service.settings import RightsRule as RightsRule
from memhub.service.settings import ServiceConfig as ServiceConfig
from memhub.service.settings import TcpConfig as TcpConfig
from memhub.service.subject import parse_subject

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from memhub.config.reader import Table

_RIGHT_WORDS: Final[Mapping[str, Right]] = {right: right for right in RIGHTS}
_uid: Final = count(0, 0xFFFFFFFE)


def read_service(table: Table, machines: Collection[str]) -> ServiceConfig:
    """Read `[service]`; `machines` are the names that its rules may use."""
    tcp, limits = table.table("tcp"), table.table("limits")
    service = ServiceConfig(
        socket=_read_path(table, "socket"),
        mode=table.take("mode", _parse_mode, 0o660),
        owner=table.take("owner", text, None),
        group=table.take("group", text, None),
        allowed_uids=table.array("allowed_uids", _uid),
        limits=Limits() if limits is None else _read_limits(limits),
        tcp=None if tcp is None else _read_tcp(tcp),
        rights=tuple([_read_rule(row, machines) for row in table.tables("rights")]),
    )
    table.finish()

    return service


def _parse_mode(value: object) -> int:
    digits = text(value)
    try:
        mode = int(digits, 8)
    except ValueError:
        raise ValueError(f"{digits!r} is not octal digits, such as '0660'") from None

    if not 0 <= mode <= 0o777:
        raise ValueError(f"{digits!r} is not between '0000' and '0777'")

    return mode


def _read_path(table: Table, name: str) -> Path | None:
    value = table.take(name, text, None)

    return None if value is None else table.folder / value


def _read_limits(table: Table) -> Limits:
    default = Limits()
    limits = Limits(
        frame_size=table.take("frame_size", integer(1 << 10, 1 << 30), default.frame_size),
        in_flight=table.take("in_flight", count(1, 1 << 16), default.in_flight),
        handles=table.take("handles", count(1, 1 << 20), default.handles),
        claims=table.take("claims", count(1, 1 << 20), default.claims),
        waits=table.take("waits", count(1, 1 << 16), default.waits),
        subscriptions=table.take("subscriptions", count(1, 1 << 16), default.subscriptions),
        unread_events=table.take("unread_events", count(1, 1 << 24), default.unread_events),
        reports=table.take("reports", count(1, 1 << 16), default.reports),
        maps=table.take("maps", count(1, 1 << 20), default.maps),
        queued_bytes=table.take("queued_bytes", integer(1 << 10, 1 << 40), default.queued_bytes),
        connections=table.take("connections", count(1, 1 << 20), default.connections),
        ungreeted=table.take("ungreeted", count(1, 1 << 20), default.ungreeted),
        handshake_timeout=table.take("handshake_timeout", seconds, default.handshake_timeout),
        idle_timeout=table.take("idle_timeout", seconds, default.idle_timeout),
        stall_timeout=table.take("stall_timeout", seconds, default.stall_timeout),
        unanswered_timeout=table.take("unanswered_timeout", seconds, default.unanswered_timeout),
        driver_timeout=table.take("driver_timeout", seconds, default.driver_timeout),
        driver_failures=table.take("driver_failures", count(0, 1 << 31), default.driver_failures),
    )
    table.finish()
    if not limits.handshake_timeout:
        table.wrong("handshake_timeout", "is zero: no client could connect")

    if not limits.stall_timeout:
        table.wrong("stall_timeout", "is zero: every client would be too slow")

    if not limits.driver_timeout:
        table.wrong("driver_timeout", "is zero: every driver would be too slow")

    return limits


def _read_tcp(table: Table) -> TcpConfig:
    tcp = TcpConfig(
        host=table.take("host", text, "127.0.0.1"),
        port=table.need("port", count(0, 65535), 0),
        certfile=_read_path(table, "certfile"),
        keyfile=_read_path(table, "keyfile"),
        ca=_read_path(table, "ca"),
        token_file=_read_path(table, "token_file"),
    )
    table.finish()
    if (tcp.certfile is None) != (tcp.keyfile is None):
        table.wrong("certfile", "and 'keyfile' go together")

    if tcp.ca is not None and tcp.certfile is None:
        table.wrong("ca", "needs 'certfile': without TLS no client shows a certificate")
    elif tcp.exposed and tcp.keyfile is None:
        table.wrong("host", f"{tcp.host!r} is not a loopback address and needs TLS: set 'certfile'")

    return tcp


def _parse_subject(value: object) -> str:
    found = text(value)
    parse_subject(found)

    return found


def _read_rule(table: Table, machines: Collection[str]) -> RightsRule:
    rule = RightsRule(
        uid=table.take("uid", _uid, None),
        subject=table.take("subject", _parse_subject, None),
        token=table.take("token", text, None),
        machine=table.take("machine", text, "*"),
        allow=frozenset(table.array("allow", choice(_RIGHT_WORDS, "a right"))),
    )
    if "allow" not in table:
        table.wrong("allow", "is missing")

    table.finish()
    if sum(name in table for name in ("uid", "subject", "token")) != 1:
        table.wrong("", "needs exactly one of uid, subject, token")

    if rule.machine != "*" and rule.machine not in machines:
        known = ", ".join(machines)
        table.wrong("machine", f"{rule.machine!r} is not a machine of this file ({known})")

    return rule
