"""The host's own devices, which a program must not reach unless it is allowed.

A device is recognised by what it is, not by its path: a character device by its number, a file of
procfs by its inode number, which is the same in every mount and every instance of procfs.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

#: The names that `--allow-host` takes, and what each allows.
ALLOWABLE: Final = {
    "mtrr": "/proc/mtrr",
    "msr": "/dev/cpu/N/msr",
    "port": "/dev/port",
    "ioport": "iopl(2) and ioperm(2)",
    "kcore": "/proc/kcore",
}
#: The names of ALLOWABLE that need CAP_SYS_RAWIO.
_RAW_IO: Final = frozenset({"msr", "port", "ioport", "kcore"})
_NEVER: Final = ("mem", "kmem")
_MEMORY_MAJOR: Final = 1
_MEMORY_MINORS: Final = {1: "mem", 2: "kmem", 4: "port"}
_MSR_MAJOR: Final = 202
_IN_PROC: Final = ("mtrr", "kcore")
_STANDARD: Final = ("standard input", "standard output", "standard error")


def check_allowed(names: Collection[str]) -> frozenset[str]:
    """Check what a caller allows.

    Args:
        names: of `ALLOWABLE`.

    Raises:
        ValueError: a name is not one of them.
    """
    for name in names:
        if name in _NEVER:
            raise ValueError(
                f"cannot allow the host's {name!r}: /dev/{name} is always the machine's"
            )

        if name not in ALLOWABLE:
            known = ", ".join(ALLOWABLE)
            raise ValueError(f"cannot allow {name!r}: not one of {known}")

    return frozenset(names)


def character_device(info: os.stat_result) -> str | None:
    """The name of a character device that acts on the host, or None for any other file."""
    if not stat.S_ISCHR(info.st_mode):
        return None

    major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
    if major == _MSR_MAJOR:
        return "msr"

    return _MEMORY_MINORS.get(minor) if major == _MEMORY_MAJOR else None


def _proc_files() -> dict[int, str]:
    found: dict[int, str] = {}
    for name in _IN_PROC:
        with contextlib.suppress(OSError):
            found[os.stat(f"/proc/{name}").st_ino] = name  # noqa: PTH116

    return found


@dataclass(frozen=True, slots=True)
class HostDevices:
    """Tells the host's devices, and which of them the program may use.

    Attributes:
        allowed: names of `ALLOWABLE`.
        proc_files: inode numbers of the files of procfs that are devices, with their names.
    """

    allowed: frozenset[str] = frozenset()
    proc_files: dict[int, str] = field(default_factory=_proc_files)

    @property
    def keeps_raw_io(self) -> bool:
        """Whether the program needs CAP_SYS_RAWIO for what it is allowed."""
        return bool(self.allowed & _RAW_IO)

    def name(self, info: os.stat_result, *, in_proc: bool) -> str | None:
        """The name of the host's device that a file is, or None if it is another file.

        Args:
            info: what stat says of it.
            in_proc: it lies in a procfs.
        """
        if in_proc and stat.S_ISREG(info.st_mode):
            return self.proc_files.get(info.st_ino)

        return character_device(info)


def refusal_line(action: str, name: str) -> str:
    """The line for the user when a program is refused a device of the host.

    Args:
        action: what the program did: "opening /x".
        name: of the device.
    """
    if name in _NEVER:
        why = f"no machine's {name} is given to this program"
    else:
        why = f"the hub has no {name} of its own; --allow-host {name} allows it"

    return f"{action} refused (EACCES): it would reach the host's own {_describe_file(name)}; {why}"


def inherited_device(hosts: HostDevices) -> str | None:
    """What is wrong with the standard streams that a program would inherit, or None."""
    for number, stream in enumerate(_STANDARD):
        with contextlib.suppress(OSError):
            info = os.fstat(number)
            name = hosts.name(info, in_proc=info.st_ino in hosts.proc_files)
            if name is not None and name not in hosts.allowed:
                return f"{stream} is the host's own {_describe_file(name)}: let the program open it"

    return None


def _describe_file(name: str) -> str:
    return ALLOWABLE.get(name, f"/dev/{name}")
