"""The ioctls of another kernel's file on the wire: its structure as it is, and what it returns."""

from __future__ import annotations

from memhub.arguments import take_buffer, take_integer
from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from memhub.abi import Buffer
    from memhub.faces.linux import MtrrReply

#: Where such a path ends.
KERNEL_FILE = "/proc/mtrr"


def kernel_ioctl(handle: int, request: int, op: Buffer) -> wire.Ioctl:
    """IOCTL of such a file."""
    command = take_integer("request", request) & 0xFFFFFFFF

    return wire.Ioctl(0, handle, command, bytes(take_buffer("op", op)))


def kernel_reply(answer: wire.IoctlDone) -> MtrrReply:
    """What such an ioctl left behind, and what it returned."""
    from memhub.faces.linux import MtrrReply  # here: it takes long to import, and few need it

    return MtrrReply(answer.op, int.from_bytes(answer.desc, "little", signed=True))
