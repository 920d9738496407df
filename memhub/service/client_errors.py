"""The errors that a client makes itself, beside those that the service answers.

Nothing heavy is imported before there is an error: a one-shot command pays for a socket and
little else.
"""

from __future__ import annotations

from memhub.escape import escape_controls
from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from memhub.errors import DeviceError

#: Seconds until a client tries again to connect to a service that takes no more at the moment.
BUSY_PAUSE: Final = 0.001

#: Seconds until it connects again, each time that the service has closed it unanswered.
UNANSWERED_PAUSES: Final = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16)


def name_place(error: OSError, place: str) -> OSError:
    """Name the service in an error of the operating system that does not.

    Args:
        error: why it could not be reached, or why the connection ended.
        place: its path, or its host.

    Returns:
        the same error, whose `filename` is the place; one that already has one stays as it is.
    """
    if error.filename is None:
        if error.errno is None:
            import errno

            number = errno.ETIMEDOUT if isinstance(error, TimeoutError) else errno.EIO
            error.errno, error.strerror = number, str(error)

        error.filename = place

    return error


def invalid_argument(reason: str) -> DeviceError:
    """The error of an argument that has no place on the wire, as the hub would answer it."""
    from memhub.errors import InvalidArgument

    return InvalidArgument(reason)


def no_such_device(reason: str) -> DeviceError:
    """The error of a machine that cannot be meant, as the hub would answer it."""
    from memhub.errors import NoSuchDevice

    return NoSuchDevice(reason)


def not_on_the_wire(reason: str) -> DeviceError:
    """The error of what the protocol has no field for."""
    from memhub.errors import NotSupported

    return NotSupported(reason)


def closed_handle(number: int) -> DeviceError:
    """The error of a handle that is closed, as the hub would answer it."""
    from memhub.errors import BadHandle

    return BadHandle(f"handle {number} is closed")


def malformed_answer(reason: str) -> DeviceError:
    """The error of an answer whose frame is right and whose content is not."""
    from memhub.abi import Errno
    from memhub.errors import DeviceError

    return DeviceError(reason, code=Errno.EPROTO)


def refused_connection(message: wire.Refused) -> DeviceError:
    """The error of a connection that the service did not take."""
    answer = wire.Error(0, message.code, 0, message.name, "", message.reason, b"")
    if message.name == "EACCES":
        answer.kind = "AccessDenied"

    return wire.error_from_wire(answer)


class ClosedUnanswered(ConnectionResetError):
    """Raised when the service closed a connection before it answered HELLO.

    It does that when too many connections are silent, so connecting once more may help.
    """


def closed_unanswered() -> ClosedUnanswered:
    """The error of a connection that ended before the service had answered HELLO."""
    return ClosedUnanswered(*lost_connection("the service closed it during the handshake").args)


def lost_connection(reason: str) -> ConnectionError:
    """The error of every request that a broken connection leaves unanswered."""
    import errno

    return ConnectionResetError(
        errno.ECONNRESET, f"the connection to the service is gone: {escape_controls(reason)}"
    )
