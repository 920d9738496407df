"""The memory types of many addresses of an open device file at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from memhub.abi import U64_MAX
from memhub.core.transfers import explain
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt

    from memhub.core.effective.typemap import Codes
    from memhub.core.files import OpenFile
    from memhub.core.machine import Machine
    from memhub.core.memory.kmem import KernelMemory

    Addresses = npt.NDArray[np.uint64]


def as_addresses(addresses: npt.ArrayLike) -> Addresses:
    """Addresses as unsigned 64-bit numbers, in the shape in which they come.

    Raises:
        InvalidArgument: EINVAL; they are not integers, or one does not fit 64 bits.
    """
    given = np.asarray(addresses)
    if given.dtype.kind == "f" and not isinstance(addresses, np.ndarray):
        # numpy makes fractions of a list that holds both small numbers and ones above 2^63.
        given = np.asarray(addresses, dtype=object)

    if not given.size:
        return given.astype(np.uint64)

    if given.dtype.kind not in "ui" and not _holds_integers(given):
        raise InvalidArgument(f"addresses are integers, not {given.dtype}")

    low, high = int(given.min()), int(given.max())
    if low < 0 or high > U64_MAX:
        raise InvalidArgument(
            f"address {low if low < 0 else high:#x} is not an unsigned 64-bit number"
        )

    return given.astype(np.uint64, copy=False)


def _holds_integers(given: npt.NDArray[np.generic]) -> bool:
    return given.dtype.kind == "O" and all(isinstance(it, int) for it in given.reshape(-1).tolist())


def types_of_addresses(machine: Machine, file: OpenFile, addresses: npt.ArrayLike) -> Codes:
    """Which memory type each of many addresses has.

    Args:
        machine: the machine.
        file: the open device file.
        addresses: physical on `/dev/mem`, kernel virtual on `/dev/kmem`; of any shape.

    Returns:
        codes, indexes into `TYPE_OF_CODE`, in the same shape.

    Raises:
        DeviceError: what `explain` answers for the first address that it refuses.
    """
    wanted = as_addresses(addresses)
    flat = wanted.reshape(-1)
    physical = flat
    mapped = np.ones(flat.size, dtype=np.bool_)
    if file.caller.device == "kmem":
        physical, mapped = _translate(machine.kernel, flat)

    known = mapped & (physical < np.uint64(min(machine.memory.top, U64_MAX)))
    if machine.table is None or not known.all():
        for address in flat[:1] if machine.table is None else flat[~known]:
            explain(machine, file, int(address))  # raises, with the reason

    if machine.table is None:
        return np.empty(wanted.shape, dtype=np.uint8)

    return machine.table.types.of(physical).reshape(wanted.shape)


def _translate(kernel: KernelMemory, flat: Addresses) -> tuple[Addresses, npt.NDArray[np.bool_]]:
    """Kernel virtual addresses to physical ones, and which of them have one."""
    areas = kernel.areas
    physical = np.zeros_like(flat)
    mapped = np.zeros(flat.size, dtype=np.bool_)
    if not areas:
        return physical, mapped

    starts = np.array([area.base for area in areas], dtype=np.uint64)
    last = np.array([area.end - 1 for area in areas], dtype=np.uint64)
    deltas = [area.delta for area in areas]
    usable = [area.delta is not None and not area.refusal for area in areas]
    index = np.searchsorted(starts, flat, side="right") - 1
    inside = (index >= 0) & (flat <= last[index])
    mapped = inside & np.array(usable)[index]
    shift = np.array([(delta or 0) % (1 << 64) for delta in deltas], dtype=np.uint64)
    with np.errstate(over="ignore"):
        physical = flat + shift[index]

    return physical, mapped
