"""The terms of a service: what all of its connections have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.service import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.hub import Hub
    from memhub.service.server.tls import Tokens
    from memhub.service.settings import ServiceConfig

_FRAME_MIN: Final = 4096


class ServiceTerms:
    """A hub, and the terms on which every connection is served.

    Args:
        hub: what is served.
        settings: limits, rules, users.
        software: the service's name and version.
        describe_service: gives what a report says about the service.
        count_connections: gives the number of open connections.
        tokens: the tokens that TCP clients may show, or None.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServiceConfig,
        software: str,
        describe_service: Callable[[], dict[str, Any]],
        count_connections: Callable[[], int],
        tokens: Tokens | None,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.software = software
        self.describe_service = describe_service
        self.count_connections = count_connections
        self.tokens = tokens

    def limits(self) -> wire.Limits:
        """The limits as the protocol states them."""
        limits = self.settings.limits

        return wire.Limits(
            max(limits.frame_size, _FRAME_MIN),
            limits.in_flight,
            limits.handles,
            min(round(limits.idle_timeout * 1000), wire.U32_MAX),
        )
