"""What kvm(3) offers over `/dev/kmem`: symbols by name, and kernel memory by address.

Plain functions over a Transfer. A span that reaches a device window raises NeedsDevice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping

    from memhub.abi import Buffer
    from memhub.core.memory.pieces import Protection
    from memhub.core.memory.transfer import Transfer


@dataclass(frozen=True, slots=True)
class Nlist:
    """One symbol that was looked up, as `struct nlist`.

    Attributes:
        n_name: the name asked for.
        n_value: its address, 0 if there is no such symbol.
        found: whether there is one (`n_type` is then not 0).
    """

    n_name: str
    n_value: int = 0
    found: bool = False


def kvm_nlist(symbols: Mapping[str, int], names: Iterable[str]) -> tuple[Nlist, ...]:
    """Look symbols up by name; a name without a symbol is not an error.

    A name that begins with `_` is also found without it, as nlist(3) finds it in ELF and kvm_nlist
    by kldsym(2).

    Args:
        symbols: the kernel's symbols, name to address.
        names: the names to look up.

    Returns:
        one entry for each name, in the order of `names` (kvm_nlist(3)).
    """
    return tuple(_look_up(symbols, name) for name in names)


def _look_up(symbols: Mapping[str, int], name: str) -> Nlist:
    for word in (name, name.removeprefix("_")):
        if word in symbols:
            return Nlist(name, symbols[word], found=True)

    return Nlist(name)


def kvm_read(transfer: Transfer, addr: int, nbytes: int, process: Hashable = None) -> bytes:
    """Read kernel memory; source: kvm(3).

    Returns:
        the bytes; fewer than `nbytes` where the machine answers short counts.

    Raises:
        BadAddress: as `Transfer.read` (EFAULT).
        NeedsDevice: a device answers part of the span.
    """
    return transfer.read("kmem", addr, nbytes, process)


def kvm_write(
    transfer: Transfer,
    addr: int,
    data: Buffer,
    process: Hashable = None,
    protection: Protection | None = None,
) -> int:
    """Write kernel memory; source: kvm(3).

    Returns:
        bytes moved.

    Raises:
        BadAddress: as `Transfer.write` (EFAULT).
        NeedsDevice: a device answers part of the span.
    """
    return transfer.write("kmem", addr, data, process, protection)
