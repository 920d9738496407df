"""Devices put into the memory map of a machine."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from memhub.core.memory.device_states import save_device
from memhub.core.memory.physmap import BACKED, check_span
from memhub.core.memory.placed import DeviceRefused
from memhub.core.spec import Region
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from memhub.core.memory.physical import PhysicalMemory
    from memhub.core.memory.placed import PlacedDevice
    from memhub.core.spec import Content


def place_regions(
    regions: Iterable[Region], devices: Sequence[PlacedDevice], phys_bits: int
) -> tuple[Region, ...]:
    """A memory map with the memory of devices in it, and the devices' places checked.

    A device needs a hole: addresses that the map does not name, that are reserved or unusable, or
    that belong to a ROM without content there.

    Args:
        regions: the memory map; what it has of devices already is replaced.
        devices: the devices.
        phys_bits: physical address width in bits.

    Raises:
        DeviceRefused: a device leaves the address space, overlaps another, or has no hole.
    """
    plain = [it for it in regions if it.kind != "device"]
    ordered = sorted(devices, key=lambda it: it.base)
    for it in ordered:
        _check_place(it, plain, phys_bits)

    for low, high in pairwise(ordered):
        if low.end > high.base:
            raise DeviceRefused(high.name, "base", f"{high} overlaps {low}: one answers an address")

    for it in ordered:
        if it.is_memory:
            plain = [part for region in plain for part in _cut_region(region, it)]
            plain.append(
                Region(base=it.base, length=it.length, kind="device", data=it.content or b"")
            )

    return tuple(sorted(plain, key=lambda it: it.base))


def _check_place(device: PlacedDevice, regions: Iterable[Region], phys_bits: int) -> None:
    try:
        check_span(f"device {device.name!r} ({device.kind})", device.base, device.length, phys_bits)
    except ValueError as error:
        raise DeviceRefused(device.name, "base", str(error)) from None

    for region in regions:
        end = region.base + region.length
        if device.base >= end or region.base >= device.end or region.kind not in BACKED:
            continue

        if region.kind == "rom" and device.base >= region.base + len(region.data):
            continue

        raise DeviceRefused(
            device.name,
            "base",
            f"{device} lies on the {region.kind} region {region.base:#x}/{region.length:#x} of the "
            "memory map, which has no hole there",
        )


def _cut_region(region: Region, device: PlacedDevice) -> Iterator[Region]:
    """What is left of a region around a device."""
    end = region.base + region.length
    if device.base >= end or region.base >= device.end:
        yield region
        return

    if region.base < device.base:
        yield replace(region, length=device.base - region.base)

    if device.end < end:
        yield replace(region, base=device.end, length=end - device.end, data=b"")


def map_devices(
    memory: PhysicalMemory, devices: Iterable[PlacedDevice], contents: Sequence[Content] = ()
) -> None:
    """Let the devices that answer accesses do so.

    Args:
        memory: where they answer.
        devices: the devices.
        contents: what the memory holds at the start, which no device may hide.

    Raises:
        ValueError: a device cannot say what it keeps, or is where a content is.
    """
    for it in devices:
        for held in contents:
            if it.base < held.kept_end and held.base < it.end:
                raise DeviceRefused(it.name, "base", f"{held} overlaps {it}: a device has its own")

        if not it.is_memory:
            try:
                save_device(it.model)
            except DeviceError as error:
                raise DeviceRefused(it.name, "", error.reason) from error

            memory.map_mmio(it.base, it.length, it.model, it)
