"""Registers by their number: which one a call means, and calls that change some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.plugin.kernels import TYPE_NUMBERS, KernelCall
from memhub.plugin.x86 import BadLine, DisableLine, read_line
from memhub_linux.mtrr.proc_mtrr import line_of
from memhub_linux.mtrr.write_combining import index_of
from memhub_linux.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from memhub.plugin.kernels import KernelRange
    from memhub_linux.releases import Release


def register_of(call: KernelCall, release: Release) -> int | None:
    """The register of a call; None where it names none.

    Args:
        call: a call, whose arguments may be of any kind.
        release: of the kernel.
    """
    register: Any = None
    if call.op == "write":
        register = _register_in(call.args.get("data"), release)
    elif call.op in ("del", "del_page"):
        register = call.args.get("reg")
    elif call.op == "wc_del":
        handle = call.args.get("handle")
        register = index_of(handle) if isinstance(handle, int) else None

    return register if isinstance(register, int) and register >= 0 else None


def calls_to_replace(removed: Sequence[KernelRange], put: KernelRange | None) -> list[KernelCall]:
    """The calls that give all uses of some registers back, and then add a range."""
    calls = [
        KernelCall("del", {"reg": it.register, "base": 0, "size": 0})
        for it in removed
        for _ in range(it.uses or 1)
    ]
    if put is not None:
        args = {"base": put.base, "size": put.length, "type": TYPE_NUMBERS[put.type]}
        calls.append(KernelCall("add", args))

    return calls


def _register_in(data: object, release: Release) -> int | None:
    """The register of a line `disable=N`."""
    if not isinstance(data, str):
        return None

    try:
        said = read_line(line_of(data.encode("latin-1"), release)[1])
    except (BadLine, Refused, UnicodeEncodeError):
        return None

    return said.register if isinstance(said, DisableLine) else None
