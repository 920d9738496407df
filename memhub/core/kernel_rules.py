"""What a machine's description may say of its kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.kernel import KernelLayout

if TYPE_CHECKING:
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec


def is_kernel(value: object) -> bool:
    """Whether it is a kernel's name, FreeBSD's layout, or nothing said."""
    return (
        value is None or isinstance(value, KernelLayout) or (isinstance(value, str) and value != "")
    )


def wrong_kernel(spec: MachineSpec, arch: Arch) -> list[str]:
    """What is wrong with the kernel that a machine names.

    Args:
        spec: the machine.
        arch: its architecture.
    """
    if spec.kernel_name == FREEBSD:
        names = ", ".join(map(str, spec.kernel_options))
        why = "kernel_options: FreeBSD takes its options in `options`, and none here"
        return [f"{why}: {names}"] if names else []

    try:
        arch.find_kernel(spec.kernel_name)
    except ValueError as error:
        return [f"kernel: {error}"]

    return []
