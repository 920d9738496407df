"""What a path of the program leads to, as the kernel would find it for the program.

The program's own root, working directory and descriptors are what /proc/PID/root, cwd and fd
lead to, mount namespace included. One openat2(2) resolves nearly every path; the others are
walked part by part (`walk`).

Looking up a name may take as long as its file system needs, and the file system may be a program
under this supervisor. With `cached`, only the kernel's cache of names is used.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, Final

from memhub.exec.lookup import (
    BENEATH,
    IN_ROOT,
    NO_MAGIC_LINKS,
    NO_SYMBOLIC_LINKS,
    Lookup,
    closing,
    key_of,
)
from memhub.exec.walk import Destination, Question, Walk

if TYPE_CHECKING:
    from memhub.exec.names import DeviceNames

_AT_FDCWD: Final = -100
_NOT_THERE: Final = (errno.ENOENT, errno.ENOTDIR, errno.EACCES)
_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_NOWHERE: Final = Destination()


class Resolver:
    """Follows paths of the program.

    Args:
        lookup: the kernel's calls.
        names: the devices, which are found at their place even if the host has none there.
    """

    def __init__(self, lookup: Lookup, names: DeviceNames) -> None:
        self._lookup = lookup
        self._names = names
        with closing(os.open("/", _DIRECTORY)) as root:
            self._root = key_of(os.fstat(root))
            self._places = names.places(lookup, root)

    def find(self, question: Question, *, cached: bool) -> Destination:
        """Find what a path leads to.

        Raises:
            OSError: EAGAIN if `cached` and a file system must be asked; else what keeps this
                process from the program's root or directory.
        """
        with contextlib.ExitStack() as stack:
            root = stack.enter_context(closing(self._open_root(question)))
            base = root
            if not question.text.startswith(b"/") and not question.confined:
                base = stack.enter_context(closing(self._open_base(question)))

            leaf = question.text.rpartition(b"/")[2]
            if not self._names.may_end_in(leaf):
                found = self._find_at_once(base, question, cached=cached)
                if found is not None:
                    return found

            return self._walk_path(root, base, question, cached=cached)

    def check(self, question: Question, resolve: int) -> None:
        """Apply the restrictions of openat2(2) to the path of a device.

        Raises:
            OSError: ELOOP or EXDEV; a restriction forbids the path.
        """
        find, follow = self._lookup.find, question.follow
        try:
            with closing(self._open_base(question)) as base:
                os.close(find(base, question.text, follow=follow, resolve=resolve))
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EXDEV):
                raise

    def _open_root(self, question: Question) -> int:
        if question.confined:
            return self._open_base(question)

        return os.open(f"/proc/{question.pid}/root", _DIRECTORY)

    @staticmethod
    def _open_base(question: Question) -> int:
        pid, directory = question.pid, question.directory
        inside = directory is None or directory == _AT_FDCWD

        return os.open(f"/proc/{pid}/cwd" if inside else f"/proc/{pid}/fd/{directory}", _DIRECTORY)

    def _find_at_once(self, base: int, question: Question, *, cached: bool) -> Destination | None:
        """One call, if that is certain to see what the program would see; else None."""
        text, follow = question.text, question.follow
        scope = IN_ROOT if text.startswith(b"/") or question.confined else BENEATH
        try:
            resolve = scope | NO_MAGIC_LINKS
            handle = self._lookup.find(base, text, follow=follow, resolve=resolve, cached=cached)
        except OSError as error:
            if error.errno not in _NOT_THERE:
                return None  # EXDEV, ELOOP, and EAGAIN, which the walk reports

            return self._find_nothing(base, question, error, scope, cached=cached)

        with closing(handle):
            return None if self._lookup.is_proc(handle) else Destination(os.fstat(handle))

    def _find_nothing(
        self, base: int, question: Question, missing: OSError, scope: int, *, cached: bool
    ) -> Destination | None:
        """No such file: certain only if no link was followed, as `/proc/self` is one."""
        resolve = scope | NO_SYMBOLIC_LINKS
        try:
            os.close(
                self._lookup.find(
                    base, question.text, follow=question.follow, resolve=resolve, cached=cached
                )
            )
        except OSError as error:
            return _NOWHERE if error.errno == missing.errno else None

        return None

    def _walk_path(self, root: int, base: int, question: Question, *, cached: bool) -> Destination:
        key = key_of(os.fstat(root))
        own = key == self._root and not question.confined
        places = self._places if own else self._names.places(self._lookup, root)
        with contextlib.ExitStack() as stack:
            walk = Walk(stack, self._lookup, question, root, key, places, cached=cached)
            try:
                return walk.follow(base)
            except OSError as error:
                if error.errno == errno.EAGAIN:
                    raise

        device = self._names.spelt_roughly(question.text)

        return _NOWHERE if device in places.values() else Destination(device=device)
