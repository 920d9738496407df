"""The types of many addresses are those of each, and so are the refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from memhub.core.deciding.address_types import as_addresses, types_of_addresses
from memhub.core.deciding.transfers import explain
from memhub.core.effective.typemap import TYPE_OF_CODE
from memhub.core.files import Caller, OpenFile, Principal
from memhub.core.machine import Machine
from memhub.errors import DeviceError, InvalidArgument
from shell.kit import ARCHES, BOARD, DIRECT, K6, MTRR, OLD, PAT, PPC

if TYPE_CHECKING:
    from memhub import MachineSpec
    from memhub.core.files import Device

M = 1 << 20
U64 = 1 << 64

near = st.sampled_from(
    [
        *(0, 0xA0000, 0xC0000, M, 4 * M, 1 << 32, 1 << 36, DIRECT, DIRECT + M, 0xC0000000),
        *(0xFFFFFFFF80100000, 0xFFFFFFFF80110000, 0xFFFFFFFF80120000, U64 - 1),
    ]
)
addresses = st.lists(
    st.builds(lambda base, more: min(base + more, U64 - 1), near, st.integers(0, 0x11000))
    | st.integers(0, U64 - 1),
    max_size=20,
)


@given(
    spec=st.sampled_from((PAT, MTRR, OLD, K6, PPC, BOARD)),
    device=st.sampled_from(("mem", "kmem")),
    wanted=addresses,
)
def test_many_addresses_are_explained_as_each_is(
    spec: MachineSpec, device: Device, wanted: list[int]
) -> None:
    machine = Machine.make(spec, ARCHES[spec.arch])
    caller = Caller(machine.name, machine.arch.name, device, Principal(1, "p"), 1)
    file = OpenFile(caller, True, True, False, machine.arch.model)
    try:
        expected: Any = [explain(machine, file, address).type for address in wanted]
    except DeviceError as error:
        expected = type(error), error.reason

    try:
        codes = types_of_addresses(machine, file, np.array(wanted, dtype=np.uint64))
        found: Any = [TYPE_OF_CODE[code] for code in codes]
    except DeviceError as error:
        found = type(error), error.reason
    finally:
        machine.close()

    assert found == expected


@pytest.mark.parametrize("given", [[0.5], ["0"], [None], [-1], [U64], [[0], [-5]], [True, "x"]])
def test_what_is_not_an_address_is_refused(given: Any) -> None:
    with pytest.raises(InvalidArgument, match="address"):
        as_addresses(given)


def test_addresses_keep_their_shape() -> None:
    assert as_addresses([[1, U64 - 1], [2, 3]]).tolist() == [[1, U64 - 1], [2, 3]]
    assert as_addresses(7).shape == ()
    assert as_addresses([]).shape == (0,)
    assert as_addresses(np.array([1, 2], dtype=np.int16)).dtype == np.uint64
