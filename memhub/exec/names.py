"""Which files are the devices that the program is given."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING, Final

from memhub.exec.backend import STREAMS
from memhub.exec.host import character_device
from memhub.exec.lookup import IN_ROOT, Key, Lookup, closing, key_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

#: A directory and a name in it.
Place = tuple[Key, bytes]


class DeviceNames:
    """The absolute paths that name devices, and the files that are the same devices.

    The host need not have them. Where it has a character device /dev/mem, every node of the same
    device number is that device too, and so is its place: the directory and the last part.

    Args:
        paths: absolute and normal; `/dev/mem` and the like.

    Raises:
        ValueError: a path is not absolute and normal.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = {os.fsencode(path): path for path in paths}
        self._files: dict[Key, str] = {}
        self._numbered: dict[str, str] = {}
        for encoded, path in self._paths.items():
            if not path.startswith("/") or os.path.normpath(encoded) != encoded:
                raise ValueError(f"device name {path!r} is not an absolute path in normal form")

            self._learn_name(path)

        #: The host's files of procfs in whose place a device stands, by their names there.
        self.in_proc = {
            os.path.basename(path): path  # noqa: PTH119
            for path in self._paths.values()
            if path in STREAMS and path.startswith("/proc/")
        }
        self._leaves = frozenset(os.path.basename(path) for path in self._paths)  # noqa: PTH119

    def _learn_name(self, path: str) -> None:
        """Record which file of the host has a name."""
        leaf: Final = os.path.basename(path)  # noqa: PTH119
        if leaf in ("mem", "kmem"):
            self._numbered.setdefault(leaf, path)

        with contextlib.suppress(OSError):
            info = os.stat(path)  # noqa: PTH116 - device names are plain strings
            self._files.setdefault(key_of(info), path)
            number = character_device(info)
            if number is not None:
                self._numbered.setdefault(number, path)

    def spelt(self, text: bytes) -> str | None:
        """The device with exactly this name."""
        return self._paths.get(text)

    def spelt_roughly(self, text: bytes) -> str | None:
        """The device with this name, after dots and double slashes are removed."""
        if text.endswith(b"/"):
            return None

        normal = os.path.normpath(text)

        return self._paths.get(normal[1:] if normal.startswith(b"//") else normal)

    def may_end_in(self, leaf: bytes) -> bool:
        """Whether a device's name has this last part."""
        return leaf in self._leaves

    def same_file(self, info: os.stat_result) -> str | None:
        """The device that a file is: the host's file of that name, or its device number."""
        path = self._files.get(key_of(info))
        if path is None and stat.S_ISCHR(info.st_mode):
            path = self._numbered.get(character_device(info) or "")

        return path

    def places(self, lookup: Lookup, root: int) -> Mapping[Place, str]:
        """Where the names lie below a root directory.

        Args:
            lookup: how to look them up.
            root: descriptor of the root directory that the program sees.
        """
        found: dict[Place, str] = {}
        for encoded, path in self._paths.items():
            directory, leaf = os.path.split(encoded)
            with (
                contextlib.suppress(OSError),
                closing(lookup.find(root, directory, follow=True, resolve=IN_ROOT)) as handle,
            ):
                found[key_of(os.fstat(handle)), leaf] = path

        return found
