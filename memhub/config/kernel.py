"""What `kernel` and `[machines.NAME.kernel_options]` say of a machine's kernel, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.config.values import text
from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.kernel import OptionError
from memhub.core.kernel_rules import wrong_kernel
from memhub.core.served import boot_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.config.reader import Table
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec


def read_kernel(table: Table) -> dict[str, Any]:
    """The fields of a MachineSpec that say which kernel runs, of a machine's table."""
    options, named = table.table("kernel_options"), table.take("kernel", text, None)

    return {
        "kernel": None if named == FREEBSD else named,
        "kernel_options": {} if options is None else options.entries(lambda value: value),
    }


def check_kernel(table: Table, spec: MachineSpec, arch: Arch) -> None:
    """Report what is wrong with the kernel of a machine that is otherwise sound.

    Args:
        table: the machine's table.
        spec: the machine.
        arch: its architecture.
    """
    for wrong in wrong_kernel(spec, arch):
        key, _, reason = wrong.partition(": ")
        table.wrong(key, reason)

    if table.sound:
        try:
            boot_served(spec, arch, None)
        except OptionError as error:
            table.wrong(f"kernel_options.{error.key}", error.reason)
        except ValueError as error:
            table.wrong("kernel", str(error))


def kernel_lines(spec: MachineSpec, show: Callable[[Any], str]) -> Iterator[str]:
    """The line of a machine's table; none for FreeBSD."""
    if isinstance(spec.kernel, str):
        yield f"kernel = {show(spec.kernel)}  # which kernel runs"
