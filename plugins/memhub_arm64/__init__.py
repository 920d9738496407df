"""arm64: memory is read and written, and every range ioctl is refused.

FreeBSD's arm64 has no `mem_range_ops`; memory types come from the page tables (MAIR_EL1) and
mem(4) cannot reach them.
"""

from __future__ import annotations

from memhub.plugin import Arch, freebsd, hookimpl

ARM64 = Arch(
    name="arm64",
    summary="no range operations: every range ioctl answers EOPNOTSUPP",
    releases=freebsd.ARM64,
    attributes=0,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register arm64."""
    return [ARM64]
