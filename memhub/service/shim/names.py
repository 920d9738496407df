"""Which paths that the program opens are devices."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from memhub.service.shim.devices import OpenDevices

_AT_FDCWD: Final = -100
_BY_DESCRIPTOR: Final = re.compile(rb"/(?:dev|proc/(self|thread-self|\d+))/fd/(\d+)")
_STANDARD: Final = {b"/dev/stdin": 0, b"/dev/stdout": 1, b"/dev/stderr": 2}


class DeviceNames:
    """The absolute paths that name devices, and what resolves to them.

    Symbolic links are not followed: a link to a device is not the device. Opening a descriptor
    again by name (`/dev/stdin`, `/proc/self/fd/0`) opens the device behind it again.

    Args:
        paths: absolute and normal; `/dev/mem` and the like.

    Raises:
        ValueError: a path is not.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = {os.fsencode(path): path for path in paths}
        for encoded, path in self._paths.items():
            if not path.startswith("/") or os.path.normpath(encoded) != encoded:
                raise ValueError(f"device name {path!r} is not an absolute path in normal form")

        self._leaves = frozenset(os.path.basename(path) for path in self._paths)  # noqa: PTH119

    def match(
        self, text: bytes, pid: int, directory: int | None, devices: OpenDevices
    ) -> str | None:
        """Resolve a path as the program gave it.

        Args:
            text: the path.
            pid: the thread that opens it.
            directory: the descriptor that it is relative to, or None for its current directory.
            devices: what is open already.

        Returns:
            the device's name, or None.
        """
        if text in self._paths:
            return self._paths[text]

        if text.startswith((b"/dev/", b"/proc/")):
            again = self._opened_again(text, pid, devices)
            if again is not None:
                return again

        if text.rpartition(b"/")[2] not in self._leaves:
            return None

        return self._paths.get(os.path.normpath(_absolute(text, pid, directory)))

    def _opened_again(self, text: bytes, pid: int, devices: OpenDevices) -> str | None:
        number = _STANDARD.get(text)
        if number is None:
            found = _BY_DESCRIPTOR.fullmatch(text)
            if found is None:
                return None

            number = int(found[2])
            if found[1] is not None and found[1].isdigit():
                pid = int(found[1])

        device = devices.find(pid, number)

        return None if device is None else device.path


def _absolute(text: bytes, pid: int, directory: int | None) -> bytes:
    if text.startswith(b"/"):
        return text

    inside = directory is None or directory == _AT_FDCWD
    link = f"/proc/{pid}/cwd" if inside else f"/proc/{pid}/fd/{directory}"
    try:
        return os.path.join(os.fsencode(os.readlink(link)), text)  # noqa: PTH115, PTH118
    except OSError:
        return text
