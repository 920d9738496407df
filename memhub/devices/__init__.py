"""Devices in the address space: their transfers and limits, the bus, and what they show."""
