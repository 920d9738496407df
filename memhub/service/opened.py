"""What both clients know of an open device: its number, its path, its data model.

It imports only what the wire imports, since the blocking client has to start quickly.
"""

from __future__ import annotations

from memhub.service import calls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memhub.service import wire


class OpenedHandle:
    """An open `/dev/mem` or `/dev/kmem` of a service.

    Its methods do what those of `Handle` do, and raise the same errors, with the obstacles.
    They also raise ConnectionError when the service is gone. `set_range` and `remove_range`
    return nothing, because the ioctl on the wire returns nothing.

    Attributes:
        path: `NAME:/dev/mem`.
        arch: the machine's architecture.
        machine: its name.
    """

    def __init__(self, opened: wire.Opened, path: str) -> None:
        self._number = opened.handle
        self._layout = calls.LAYOUTS[opened.model]
        self._closed = False
        self.path = f"{opened.machine}:{path.rpartition(':')[2]}"
        self.arch = opened.arch
        self.machine = opened.machine

    def __repr__(self) -> str:
        state = " closed" if self._closed else ""

        return f"<{type(self).__name__} {self._number} on {self.path}{state}>"

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closed

    def _open(self) -> int:
        if self._closed:
            from memhub.errors import BadHandle

            raise BadHandle(f"{self.path} is closed")

        return self._number
