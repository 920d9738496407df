"""The memory types of many addresses, of a machine in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from memhub.engine import Engine


def explain_addresses(
    engine: Engine, handle: int, addresses: npt.ArrayLike
) -> npt.NDArray[np.uint8]:
    """Which memory types many addresses have; see `AsyncDeviceFile.explain_array`.

    Args:
        engine: the machines.
        handle: the open file.
        addresses: integers of any shape.
    """
    from memhub.core.address_types import types_of_addresses  # numpy, which a hub can do without

    machine, file = engine.files.machine_of(handle), engine.files.file(handle)
    engine.tick()

    return types_of_addresses(machine, file, addresses)
