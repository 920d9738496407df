"""Which register a call means that names it by its number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.plugin.x86 import BadLine, DisableLine, read_line
from memhub_linux.proc_mtrr import line_of
from memhub_linux.refused import Refused
from memhub_linux.write_combining import index_of

if TYPE_CHECKING:
    from memhub.plugin.kernels import KernelCall
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


def _register_in(data: object, release: Release) -> int | None:
    """The register of a line `disable=N`."""
    if not isinstance(data, str):
        return None

    try:
        said = read_line(line_of(data.encode("latin-1"), release)[1])
    except (BadLine, Refused, UnicodeEncodeError):
        return None

    return said.register if isinstance(said, DisableLine) else None
