"""What a plugin of device models imports.

A plugin is a module with one hook, found through the `memhub.devices` entry-point group::

    from memhub.plugin.devices import DeviceKind, hookimpl

    class Counter:
        length = 4

        def __init__(self, options):
            self.count = options["start"]

        async def read(self, offset, size):
            self.count += 1
            return self.count.to_bytes(4, "little")[offset : offset + size]

        async def write(self, offset, data):
            self.count = int.from_bytes(data, "little")

    @hookimpl
    def memhub_devices():
        kind = DeviceKind(name="counter", summary="counts", options={"start": 0}, make=Counter)
        return [kind]

and, in its pyproject.toml, `[project.entry-points."memhub.devices"]`. A model answers accesses
itself, as this one does (`DeviceModel`; `BlockingModel` if it blocks), or is memory that it shows
(`ShownMemory`). A plugin that does not work is named and costs the others nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

import pluggy

from memhub.abi import Errno as Errno
from memhub.arguments import take_buffer as take_buffer
from memhub.core.kernel import OptionError as OptionError
from memhub.errors import DeviceError as DeviceError
from memhub.plugin.pictures import PALETTE as PALETTE
from memhub.plugin.pictures import Pixels as Pixels  # noqa: TC001 - for plugins
from memhub.plugin.pictures import TextCells as TextCells  # noqa: TC001 - for plugins
from memhub.plugin.serial import SerialLine as SerialLine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

#: pluggy's project name, and the entry-point group.
GROUP: Final = "memhub.devices"

#: Marks the hook itself.
hookspec = pluggy.HookspecMarker(GROUP)
#: Marks the function that gives memhub the kinds of devices of a module.
hookimpl = pluggy.HookimplMarker(GROUP)


class DeviceModel(Protocol):
    """A device that answers each access itself.

    An access is at most a page and within the device. What it raises, and an answer of another
    type or length than asked, is an error of the caller alone, which names the device. So is an
    answer that does not come within the `limit` of the device. A model that should go back with
    snapshots, resets and forks also has `save_state()`, which answers bytes, and
    `load_state(data)`.
    """

    @property
    def length(self) -> int:
        """Bytes of the device, as its options say."""

    async def read(self, offset: int, size: int) -> bytes:
        """Answer `size` bytes from `offset`; both come from the access itself."""

    async def write(self, offset: int, data: bytes) -> None:
        """Take `data` at `offset`."""


class DeviceTimer(Protocol):
    """The time of the hub that a model is in: its `Clock`, also one that a rig moves.

    A model that has `use_timer(timer)` is given one when its machine comes to a hub, or when it is
    mapped. A copy of the model, in a fork, is given that of its own hub. What `use_timer` raises
    refuses the machine, or the mapping.
    """

    def mono_ns(self) -> int:
        """Nanoseconds on the monotonic clock."""

    def set_alarm(self, mono_ns: int, ring: Callable[[], object]) -> None:
        """Have something done at a moment of that clock; until then nothing runs.

        Refused with TypeError: a moment that is no integer, and a `ring` that is no plain function.
        What it raises is a warning, and harms nobody. An alarm is not taken back: the model looks
        whether it is still of use.
        """


class BlockingModel(Protocol):
    """A device that answers each access itself, and may block meanwhile.

    As `DeviceModel`, with plain functions. They are called on a thread of the device, one at a
    time. It belongs on the system's clock: virtual time does not wait for threads.
    """

    @property
    def length(self) -> int:
        """Bytes of the device, as its options say."""

    def read(self, offset: int, size: int) -> bytes:
        """Answer `size` bytes from `offset`; both come from the access itself."""

    def write(self, offset: int, data: bytes) -> None:
        """Take `data` at `offset`."""


class ShownMemory(Protocol):
    """A device that is memory, and shows what the bus sees in it.

    CPUs and DMA reach it as they reach RAM: by the memory type of its addresses, so that what a
    process writes with write-combine is shown once it is drained. It is no RAM of the kernel.
    """

    @property
    def length(self) -> int:
        """Bytes of the device."""

    @property
    def content(self) -> bytes:
        """What the memory begins with; the rest is zero."""

    def show(self, data: bytes) -> Pixels | TextCells:
        """The picture of the memory's bytes; the same bytes give the same picture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceKind:
    """One kind of device.

    Attributes:
        name: what a machine declares, as `uart-16550`.
        summary: one line about it.
        make: makes the model of one device, of all its options. It raises OptionError for a value
            that it refuses.
        options: the options by name, with the values of those that are not said. A value that is
            said has the type of that.
        base: the address of a device that does not say one; None if it has to.
        source: the plugin that ships it; memhub fills it in.
    """

    name: str
    summary: str
    make: Callable[[Mapping[str, Any]], DeviceModel | BlockingModel | ShownMemory]
    options: Mapping[str, Any] = field(default_factory=dict)
    base: int | None = None
    source: str = "the caller"


@hookspec
def memhub_devices() -> Iterable[DeviceKind]:  # type: ignore[empty-body]
    """Name the kinds of devices that a plugin adds.

    Returns:
        kinds; of two plugins that name one kind, neither is used for it.
    """
