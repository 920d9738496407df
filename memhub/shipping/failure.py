"""Why a log could not be sent."""

from __future__ import annotations

from memhub.escape import EscapedMessage


class ShippingFailed(EscapedMessage, Exception):
    """Raised when records cannot be sent; those that were acknowledged stay so.

    Args:
        reason: one line.
        code: the exit code of a command that ends so.
    """

    def __init__(self, reason: str, code: int = 1) -> None:
        self.reason = reason
        self.code = code
        super().__init__(reason)
