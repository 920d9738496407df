"""What the handlers of trapped calls use, and what they can answer."""

from __future__ import annotations

import enum
import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from memhub.exec.host import refusal_line
from memhub.exec.kernel import Listener, Notification
from memhub.exec.memory import ProgramMemory

if TYPE_CHECKING:
    from memhub.exec.backend import DeviceBackend
    from memhub.exec.devices import OpenDevice, OpenDevices
    from memhub.exec.filter import Window
    from memhub.exec.host import HostDevices
    from memhub.exec.lookup import Lookup
    from memhub.exec.machine import MachineABI
    from memhub.exec.names import DeviceNames
    from memhub.exec.resolve import Resolver


class Outcome(enum.Enum):
    """What a handler answers instead of a value.

    PROCEED: not a device, the kernel performs the call. ANSWERED: the handler has replied, or
    the caller is gone. DEFER: the call may wait, perform it on a thread that is `patient`.
    """

    PROCEED = enum.auto()
    ANSWERED = enum.auto()
    DEFER = enum.auto()


PROCEED: Final = Outcome.PROCEED
ANSWERED: Final = Outcome.ANSWERED
DEFER: Final = Outcome.DEFER

#: A value to return, or an Outcome; a refusal is an OSError whose errno the program gets.
Result = int | Outcome


@dataclass(slots=True, kw_only=True)
class Context:
    """The state of one supervisor, as one of its threads sees it.

    Attributes:
        lookup: system calls that find files, for any thread.
        resolver: follows the program's paths.
        hosts: the host's devices, and which of them the program may use.
        complain: takes a line for the person who runs the program.
        numbering: held from the choice of a descriptor number until it is in use.
        patient: this thread may wait for the backend.
        memory: this thread's access to the program's memory.
    """

    abi: MachineABI
    listener: Listener
    backend: DeviceBackend
    devices: OpenDevices
    names: DeviceNames
    window: Window
    resolver: Resolver
    hosts: HostDevices
    complain: Callable[[str], None]
    lookup: Lookup
    numbering: threading.Lock = field(default_factory=threading.Lock)
    patient: bool = False
    memory: ProgramMemory = field(default_factory=ProgramMemory)

    def find(self, call: Notification, index: int = 0) -> OpenDevice | None:
        """The device behind an argument that is a descriptor, or None."""
        return self.devices.find(call.pid, call.fd(index))

    def check_host(self, name: str, action: str) -> None:
        """Let the program use a device of the host only if that was allowed.

        Args:
            name: of the device.
            action: what the program does, for the person who runs it: "opening /x".

        Raises:
            OSError: EACCES; it was not.
        """
        if name not in self.hosts.allowed:
            self.complain(refusal_line(action, name))
            raise refusal(errno.EACCES)


Handler = Callable[[Context, Notification], Result]


def refusal(number: int) -> OSError:
    """The error that makes a call fail with the host's errno `number`."""
    return OSError(number, os.strerror(number))


def number_of(error: OSError) -> int:
    """The host's errno of an error; EIO if it has none."""
    return error.errno or errno.EIO
