"""The layer over the back ends: drivers' ranges, the kernel's start, and `/proc/mtrr`."""
