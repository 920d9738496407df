"""A declared device as it lies in the address space of a machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class DeviceRefused(ValueError):
    """Raised when a declared device cannot be placed.

    Attributes:
        device: its name.
        key: what of its declaration is wrong; empty where it is all of it.
        reason: why.
    """

    def __init__(self, device: str, key: str, reason: str) -> None:
        self.device = device
        self.key = key
        self.reason = reason
        super().__init__(f"{self.place}: {reason}")

    @property
    def place(self) -> str:
        """The dotted key in a machine's table."""
        return ".".join(it for it in ("devices", self.device, self.key) if it)


@dataclass(frozen=True, slots=True)
class PlacedDevice:
    """A declared device in its place.

    A device of memory has its bytes in the machine's memory, where CPUs and the bus reach them as
    they reach RAM, and shows them. Another answers each access itself.

    Attributes:
        name: what it is called.
        kind: the name of its kind.
        source: the plugin that ships the kind, and its distribution.
        base: first physical byte.
        length: bytes.
        options: the options of its kind, all of them.
        limit: seconds that it has for the answer to one access.
        content: what a device of memory begins with; None for another device.
        model: what its kind has made. A fork has a copy of it: see `model_of`.
        thread: what runs the calls of a model that blocks; None for one that is awaited.
    """

    name: str
    kind: str
    source: str
    base: int
    length: int
    options: Mapping[str, Any]
    limit: float
    content: bytes | None = field(default=None, compare=False, repr=False)
    model: Any = field(default=None, compare=False, repr=False)
    thread: Any = field(default=None, compare=False, repr=False)

    __hash__ = None  # type: ignore[assignment]

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.base + self.length

    @property
    def is_memory(self) -> bool:
        """Whether it is memory that it shows."""
        return self.content is not None

    def __str__(self) -> str:
        return f"device {self.name!r} ({self.kind}) {self.base:#x}/{self.length:#x}"

    def on(self, machine: str) -> str:
        """All that names it, for an error of its model."""
        return f"{self} of {machine}, from {self.source},"
