"""The file `/proc/mtrr`: its text, what may be written to it, and its ioctls.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/if.c`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.plugin.x86 import LINE_MAX, BadLine, DisableLine, read_line
from memhub_linux.refused import Refused
from memhub_linux.texts import type_name

if TYPE_CHECKING:
    from memhub_linux.mtrr.layer import LinuxMtrr
    from memhub_linux.releases import Release

_NO_ADMIN: Final = "the process has no CAP_SYS_ADMIN"
#: Pages from which an entry does not fit the structure of a GET.
_GET_END: Final = 1 << 20


class Entry(NamedTuple):
    """What an ioctl carries: `struct mtrr_sentry`, or `struct mtrr_gentry` for a GET.

    Attributes:
        base: bytes, or pages for the commands with `_PAGE`.
        size: likewise, 32 bits.
        type: the type, 32 bits; of a GET, which it returns.
        register: of a GET.
    """

    base: int = 0
    size: int = 0
    type: int = 0
    register: int = 0


@dataclass(slots=True)
class OpenMtrr:
    """An open `/proc/mtrr`.

    Attributes:
        held: how often this descriptor added each register; None until it adds the first.
    """

    held: list[int] | None = None


class ProcMtrr:
    """The file.

    Args:
        mtrr: the kernel's MTRR layer.
    """

    def __init__(self, mtrr: LinuxMtrr) -> None:
        self.mtrr = mtrr

    def open(self, *, admin: bool) -> OpenMtrr:
        """Open it.

        Args:
            admin: whether the process has CAP_SYS_ADMIN.

        Raises:
            Refused: ENOENT, EIO or EPERM.
        """
        if not self.mtrr.has_file:
            raise Refused("ENOENT")

        if self.mtrr.back is None:
            raise Refused("EIO")

        if not admin and not self.mtrr.machine.release.open_to_all:
            raise Refused("EPERM", _NO_ADMIN)

        return OpenMtrr()

    def close(self, file: OpenMtrr) -> None:
        """Close it: each count that the descriptor holds is given back, by register number."""
        for register, many in enumerate(file.held or ()):
            for _ in range(many):
                try:
                    self.mtrr.delete(register, 0, 0)
                except Refused:
                    continue

        file.held = None

    def read_text(self) -> str:
        """The whole text. Reading it sets the use count of free registers to 0."""
        back, lines = self.mtrr.back, []
        assert back is not None
        for index in range(self.mtrr.count):
            base, size, type_ = back.get(index)
            if not size:
                self.mtrr.counts[index] = 0
                continue

            amount, unit = (size << 2, "K") if size < 0x100 else (size >> 8, "M")
            lines.append(
                f"reg{index:02}: base=0x{base:06x}000 ({base >> 8:5}MB), size={amount:5}{unit}B, "
                f"count={self.mtrr.counts[index]}: {type_name(type_)}\n"
            )

        return "".join(lines)

    def check_admin(self, command: str, *, admin: bool) -> None:
        """Look, where anybody opens the file, whether the process may change something.

        Args:
            command: of an ioctl, or nothing for a write.
            admin: whether the process has CAP_SYS_ADMIN.

        Raises:
            Refused: EPERM.
        """
        asks = self.mtrr.machine.release.open_to_all and not command.startswith("GET")
        if asks and not admin:
            raise Refused("EPERM", _NO_ADMIN)

    def write(self, data: bytes) -> int:
        """Write one line.

        Returns:
            bytes taken: in 6.18 at most 79, of a longer line.

        Raises:
            Refused: the line is not understood, or the kernel refuses the request.
        """
        taken, line = line_of(data, self.mtrr.machine.release)
        try:
            said = read_line(line)
        except BadLine as bad:
            raise Refused("EINVAL", f"{bad}{self._dropped(data)}") from None

        if isinstance(said, DisableLine):
            self.mtrr.delete_page(said.register, 0, 0)
        else:
            self.mtrr.add_page(said.base >> 12, said.size >> 12, said.type, increment=True)

        return taken

    def _dropped(self, data: bytes) -> str:
        """What the release has taken away from a line that it does not understand."""
        if self.mtrr.machine.release.drops_last_byte and not data.endswith(b"\n"):
            return "; this release drops the last byte of a write, which is to be the newline"

        return ""

    def ioctl(self, file: OpenMtrr, command: str, entry: Entry) -> tuple[int, Entry | None]:
        """An ioctl whose command and structure are known.

        Args:
            file: the descriptor.
            command: ADD, SET, DEL, KILL or GET, and the same with `_PAGE`.
            entry: the structure.

        Returns:
            the register, or 0 for a GET; and the structure that a GET fills.

        Raises:
            Refused: the kernel answers an error.
        """
        word, _, page = command.partition("_")
        if word == "GET":
            return 0, self._get(entry.register, pages=bool(page))

        base, size, type_, _ = entry
        mtrr = self.mtrr
        if word == "ADD":
            return self._add(file, entry, pages=bool(page)), None

        if word == "DEL":
            return self._delete(file, entry, pages=bool(page)), None

        if word == "SET":
            add = mtrr.add_page if page else mtrr.add
            return add(base, size, type_, increment=False), None

        delete = mtrr.delete_page if page else mtrr.delete

        return delete(-1, base, size), None

    def _get(self, register: int, *, pages: bool) -> Entry:
        if register >= self.mtrr.count:
            why = f"there is no register {register}: the last one is {self.mtrr.count - 1}"
            raise Refused("EINVAL", why)

        assert self.mtrr.back is not None
        base, size, type_ = self.mtrr.back.get(register)
        if pages:
            hidden = size > 0xFFFFFFFF
            shown = Entry(base, size, type_, register)
        else:
            last = base + size - 1 & self.mtrr.machine.long_mask
            hidden = last >= _GET_END or size >= _GET_END
            shown = Entry(base << 12, size << 12, type_, register)

        return Entry(register=register) if hidden else shown

    def _add(self, file: OpenMtrr, entry: Entry, *, pages: bool) -> int:
        if file.held is None:
            file.held = [0] * self.mtrr.count

        base, size = _pages(entry, pages=pages)
        register = self.mtrr.add_page(base, size, entry.type, increment=True)
        file.held[register] += 1

        return register

    def _delete(self, file: OpenMtrr, entry: Entry, *, pages: bool) -> int:
        base, size = _pages(entry, pages=pages)
        register = self.mtrr.delete_page(-1, base, size)
        if file.held is None:
            return register

        if file.held[register] < 1:
            why = f"register {register} lost a use, which this open file had not added"
            raise Refused("EINVAL", why)

        file.held[register] -= 1

        return register


def line_of(data: bytes, release: Release) -> tuple[int, bytes]:
    """What the kernel makes of the bytes of a write: how many it takes, and the line in them.

    Raises:
        Refused: EINVAL; a release that drops the last byte finds none.
    """
    if not release.drops_last_byte:
        taken, kept = min(len(data), LINE_MAX), data
    elif data:
        taken, kept = len(data), data[:-1]
    else:
        raise Refused("EINVAL", "the write is empty")

    return taken, kept[:LINE_MAX].partition(b"\0")[0].removesuffix(b"\n")


def _pages(entry: Entry, *, pages: bool) -> tuple[int, int]:
    if pages:
        return entry.base, entry.size

    if (entry.base | entry.size) & 0xFFF:
        why = f"{entry.base:#x}/{entry.size:#x}: base and size are multiples of 4 KiB"
        raise Refused("EINVAL", why)

    return entry.base >> 12, entry.size >> 12
