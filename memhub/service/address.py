"""Where a service is: `unix:PATH`, a path, or `tcp:HOST:PORT`."""

from __future__ import annotations

import os

from memhub.arguments import take_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

#: Where a client looks for a service unless it is told.
VARIABLE: Final = "MEMHUB_SOCKET"


def parse_address(address: str | os.PathLike[str] | None) -> tuple[str, str, int]:
    """Read an address.

    Args:
        address: `unix:PATH`, a path, or `tcp:HOST:PORT`; None takes `$MEMHUB_SOCKET`.

    Returns:
        `("unix", path, 0)` or `("tcp", host, port)`.

    Raises:
        ValueError: it is malformed, or nothing is named.
        TypeError: it is neither text nor a path.
    """
    text = os.environ.get(VARIABLE, "") if address is None else os.fspath(address)
    text = take_text("address", text)
    if not text:
        raise ValueError(f"no service is named: give an address, or set {VARIABLE}")

    if not text.startswith("tcp:"):
        return "unix", text.removeprefix("unix:"), 0

    host, colon, port = text[4:].rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise ValueError(f"{text!r} is not an address of the form tcp:HOST:PORT")

    if len(port) > 5 or not 0 < int(port) <= 0xFFFF:
        raise ValueError(f"{text!r} is not an address: port {port:.20} is not between 1 and 65535")

    return "tcp", host.strip("[]"), int(port)
