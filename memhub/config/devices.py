"""What `[machines.NAME.devices.DEVICE]` tables say, both ways."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.config.values import seconds, text, u64
from memhub.core.memory.placed import DeviceRefused
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.spec import ANSWER_LIMIT, DeviceSpec
from memhub.device_kinds import place_devices

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.config.reader import Table
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec


def read_devices(table: Table) -> tuple[DeviceSpec, ...]:
    """The devices that a machine's table declares, in its order."""
    devices = table.table("devices")
    found = []
    for name in devices or ():
        assert devices is not None
        row = devices.table(name)
        if row is None:
            continue

        options = row.table("options")
        found.append(
            DeviceSpec(
                name=name,
                kind=row.need("kind", text, "none"),
                base=row.take("base", u64, None),
                options={} if options is None else options.entries(lambda value: value),
                limit=row.take("limit", seconds, ANSWER_LIMIT),
            )
        )
        row.finish()

    return tuple(found)


def check_devices(table: Table, spec: MachineSpec, arch: Arch) -> None:
    """Report a device that contradicts itself or the machine.

    Args:
        table: the machine's table.
        spec: what it says.
        arch: its architecture.
    """
    if spec.devices:
        try:
            place_devices(settle_firmware(spec, arch))
        except DeviceRefused as error:
            table.wrong(error.place, error.reason)


def device_tables(spec: MachineSpec) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Each device's name, what its table says, and its options."""
    for it in spec.devices:
        facts: dict[str, Any] = {"kind": it.kind}
        if it.base is not None:
            facts["base"] = it.base

        if it.limit != ANSWER_LIMIT:
            facts["limit"] = it.limit

        yield it.name, facts, it.options
