"""Host bridges with which ranges must not be write-combining (Linux `mtrr.c`, have_wrcomb)."""

from __future__ import annotations

from typing import Final

_SERVERWORKS_LE: Final = (0x1166, 0x0009)
_INTEL_450NX: Final = (0x8086, 0x84CA)


def bridge_fault(bridge: tuple[int, int, int] | None) -> str | None:
    """The line that is printed of a bridge that forbids it, or None.

    Args:
        bridge: vendor, device and revision of the first host bridge, or None.
    """
    if bridge is None:
        return None

    if bridge[:2] == _SERVERWORKS_LE and bridge[2] <= 5:
        return "Serverworks LE rev < 6 detected. Write-combining disabled."

    if bridge[:2] == _INTEL_450NX:
        return "Intel 450NX MMC detected. Write-combining disabled."

    return None
