"""What every connection of a service is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.service import wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.hub import Hub
    from memhub.service.server.tls import Tokens
    from memhub.service.settings import ServiceConfig

_FRAME_MIN: Final = 4096


class Gate:
    """A hub, and the terms on which it is served.

    Args:
        hub: what serves them.
        settings: limits, rules, users.
        software: the service's name and version.
        facts: what the service says of itself in a report.
        crowd: how many connections there are.
        tokens: the tokens that TCP clients may show, or None.
    """

    def __init__(
        self,
        hub: Hub,
        settings: ServiceConfig,
        software: str,
        facts: Callable[[], dict[str, Any]],
        crowd: Callable[[], int],
        tokens: Tokens | None,
    ) -> None:
        self.hub = hub
        self.settings = settings
        self.software = software
        self.facts = facts
        self.crowd = crowd
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
