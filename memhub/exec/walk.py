"""One path of the program, followed part by part, as the kernel follows it.

Otherwise `/proc/self` would be this process and not the program, and links of procfs to an open
file or directory (magic links) could not be followed below another root.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from memhub.exec.lookup import NO_MAGIC_LINKS, Key, Lookup, key_of, process_of

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Mapping

    from memhub.exec.names import Place

_MAX_LINKS: Final = 40
_PROC_ROOT: Final = 1
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Destination:
    """What a path leads to.

    Attributes:
        info: what stat says of the file; None where there is none.
        in_proc: it lies in a procfs.
        device: the device whose place this is, whatever lies there; or None.
    """

    info: os.stat_result | None = None
    in_proc: bool = False
    device: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """One path of the program.

    Attributes:
        pid: the thread that uses it.
        directory: the descriptor that it is relative to, or None for the working directory.
        text: the path.
        follow: a symbolic link in the last place is followed.
        confined: openat2's RESOLVE_IN_ROOT: `directory` is the root.
    """

    pid: int
    directory: int | None
    text: bytes
    follow: bool = True
    confined: bool = False


class Walk:
    """One path, part by part."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        lookup: Lookup,
        question: Question,
        root: int,
        root_key: Key,
        places: Mapping[Place, str],
        *,
        cached: bool,
    ) -> None:
        self._stack = stack
        self._lookup = lookup
        self._question = question
        self._root = root
        self._root_key = root_key
        self._places = places
        self._cached = cached
        self._parts = question.text.split(b"/")[::-1]
        self._links = 0

    def follow(self, at: int) -> Destination:
        """Walk from a directory.

        Raises:
            OSError: what a part of the path fails with.
        """
        while self._parts:
            part = self._parts.pop()
            if part in (b"", b"."):
                _check_directory(at)
                continue

            if part == b"..":
                at = at if self._is_root(at) else self._step_down(at, part)
                continue

            last = not self._parts
            device = self._places.get((key_of(os.fstat(at)), part)) if last else None
            if device is not None:
                return Destination(device=device)

            at = self._enter_part(at, part, last=last)

        return Destination(os.fstat(at), in_proc=self._lookup.is_proc(at))

    def _enter_part(self, at: int, part: bytes, *, last: bool) -> int:
        """Go to a part, or to where its link begins to be followed."""
        entry = self._step_down(at, part)
        if not stat.S_ISLNK(os.fstat(entry).st_mode) or (last and not self._question.follow):
            return entry

        self._links += 1
        if self._links > _MAX_LINKS:
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))

        if self._lookup.is_proc(entry):
            through = self._enter_proc_link(at, part)
            if through is not None:
                return through

        target = os.readlink(b"", dir_fd=entry)
        self._parts.extend(target.split(b"/")[::-1])

        return self._root if target.startswith(b"/") else at

    def _enter_proc_link(self, at: int, part: bytes) -> int | None:
        """Through a link of procfs that is not followed by its text; None if it is."""
        own = {b"self": "/proc/{0}", b"thread-self": "/proc/{0}/task/{1}"}.get(part)
        if own is not None and os.fstat(at).st_ino == _PROC_ROOT:
            tid = self._question.pid
            return self._keep_handle(os.open(own.format(process_of(tid), tid), _DIRECTORY))

        try:
            os.close(self._lookup.find(at, part, follow=True, resolve=NO_MAGIC_LINKS))
        except OSError as error:
            if error.errno == errno.ELOOP:
                return self._keep_handle(self._lookup.find(at, part, follow=True))

        return None

    def _step_down(self, at: int, part: bytes) -> int:
        # Procfs answers from the kernel's own tables, and few of its names are cached.
        cached = self._cached and not self._lookup.is_proc(at)

        return self._keep_handle(self._lookup.find(at, part, follow=False, cached=cached))

    def _keep_handle(self, handle: int) -> int:
        self._stack.callback(os.close, handle)

        return handle

    def _is_root(self, at: int) -> bool:
        if key_of(os.fstat(at)) != self._root_key:
            return False

        return _mount_of(at) == _mount_of(self._root)


def _check_directory(at: int) -> None:
    if not stat.S_ISDIR(os.fstat(at).st_mode):
        raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _mount_of(handle: int) -> str:
    """The mount that a descriptor lies on: the same directory may be mounted twice."""
    lines = Path(f"/proc/self/fdinfo/{handle}").read_text().splitlines()

    return next(line for line in lines if line.startswith("mnt_id:"))
