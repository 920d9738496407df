"""The terms of a service: what all of its connections have in common."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.rows.columns import process_columns
from memhub.core.service_events import ClientRefused
from memhub.errors import AccessDenied, LogFailed
from memhub.escape import escape_controls
from memhub.service import wire
from memhub.service.server.rights import unknown_process
from memhub.service.server.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.errors import DeviceError
    from memhub.handles.process import Process
    from memhub.hub.hub import Hub
    from memhub.service.server.rights import Peer
    from memhub.service.server.tls import Tokens
    from memhub.service.settings import ServiceConfig

_FRAME_MIN: Final = 4096

log: Final = logging.getLogger("memhub.service")


class ServiceTerms:
    """A hub, and the terms on which every connection is served.

    Args:
        hub: what is served.
        settings: limits, rules, users.
        software: the service's name and version.
        describe_service: gives what a report says about the service.
        tokens: the tokens that TCP clients may show, or None.

    Attributes:
        turns: the turns of the long work of all connections.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServiceConfig,
        software: str,
        describe_service: Callable[[], dict[str, Any]],
        tokens: Tokens | None,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.software = software
        self.describe_service = describe_service
        self.tokens = tokens
        self.turns = Turns()

    def limits(self) -> wire.Limits:
        """The limits as the protocol states them."""
        limits = self.settings.limits

        return wire.Limits(
            max(limits.frame_size, _FRAME_MIN),
            limits.in_flight,
            limits.handles,
            min(round(limits.idle_timeout * 1000), wire.U32_MAX),
        )

    def identify_peer(self, peer: Peer, token: bytes) -> Peer:
        """Who a client is, by its socket, its certificate or its token.

        Args:
            peer: who it is before it has shown a token.
            token: the token that it showed, or nothing.

        Raises:
            AccessDenied: EACCES; it may not connect.
        """
        settings, tokens = self.settings, self.tokens
        if peer.uid is not None:
            if settings.allowed_uids and peer.uid not in settings.allowed_uids:
                raise AccessDenied(f"uid {peer.uid} is not among the users that may connect")

            return peer

        name = tokens.name_of(token) if tokens is not None and token else None
        if name is None and (token or peer.subject is None):
            raise AccessDenied("the token is not known" if token else "a token is needed here")

        return replace(peer, token=name)

    def record_refusal(
        self,
        peer: Peer,
        error: DeviceError,
        op: str = "connect",
        process: Process | None = None,
    ) -> None:
        """Record that a client was refused, or why its connection ends.

        Args:
            peer: the client.
            error: why.
            op: what was refused.
            process: its process in the hub; None where it has none yet.
        """
        engine = self.hub.engine
        who = process_columns(process.principal) if process else unknown_process(peer)
        try:
            engine.note(ClientRefused(who, str(peer), engine.now(), op, error))
        except LogFailed as failure:
            log.error("a refusal of %s is not logged: %s", escape_controls(str(peer)), failure)

    def record_denial(self, peer: Peer, reason: str) -> None:
        """Record a client whose connection ended before it could send HELLO."""
        self.record_refusal(peer, AccessDenied(reason))
