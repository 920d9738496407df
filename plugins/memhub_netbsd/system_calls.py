"""The system calls, sysarch(X86_GET_MTRR) and (X86_SET_MTRR), and what ends with a process.

Source: NetBSD `sys/arch/x86/x86/sys_machdep.c`, `sys/arch/amd64/amd64/netbsd32_machdep.c`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub_netbsd.table import set_ranges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub_netbsd.table import Driver, Mtrr


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
    ) -> tuple[str | None, int]:
        """Set ranges.

        Args:
            process: who asks.
            many: how many the caller says there are.
            entries: the ranges.
            null: which pointer is null: `args`, `count` or `table`.
            root: whether the caller is privileged.
            translated: a 32-bit call on a 64-bit kernel, which never reaches the registers.

        Returns:
            the errno, or None; and what the count is afterwards.
        """
        errno = self._refuse(null, root=root)
        if errno is not None or self.driver is None:
            return errno, many

        if translated and not 1 <= many <= self.driver.most:
            return "EINVAL", 0

        if null == "table" and 0 < many <= self.driver.most:
            return "EFAULT", 0

        done, errno, private = set_ranges(self.driver, entries, many, process)
        if private:
            self.used.add(process)

        if translated:
            return errno, 0 if errno is not None else done

        if done:
            self.driver.commit()

        return errno, done

    def get(
        self,
        _process: int,
        many: int,
        _entries: Sequence[Mtrr],
        *,
        null: str | None = None,
        root: bool = True,
        translated: bool = False,
    ) -> tuple[str | None, int]:
        """Count the ranges that a caller gets; arguments and result as for `set`."""
        errno = self._refuse(null, root=root)
        if errno is not None or self.driver is None:
            return errno, many

        if null == "table":
            return None, self.driver.listed

        if translated and not 1 <= many <= self.driver.most:
            return "EINVAL", many

        return None, max(0, min(many, len(self.driver.table)))

    def kernel_set(self, entries: Sequence[Mtrr], process: int | None) -> tuple[str | None, int]:
        """Set ranges from inside the kernel, which does not write the registers itself."""
        assert self.driver is not None
        done, errno, private = set_ranges(self.driver, entries, len(entries), process)
        if private and process is not None:
            self.used.add(process)

        if done:
            self.driver.commit()

        return errno, done

    def exit(self, process: int) -> bool:
        """End a process: its private ranges, if it ever set one; whether it did."""
        if process not in self.used or self.driver is None:
            return False

        self.used.discard(process)
        self.driver.release(process)

        return True

    def _refuse(self, null: str | None, *, root: bool) -> str | None:
        if self.driver is None:
            return "ENOSYS"

        if not root:
            return "EPERM"

        return "EFAULT" if null in ("args", "count") else None
