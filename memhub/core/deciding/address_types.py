"""The memory types of many addresses of an open device file at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from memhub.abi import U64_MAX
from memhub.arguments import take_integer, wrong_address
from memhub.core.deciding.transfers import explain, physical_address
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy.typing as npt

    from memhub.core.effective.typemap import Codes
    from memhub.core.files import OpenFile
    from memhub.core.machine import Machine

    Addresses = npt.NDArray[np.uint64]

_PAGE_BITS: Final = np.uint64(12)


def as_addresses(addresses: npt.ArrayLike) -> Addresses:
    """Addresses as unsigned 64-bit numbers, in the shape in which they come.

    Raises:
        InvalidArgument: EINVAL; they are not an array of integers, or one does not fit 64 bits.
    """
    try:
        given = np.asarray(addresses)
        if given.dtype.kind not in "buiO" and not isinstance(addresses, np.ndarray):
            # numpy makes fractions of a list that holds both small numbers and ones above 2^63.
            given = np.asarray(addresses, dtype=object)
    except ValueError as error:
        raise InvalidArgument(f"the addresses are not an array: {error}") from None

    if not given.size:
        return given.astype(np.uint64)

    if given.dtype.kind not in "bui":
        given = _integers_of(given)

    low, high = int(given.min()), int(given.max())
    if reason := wrong_address(low) or wrong_address(high):
        raise InvalidArgument(reason)

    return given.astype(np.uint64, copy=False)


def _integers_of(given: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        found = [take_integer("address", it) for it in given.reshape(-1).tolist()]
    except TypeError as error:
        raise InvalidArgument(str(error)) from None

    return np.array(found, dtype=object).reshape(given.shape)


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
    if file.caller.device == "kmem":
        physical = _translate_addresses(machine, file, flat)

    known = physical < np.uint64(min(machine.memory.top, U64_MAX))
    if machine.table is None or not known.all():
        for address in flat[:1] if machine.table is None else flat[~known]:
            explain(machine, file, int(address))  # raises, with the reason

    if machine.table is None:
        return np.empty(wanted.shape, dtype=np.uint8)

    return machine.table.types.of(physical).reshape(wanted.shape)


def _translate_addresses(machine: Machine, file: OpenFile, flat: Addresses) -> Addresses:
    """Kernel virtual addresses to physical ones, each page looked up once.

    Raises:
        DeviceError: what `explain` answers for the first address that it refuses.
    """
    _, firsts, page_of = np.unique(flat >> _PAGE_BITS, return_index=True, return_inverse=True)
    shift = np.zeros(firsts.size, dtype=np.uint64)
    for page in np.argsort(firsts):
        address = int(flat[firsts[page]])
        shift[page] = (physical_address(machine, file, address) - address) & U64_MAX

    with np.errstate(over="ignore"):
        physical: Addresses = flat + shift[page_of.reshape(-1)]

    # Some kernels refuse the first byte of page 0 and allow the rest of it.
    for address in flat[physical == 0]:
        physical_address(machine, file, int(address))

    return physical
