"""What advice for a request needs that found no free range."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.plugin.kernels import TYPE_NUMBERS, KernelCall
from memhub_netbsd.table import NONE_FREE, VALID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.plugin.kernels import KernelAnswer, KernelRange


def lacks_register(answer: KernelAnswer) -> bool:
    """Whether no range was free; the errno is that of a range in the way too."""
    told = answer.value if answer.errno == "EBUSY" else None

    return isinstance(told, dict) and str(told.get("why")).endswith(NONE_FREE)


def calls_to_replace(removed: Sequence[KernelRange], put: KernelRange | None) -> list[KernelCall]:
    """One call that removes ranges and sets another."""
    entries = [(it, 0) for it in removed] + ([] if put is None else [(put, VALID)])
    rows = [[it.base, it.length, TYPE_NUMBERS[it.type], flags, 0] for it, flags in entries]

    return [KernelCall("kernel_set", {"entries": rows})]
