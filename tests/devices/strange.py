"""Kinds of devices that do what no device should, and a good one."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel

from memhub import DeviceSpec, MachineSpec
from memhub.device_kinds import DeviceBook, load_device_kinds
from memhub.plugin.devices import DeviceError, DeviceKind, Errno, OptionError, Pixels, hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BASE = 0xFE000000
M = 1 << 20


class Good:
    """Bytes that count up, and what was written."""

    length = 4096

    def __init__(self, options: Mapping[str, Any]) -> None:
        if options["step"] < 1:
            raise OptionError("step", f"{options['step']} is below 1")

        self.step = options["step"]
        self.written: list[tuple[int, bytes]] = []

    async def read(self, offset: int, size: int) -> bytes:
        return bytes((offset + self.step * it) & 0xFF for it in range(size))

    async def write(self, offset: int, data: bytes) -> None:
        self.written.append((offset, data))


class Strange(Good):
    """A device that does something else; `act` is called with the number of bytes."""

    act: Callable[[int], Any]

    def __init__(self, options: Mapping[str, Any]) -> None:
        super().__init__({"step": 1})
        self.asked = anyio.Event()
        self.go = anyio.Event()

    async def read(self, offset: int, size: int) -> Any:
        return await self._act(size)

    async def write(self, offset: int, data: bytes) -> None:
        await self._act(len(data))

    async def _act(self, size: int) -> Any:
        raise NotImplementedError


class Raises(Strange):
    async def _act(self, size: int) -> Any:
        raise ZeroDivisionError("a bug")


class Exits(Strange):
    async def _act(self, size: int) -> Any:
        raise SystemExit(3)


class Cancels(Strange):
    async def _act(self, size: int) -> Any:
        raise asyncio.CancelledError


class Closes(Strange):
    async def _act(self, size: int) -> Any:
        raise GeneratorExit


class Stop(BaseException):
    """Neither an Exception nor anything that Python knows."""


class Stops(Strange):
    async def _act(self, size: int) -> Any:
        raise Stop("of its own kind")


class Silent(Exception):
    def __str__(self) -> str:
        raise ValueError("no text")


class Mute(Strange):
    async def _act(self, size: int) -> Any:
        raise Silent


class Opens(Strange):
    """Leaves a task group open."""

    async def _act(self, size: int) -> Any:
        await anyio.create_task_group().__aenter__()

        return bytes(size)


class Enters(Strange):
    """Leaves a scope open."""

    async def _act(self, size: int) -> Any:
        anyio.CancelScope().__enter__()

        return bytes(size)


class Suicidal(Strange):
    """Cancels the task that it runs in."""

    async def _act(self, size: int) -> Any:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await anyio.lowlevel.checkpoint()


class Hangs(Strange):
    async def _act(self, size: int) -> Any:
        self.asked.set()
        await self.go.wait()

        return bytes(size)


class Shielded(Hangs):
    async def _act(self, size: int) -> Any:
        with anyio.CancelScope(shield=True):
            return await super()._act(size)


class Late(Hangs):
    """Fails as it is cancelled."""

    async def _act(self, size: int) -> Any:
        try:
            return await super()._act(size)
        finally:
            raise ZeroDivisionError("a bug")


class TwoBytes(bytes):
    def __len__(self) -> int:
        return 8


class Pretends(Strange):
    async def _act(self, size: int) -> Any:
        return TwoBytes(b"ab")


class Short(Strange):
    async def _act(self, size: int) -> Any:
        return bytes(size + 1)


class Lies(Strange):
    async def _act(self, size: int) -> Any:
        return "x" * size


class Nothing(Strange):
    async def _act(self, size: int) -> Any:
        return None


class Refuses(Strange):
    async def _act(self, size: int) -> Any:
        raise DeviceError("no such register", code=Errno.EFAULT)


class Torn:
    """Memory whose picture does not fit its own size."""

    length = 4096
    content = b""

    def __init__(self, options: Mapping[str, Any]) -> None:
        pass

    def show(self, data: bytes) -> Pixels:
        return Pixels(2, 2, b"")


STRANGE = (Raises, Exits, Cancels, Hangs, Shielded, Late, Pretends, Short, Lies, Nothing, Refuses)
#: What harms the task that it runs in.
HARMFUL = (Closes, Stops, Mute, Opens, Enters, Suicidal)


def plugin_of(*kinds: DeviceKind) -> ModuleType:
    """A plugin that adds these kinds."""

    @hookimpl
    def memhub_devices() -> list[DeviceKind]:
        return list(kinds)

    module = ModuleType("a_plugin")
    module.memhub_devices = memhub_devices  # type: ignore[attr-defined]

    return module


def kind_of(make: Any, **options: Any) -> DeviceKind:
    """A kind that is called as its class."""
    return DeviceKind(name=make.__name__.lower(), summary="", make=make, options=options)


def book(*kinds: DeviceKind, installed: bool = True) -> DeviceBook:
    """All of these, those of this module, and those that are installed."""
    ours = (kind_of(Good, step=1), *map(kind_of, STRANGE + HARMFUL), kind_of(Torn), *kinds)

    return load_device_kinds(plugins=[("strange", plugin_of(*ours))], installed=installed)


def machine(*devices: DeviceSpec, **changes: Any) -> MachineSpec:
    """A PC with these devices."""
    return MachineSpec(**{"name": "pc", "arch": "amd64", "devices": devices, **changes})


def device(kind: str, base: int | None = BASE, name: str = "it", **changes: Any) -> DeviceSpec:
    """A device, called `it` if nothing else is said."""
    return DeviceSpec(name=name, kind=kind, base=base, **changes)
