"""Processes and their open files, as data."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from memhub.abi import U64_MAX
from memhub.arguments import take_integers, take_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from memhub.abi import DataModel

Device = Literal["mem", "kmem", "mtrr", "memtype"]

#: Device paths, without the name of a machine.
DEVICES: Final[dict[str, Device]] = {
    "/dev/mem": "mem",
    "/dev/kmem": "kmem",
    "/proc/mtrr": "mtrr",
    "/sys/kernel/debug/x86/pat_memtype_list": "memtype",
}
#: The paths of devices.
PATHS: Final[dict[Device, str]] = {device: path for path, device in DEVICES.items()}
#: Devices whose calls another kernel than FreeBSD answers.
KERNEL_FILES: Final[frozenset[Device]] = frozenset({"mtrr", "memtype"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A process: whoever holds handles and claims. Not the `mr_owner` label.

    Attributes:
        id: unique in the hub.
        name: for people.
        pid: the client's process id, from the kernel, where known.
        uid: its user id, likewise.
        privileged: whether the machine's kernel takes it for root; from FreeBSD 10 on, another
            cannot open memory for writing (EPERM). A service's clients all are: its rules decide
            who may do what.
    """

    id: int
    name: str
    pid: int | None = None
    uid: int | None = None
    privileged: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        take_text("name", self.name)
        take_integers(self, ("id",), optional=("pid", "uid"))
        object.__setattr__(self, "privileged", bool(self.privileged))
        for name in ("pid", "uid"):
            number = getattr(self, name)
            if number is not None and not -(1 << 63) <= number < 1 << 63:
                raise ValueError(f"{name} {number:#x} does not fit a signed 64-bit number")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and through which open file.

    Attributes:
        machine: the machine's name.
        arch: its architecture's name.
        device: `mem`, `kmem`, or a file of another kernel.
        process: who opened the file.
        handle: the hub's number for the open file.
        facts: what every record of a request through this file says of it.
    """

    machine: str
    arch: str
    device: Device
    process: Principal
    handle: int
    facts: dict[str, Any] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        process = self.process
        facts = {
            "machine": self.machine,
            "arch": self.arch,
            "device": PATHS[self.device],
            "process": process.name,
            "process_id": process.id,
            "pid": process.pid,
            "uid": process.uid,
            "handle": self.handle,
        }
        object.__setattr__(self, "facts", facts)

    @property
    def path(self) -> str:
        """The name of the machine and of its device, as `NAME:/dev/mem`."""
        return f"{self.machine}:{PATHS[self.device]}"


@dataclass(slots=True)
class OpenFile:
    """One open of a device file; what a descriptor refers to.

    Attributes:
        caller: whose it is, and what it is open on.
        readable: opened for reading.
        writable: opened for writing.
        undo: opened "undo on close".
        model: the data model of its ioctls.
        offset: where the next `read` or `write` begins.
    """

    caller: Caller
    readable: bool
    writable: bool
    undo: bool
    model: DataModel
    offset: int = 0

    def move(self, moved: int) -> None:
        """Move the offset on, or back; it wraps at 2**64, as FreeBSD's does."""
        self.offset = (self.offset + moved) & U64_MAX


@dataclass(slots=True)
class FileTable:
    """The open files of one machine.

    Attributes:
        files: by their numbers, oldest first.
    """

    files: dict[int, OpenFile] = field(default_factory=dict)
    _by_process: dict[int, dict[int, OpenFile]] = field(
        default_factory=dict, compare=False, repr=False
    )

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[OpenFile]:
        return iter(self.files.values())

    def __getitem__(self, handle: int) -> OpenFile:
        return self.files[handle]

    def add(self, file: OpenFile) -> None:
        """Take a file in; one that was taken out comes back to its place."""
        handle, process = file.caller.handle, file.caller.process.id
        back = bool(self.files) and handle < next(reversed(self.files))
        self.files[handle] = file
        self._by_process.setdefault(process, {})[handle] = file
        if back:
            self.files = dict(sorted(self.files.items()))
            self._by_process[process] = dict(sorted(self._by_process[process].items()))

    def remove(self, file: OpenFile) -> None:
        """Take a file out."""
        handle, process = file.caller.handle, file.caller.process.id
        del self.files[handle]
        mine = self._by_process[process]
        del mine[handle]
        if not mine:
            del self._by_process[process]

    def of(self, process: Principal) -> list[OpenFile]:
        """The open files of a process, oldest first."""
        return list(self._by_process.get(process.id, {}).values())

    def processes(self) -> Iterator[Principal]:
        """Who has a file open."""
        for files in self._by_process.values():
            yield next(iter(files.values())).caller.process
