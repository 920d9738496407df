"""Snapshots of machines in this process, with the calls of a client of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.arguments import take_kind
from memhub.service.remote_hub import take_machine

if TYPE_CHECKING:
    import threading

    from memhub.engine.engine import Engine


class LocalSnapshots:
    """Takes, restores and resets the machines of a hub in this process.

    Args:
        engine: the hub's synchronous half.
        lock: what its callers hold while they use it.
    """

    def __init__(self, engine: Engine, lock: threading.RLock) -> None:
        self._engine = engine
        self._lock = lock

    def take(self, machine: str | None) -> bytes:
        """The machines, or one, as they are now: a file for `memhub.Snapshot`."""
        from memhub.snapshots.snapshot import take_machines

        take_machine(machine)
        with self._lock:
            snapshot = take_machines(self._engine, machine)

        return snapshot.to_bytes()

    def restore(self, file: bytes, machine: str | None) -> list[str]:
        """Let machines be as a file has them; their names.

        Raises:
            InvalidArgument: EINVAL; it is no sound snapshot, or does not fit.
        """
        from memhub.arches import ArchNotInstalled, load_arches
        from memhub.errors import InvalidArgument
        from memhub.snapshots.snapshot import Snapshot, restore_machines
        from memhub.snapshots.snapshot_file import SnapshotError

        take_kind("file", file, bytes)
        take_machine(machine)
        own: dict[str, Any] = {it.arch.name: it.arch for it in self._engine.machines.values()}
        try:
            snapshot = Snapshot.from_bytes(file, arches={**load_arches(), **own})
        except (SnapshotError, ArchNotInstalled) as error:
            raise InvalidArgument(str(error)) from None

        with self._lock:
            restore_machines(self._engine, snapshot, machine)

        return [machine] if machine is not None else list(snapshot.machines)

    def reset(self, machine: str | None) -> list[str]:
        """Let the machines, or one, be as they were at their start; their names."""
        from memhub.snapshots.snapshot import reset_machines

        take_machine(machine)
        with self._lock:
            reset_machines(self._engine, machine)

        return [machine] if machine is not None else list(self._engine.machines)
