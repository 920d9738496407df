"""amd64: page attributes (PAT) as ranges.

FreeBSD's own amd64 range ioctls program MTRRs; that driver is `amd64-mtrr`. Here the slots are
range descriptors over page attributes: any multiple of 4 KiB at any page. MTRRs stay underneath
as firmware left them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin import LP64, Arch, Cpu, RangeDriver, freebsd, hookimpl, ordinary_registers

if TYPE_CHECKING:
    from collections.abc import Mapping


OPTIONS: Final = frozenset({"slots", "palette", "ranges"}) | freebsd.AMD64.options


def _make_driver(cpu: Cpu, options: Mapping[str, Any]) -> RangeDriver:
    # Here, because naming the architecture does not need them.
    from memhub_amd64.driver import PatDriver
    from memhub_amd64.options import parse_options

    return PatDriver(cpu, parse_options(options, OPTIONS))


AMD64 = Arch(
    name="amd64",
    summary="page attributes (PAT) as ranges of any whole pages; MTRRs stay underneath",
    releases=freebsd.AMD64,
    model=LP64,
    driver=_make_driver,
    options=OPTIONS,
    slots="64 range descriptors (option `slots`)",
    firmware=ordinary_registers,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register amd64."""
    return [AMD64]
