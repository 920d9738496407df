"""ioctl."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from memhub.exec.context import ANSWERED, DEFER, PROCEED, Context, Result
from memhub.exec.filter import MTRR_REQUESTS
from memhub.exec.guarding import mtrr_ioctl

if TYPE_CHECKING:
    from memhub.exec.kernel import Notification
    from memhub.exec.memory import ProgramMemory

_SIZE_SHIFT: Final = 16
_SIZE_MASK: Final = 0x1FFF  # FreeBSD's 13 bits; bit 13 is its IOC_VOID
_DIRECTIONS: Final = 0xC0000000
_OUT: Final = 0x80000000


@dataclass(slots=True)
class Caller:
    """The memory of a caller while its call is served (`backend.CallerMemory`)."""

    memory: ProgramMemory
    pid: int

    def fetch(self, address: int, size: int) -> bytes:
        """Read exactly `size` bytes at `address`."""
        return self.memory.read(self.pid, address, size)

    def store(self, address: int, data: bytes) -> None:
        """Write all of `data` at `address`."""
        self.memory.write(self.pid, address, data)


def ioctl(context: Context, call: Notification) -> Result:
    """Take a descriptor, a request, its argument."""
    device = context.find(call)
    request = call.args[1] & 0xFFFFFFFF
    if device is None:
        return mtrr_ioctl(context, call) if request in MTRR_REQUESTS else PROCEED

    if not context.patient and device.session.may_wait(request):
        return DEFER

    pid, address = call.pid, call.args[2]
    size = request >> _SIZE_SHIFT & _SIZE_MASK if request & _DIRECTIONS else 0
    argument = context.memory.read(pid, address, size) if size else b""
    if not context.listener.valid(call):
        return ANSWERED

    if device.stream is not None:
        given = device.stream.answer_ioctl(request, argument)
        if request & _OUT:
            context.memory.write(pid, address, given.argument)

        return given.value

    answer = device.session.ioctl(request, argument, Caller(context.memory, pid))
    if answer is not None:
        context.memory.write(pid, address, answer)

    return 0
