"""Where Linux 2.6.32 answers otherwise than 6.18: named differences, as data.

Source: Linux 2.6.32 and 6.18, `arch/x86/kernel/cpu/mtrr/` (main.c or mtrr.c, if.c, generic.c).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The differences of one release of the kernel.

    Attributes:
        name: the release.
        prefix: what lines of the layer start with.
        absent: the errno of `mtrr_add` and of deletes where there is no back end.
        asks_debug: whether debug lines are printed only for `mtrr=debug`, as info; else always.
        pages_first: whether `mtrr_add` and `mtrr_del` look at the alignment before the back end.
        tests_last_page: whether the width holds for base and last page; else for base and size.
        open_to_all: whether anybody opens the file, and CAP_SYS_ADMIN is asked for changes only.
        drops_last_byte: whether a write to the file loses its last byte, whatever that is.
        old_registers: whether registers are read and looked up as before the map of types.
        tom2_family_max: the last AMD family that is asked for a second top of memory; None for any.
    """

    name: str
    prefix: str
    absent: str
    asks_debug: bool
    pages_first: bool
    tests_last_page: bool
    open_to_all: bool
    drops_last_byte: bool
    old_registers: bool
    tom2_family_max: int | None


LINUX_6_18: Final = Release(
    name="6.18",
    prefix="",
    absent="ENODEV",
    asks_debug=True,
    pages_first=False,
    tests_last_page=True,
    open_to_all=False,
    drops_last_byte=False,
    old_registers=False,
    tom2_family_max=None,
)
LINUX_2_6_32: Final = Release(
    name="2.6.32",
    prefix="mtrr: ",
    absent="ENXIO",
    asks_debug=False,
    pages_first=True,
    tests_last_page=False,
    open_to_all=True,
    drops_last_byte=True,
    old_registers=True,
    tom2_family_max=0x11,
)
