"""Report the service's state to a service manager (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> bool:
    """Send a state to `$NOTIFY_SOCKET`.

    Args:
        state: such as `READY=1`.

    Returns:
        whether there is a service manager, and it was told.
    """
    path = os.environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect("\0" + path[1:] if path[0] == "@" else path)
            sock.sendall(state.encode())
        except OSError:
            return False

    return True
