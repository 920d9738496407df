"""The system calls, sysarch(X86_GET_MTRR) and (X86_SET_MTRR), and what ends with a process.

Source: NetBSD `sys/arch/x86/x86/sys_machdep.c`, `sys/arch/amd64/amd64/netbsd32_machdep.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from memhub_netbsd.table import Told, set_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub_netbsd.table import Driver, Mtrr

_NULL: Final = "the pointer {!r} is null"
_NO_DRIVER: Final = "NetBSD has found no ranges on this machine"


class MtrrCalls:
    """The calls of one kernel.

    Args:
        driver: what attached, or None.

    Attributes:
        driver: the same.
        used: the processes that have set a private range.
    """

    def __init__(self, driver: Driver | None) -> None:
        self.driver = driver
        self.used: set[int] = set()

    def set(
        self,
        process: int,
        many: int,
        entries: Sequence[Mtrr],
        *,
        null: str | None = None,
        root: bool = True,
        translated: bool = False,
    ) -> Told:
        """Set ranges.

        Args:
            process: who asks.
            many: how many the caller says there are.
            entries: the ranges.
            null: which pointer is null: `args`, `count` or `table`.
            root: whether the caller is privileged.
            translated: a 32-bit call on a 64-bit kernel, which never reaches the registers.

        Returns:
            what the caller is told, with how many ranges were set though it is told otherwise.
        """
        refused = self._refuse(many, null, root=root)
        if refused is not None or self.driver is None:
            return refused or Told(None, many)

        if translated and not 1 <= many <= self.driver.most:
            return Told("EINVAL", 0, why=self._why_translated(many))

        if null == "table" and 0 < many <= self.driver.most:
            return Told("EFAULT", 0, why=_NULL.format(null))

        told, private = set_ranges(self.driver, entries, many, process)
        if private:
            self.used.add(process)

        if translated:
            return told if told.errno is None else told._replace(many=0)

        if told.done:
            self.driver.commit()

        return told

    def get(
        self,
        _process: int,
        many: int,
        _entries: Sequence[Mtrr],
        *,
        null: str | None = None,
        root: bool = True,
        translated: bool = False,
    ) -> Told:
        """Count the ranges that a caller gets; arguments and result as for `set`."""
        refused = self._refuse(many, null, root=root)
        if refused is not None or self.driver is None:
            return refused or Told(None, many)

        if null == "table":
            return Told(None, self.driver.listed)

        if translated and not 1 <= many <= self.driver.most:
            return Told("EINVAL", many, why=self._why_translated(many))

        return Told(None, max(0, min(many, len(self.driver.table))))

    def kernel_set(self, entries: Sequence[Mtrr], process: int | None) -> Told:
        """Set ranges from inside the kernel, which does not write the registers itself."""
        if self.driver is None:
            return Told("ENOSYS", 0, why=_NO_DRIVER)

        told, private = set_ranges(self.driver, entries, len(entries), process)
        if private and process is not None:
            self.used.add(process)

        if told.done:
            self.driver.commit()

        return told

    def exit(self, process: int) -> bool:
        """End a process: its private ranges, if it ever set one; whether it did."""
        if process not in self.used or self.driver is None:
            return False

        self.used.discard(process)
        self.driver.release(process)

        return True

    def _refuse(self, many: int, null: str | None, *, root: bool) -> Told | None:
        """What is refused before any range is looked at, with the caller's count as it was."""
        if self.driver is None:
            return Told("ENOSYS", many, why=_NO_DRIVER)

        if not root:
            return Told("EPERM", many, why="only root may ask")

        return Told("EFAULT", many, why=_NULL.format(null)) if null in ("args", "count") else None

    def _why_translated(self, many: int) -> str:
        most = 0 if self.driver is None else self.driver.most

        return f"n is {many}, and has to be 1 to {most} in a 32-bit call on a 64-bit kernel"
