"""memhub: FreeBSD's /dev/mem and /dev/kmem as an async multiplexer.

Where things are: `abi` the binary interface, `errors` what is answered, `core` the machine that
decides, `plugin` what an architecture imports, `audit` the log, `engine` where the three meet,
`handles` open files, `hub` the machines of one event loop, `service` the same over sockets,
`config` TOML and imports, `cli` the commands.

The names below are loaded when they are first used, so that a command that needs only a socket
does not pay for numpy.
"""

from __future__ import annotations

# Type checkers take this name for true; importing it would cost more than the rest of the file.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Final

    from memhub.arches import load_arches as load_arches
    from memhub.audit import AuditLog as AuditLog
    from memhub.clock import ManualClock as ManualClock
    from memhub.clock import SystemClock as SystemClock
    from memhub.config import load_config as load_config
    from memhub.core.cache_limits import CacheLimits as CacheLimits
    from memhub.core.caches.hazards import Hazard as Hazard
    from memhub.core.drivers.driver import Cpu as Cpu
    from memhub.core.faults.fault_rules import FaultRule as FaultRule
    from memhub.core.health.sickness import Sickness as Sickness
    from memhub.core.spec import Content as Content
    from memhub.core.spec import DeviceSpec as DeviceSpec
    from memhub.core.spec import KernelMapping as KernelMapping
    from memhub.core.spec import MachineSpec as MachineSpec
    from memhub.core.spec import Region as Region
    from memhub.errors import DeviceError as DeviceError
    from memhub.handles.blocking_device_file import DeviceFile as DeviceFile
    from memhub.handles.device_file import AsyncDeviceFile as AsyncDeviceFile
    from memhub.handles.handle import Handle as Handle
    from memhub.handles.process import Process as Process
    from memhub.hub.hub import Hub as Hub
    from memhub.service.client import connect as connect
    from memhub.snapshots.snapshot import Snapshot as Snapshot
    from memhub.snapshots.snapshot_file import SnapshotError as SnapshotError

_HOMES: Final = {
    "AsyncDeviceFile": "memhub.handles.device_file",
    "AuditLog": "memhub.audit",
    "CacheLimits": "memhub.core.cache_limits",
    "Content": "memhub.core.spec",
    "Cpu": "memhub.core.drivers.driver",
    "DeviceError": "memhub.errors",
    "DeviceFile": "memhub.handles.blocking_device_file",
    "DeviceSpec": "memhub.core.spec",
    "FaultRule": "memhub.core.faults.fault_rules",
    "Handle": "memhub.handles.handle",
    "Hazard": "memhub.core.caches.hazards",
    "Hub": "memhub.hub.hub",
    "KernelMapping": "memhub.core.spec",
    "MachineSpec": "memhub.core.spec",
    "ManualClock": "memhub.clock",
    "Process": "memhub.handles.process",
    "Region": "memhub.core.spec",
    "Sickness": "memhub.core.health.sickness",
    "Snapshot": "memhub.snapshots.snapshot",
    "SnapshotError": "memhub.snapshots.snapshot_file",
    "SystemClock": "memhub.clock",
    "connect": "memhub.service.client",
    "load_config": "memhub.config",
    "load_arches": "memhub.arches",
}

__all__ = (
    "AsyncDeviceFile",
    "AuditLog",
    "CacheLimits",
    "Content",
    "Cpu",
    "DeviceError",
    "DeviceFile",
    "DeviceSpec",
    "FaultRule",
    "Handle",
    "Hazard",
    "Hub",
    "KernelMapping",
    "MachineSpec",
    "ManualClock",
    "Process",
    "Region",
    "Sickness",
    "Snapshot",
    "SnapshotError",
    "SystemClock",
    "connect",
    "load_arches",
    "load_config",
)


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'memhub' has no attribute {name!r}")

    from importlib import import_module

    value = getattr(import_module(home), name)
    globals()[name] = value

    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
