"""`call_kernel` of an open file of a service, as a request, and its answer."""

from __future__ import annotations

from memhub.arguments import plain_arguments, take_text
from memhub.service import wire
from memhub.service.client_errors import invalid_argument, malformed_answer, not_on_the_wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from memhub.service.remote_file import RemoteFile


def call_request(file: RemoteFile, features: int, op: str, args: Mapping[str, Any]) -> wire.Call:
    """CALL.

    Raises:
        NotSupported: EOPNOTSUPP; the service is of a version without it.
        InvalidArgument: EINVAL; an argument is no plain value.
        TypeError: the call is no text.
    """
    name, number = take_text("op", op), file.open_number()
    if not features & wire.FEATURE_KERNELS:
        raise not_on_the_wire("the service is of a version without CALL")

    try:
        plain = plain_arguments(args)
    except ValueError as error:
        raise invalid_argument(str(error)) from None

    return wire.Call(0, number, name, wire.pack_plain(plain) if plain else b"")


def call_answer(answer: bytes) -> Any:  # noqa: ANN401 - as the kernel answers
    """What CALL was answered with.

    Raises:
        DeviceError: EPROTO; it is no JSON.
    """
    try:
        return wire.read_plain(answer)
    except ValueError as error:
        raise malformed_answer(f"CALL was answered with {answer!r:.80}: {error}") from error
