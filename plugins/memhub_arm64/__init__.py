"""arm64: memory is read and written, and every range ioctl is refused.

FreeBSD's arm64 has no `mem_range_ops`; memory types come from the page tables (MAIR_EL1) and
mem(4) cannot reach them.
"""

from __future__ import annotations

from memhub.plugin import Arch, KernelLayout, hookimpl

ARM64 = Arch(
    name="arm64",
    summary="no range operations: every range ioctl answers EOPNOTSUPP",
    kernel=KernelLayout(kernel_base=0xFFFF000000000000, direct_map=0xFFFFA00000000000),
    attributes=0,
)


@hookimpl
def memhub_arches() -> list[Arch]:
    """Register arm64."""
    return [ARM64]
