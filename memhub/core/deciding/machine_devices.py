"""The declared devices of a machine, found by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.errors import NoSuchDevice

if TYPE_CHECKING:
    from memhub.core.machine import Machine
    from memhub.core.memory.placed import PlacedDevice


def find_device(machine: Machine, name: str) -> PlacedDevice:
    """A declared device of a machine.

    Raises:
        NoSuchDevice: ENOENT; it has no device of this name.
    """
    for it in machine.devices:
        if it.name == name:
            return it

    known = ", ".join(it.name for it in machine.devices) or "none"
    raise NoSuchDevice(f"{machine.name} has no device {name!r} (devices: {known})")


def model_of(machine: Machine, device: PlacedDevice) -> Any:  # noqa: ANN401 - what a plugin made
    """The model of a declared device: in a fork, its copy."""
    for window in machine.memory.windows:
        if window.placed is not None and window.placed.name == device.name:
            return window.device

    return device.model
