"""devices: a VGA text screen, a linear frame buffer, and a 16550 UART.

vga_text       characters with attributes at 0xb8000
frame_buffer   points of a chosen format, line by line
uart           a 16550 UART, and the other end of its wire
uart_pace      when its characters leave and come
uart_registers the registers of a PC16550D

Each module names its sources.
"""

from __future__ import annotations

from memhub.plugin.devices import DeviceKind, hookimpl
from memhub_devices.frame_buffer import FRAME_BUFFER
from memhub_devices.uart import UART
from memhub_devices.vga_text import VGA_TEXT


@hookimpl
def memhub_devices() -> list[DeviceKind]:
    """Register them."""
    return [VGA_TEXT, FRAME_BUFFER, UART]
