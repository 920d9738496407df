"""What devices of memory show: their bytes as the bus has them, and the picture of those."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.arguments import take_text
from memhub.core.deciding.machine_devices import find_device, model_of
from memhub.devices.bus import Bus, find_machine
from memhub.errors import DeviceError, InvalidArgument, NoSuchDevice
from memhub.escape import say_error
from memhub.plugin.pictures import Pixels, TextCells

if TYPE_CHECKING:
    from memhub.core.machine import Machine
    from memhub.core.memory.placed import PlacedDevice
    from memhub.engine.engine import Engine


def describe_devices(machine: Machine) -> list[dict[str, Any]]:
    """The declared devices of a machine as plain data, in the order of their declaration."""
    return [
        {
            "name": it.name,
            "kind": it.kind,
            "source": it.source,
            "base": it.base,
            "length": it.length,
            "options": dict(it.options),
            "limit": it.limit,
            "shows": it.is_memory,
        }
        for it in machine.devices
    ]


def find_shown(machine: Machine, name: str | None = None) -> PlacedDevice:
    """A device of memory.

    Args:
        machine: the machine.
        name: which; None for the only one.

    Raises:
        NoSuchDevice: ENOENT; there is no such device, or none of memory.
        InvalidArgument: EINVAL; it is no device of memory, or there are several and no name.
    """
    if name is not None:
        found = find_device(machine, name)
        if not found.is_memory:
            raise InvalidArgument(f"{found} of {machine.name} is no memory, and shows nothing")

        return found

    shown = [it for it in machine.devices if it.is_memory]
    if not shown:
        raise NoSuchDevice(f"{machine.name} has no device that shows memory")

    if len(shown) > 1:
        names = ", ".join(it.name for it in shown)
        raise InvalidArgument(f"{machine.name} has several devices that show memory: {names}")

    return shown[0]


def read_shown(engine: Engine, machine: Machine, device: PlacedDevice) -> bytes:
    """The bytes of a device of memory as it reads them itself, over the bus.

    Raises:
        LogFailed: EIO; it cannot be recorded.
    """
    return Bus(engine, machine).read(device.base, device.length)


def draw_picture(machine: str, device: PlacedDevice, data: bytes) -> Pixels | TextCells:
    """The picture of a device's bytes.

    Args:
        machine: the machine's name, for errors.
        device: the device.
        data: the bytes.

    Raises:
        DeviceError: EIO; its model fails, or makes no picture.
    """
    who = device.on(machine)
    try:
        picture: object = device.model.show(data)
        if isinstance(picture, Pixels | TextCells):
            picture.check()
            return picture
    except KeyboardInterrupt:  # the user's
        raise
    except BaseException as error:
        reason = f"{who} failed to show it: {say_error(error)}"
        raise DeviceError(reason) from error

    raise DeviceError(f"{who} showed {type(picture).__name__}, where a picture is due")


def find_model(engine: Engine, name: str, machine: str | None) -> Any:  # noqa: ANN401 - what a plugin made
    """The model of a declared device, as its kind has made it.

    Args:
        engine: of the hub.
        name: the device's name.
        machine: the machine's name, or None for the default one.

    Raises:
        NoSuchDevice: ENOENT; no such machine or device.
    """
    found = find_machine(engine, machine)

    return model_of(found, find_device(found, take_text("name", name)))


def show_device(engine: Engine, device: str | None, machine: str | None) -> Pixels | TextCells:
    """What a device of memory shows; it reads over the bus, as a DMA device does.

    Args:
        engine: of the hub.
        device: the device's name; None for the only one that shows something.
        machine: the machine's name, or None for the default one.

    Raises:
        NoSuchDevice: ENOENT; no such machine or device.
        InvalidArgument: EINVAL; the device shows nothing, or there are several and no name.
        DeviceError: EIO; its model fails, or makes no picture.
        LogFailed: EIO; it cannot be recorded.
    """
    found = find_machine(engine, machine)
    placed = find_shown(found, None if device is None else take_text("device", device))

    return draw_picture(found.name, placed, read_shown(engine, found, placed))
