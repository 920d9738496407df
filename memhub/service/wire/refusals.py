"""Errors on the wire: the client raises the class of error that the server answered."""

from __future__ import annotations

from memhub.service.wire.layout import ProtocolError, clip
from memhub.service.wire.replies import Error
from memhub.service.wire.wide import narrow, widen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Final

    from memhub.errors import DeviceError, Obstacle

OBSTACLE_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "kind": (str,),
    "slot": (int,),
    "base": (int,),
    "length": (int,),
    "type": (str,),
    "owner": (str,),
    "process": (str,),
    "process_id": (int,),
    "pid": (int,),
    "since": (int, float),
}

#: The reason of a request whose handle was closed meanwhile: the hub's own number of the handle,
#: which the hub's reason has, is not the client's.
_CLOSED: Final = "the handle was closed before the request had ended"


def error_to_wire(
    request: int, error: DeviceError, max_body: int = 4096, *, strings: bool = False
) -> Error:
    """Lay out an error as the answer to a request.

    Args:
        request: the request's id.
        error: what the hub raised.
        max_body: the connection's limit. The reason and the obstacles have half of it each, and
            what the other does not need; the reason is cut, and obstacles are left out, at the end.
        strings: the client asked for FEATURE_STRINGS.
    """
    kind = type(error).__name__
    said = _CLOSED if kind == "BadHandle" and error.closed else error.reason  # type: ignore[attr-defined]
    words = clip(said).encode("utf-8", "replace")
    room = max_body - 24 - len(error.code.name) - len(kind)
    obstacles = _obstacles_to_wire(error.obstacles, max(room - len(words), room // 2), strings)
    reason = words[: room - len(obstacles)].decode("utf-8", "ignore")

    return Error(request, error.code.value, error.moved, error.code.name, kind, reason, obstacles)


def _obstacles_to_wire(obstacles: tuple[Obstacle, ...], room: int, strings: bool) -> bytes:
    if not obstacles:
        return b""

    import json

    kept: list[str] = []
    encode = json.JSONEncoder(separators=(",", ":")).encode
    for obstacle in obstacles:
        known = obstacle.as_dict()
        row = encode(widen(known) if strings else known)
        room -= len(row) + 1
        if room < 1:
            break

        kept.append(row)

    return f"[{','.join(kept)}]".encode() if kept else b""


def error_from_wire(message: Error) -> DeviceError:
    """Make the error that the server raised.

    A kind that this version does not know becomes the plain DeviceError with the same errno;
    an errno that it does not know becomes EIO, with the name in the reason.

    Raises:
        ProtocolError: the obstacles are malformed.
    """
    from memhub.abi import Errno

    obstacles = _obstacles_from_wire(message.obstacles)
    reason = message.reason
    code = Errno.__members__.get(message.name)
    if code is None:
        code, reason = Errno.EIO, f"{message.name} ({message.code}): {reason}"

    return _find_leaf(message.kind)(reason, code=code, obstacles=obstacles, moved=message.moved)


def _find_leaf(kind: str) -> type[DeviceError]:
    from memhub import errors

    leaf = getattr(errors, kind, None)
    if isinstance(leaf, type) and issubclass(leaf, errors.DeviceError):
        return leaf

    return errors.DeviceError


def _obstacles_from_wire(raw: bytes) -> tuple[Obstacle, ...]:
    if not raw:
        return ()

    import json

    try:
        rows = json.loads(raw, object_hook=narrow)
    except (ValueError, RecursionError):
        raise ProtocolError("ERROR has obstacles that are not json") from None

    if not isinstance(rows, list):
        raise ProtocolError("ERROR has obstacles that are not a list")

    return tuple(_obstacle_from_row(row) for row in rows)


def _obstacle_from_row(row: Any) -> Obstacle:  # noqa: ANN401 - whatever json brings
    from memhub.errors import Obstacle

    if not isinstance(row, dict) or "kind" not in row:
        raise ProtocolError("ERROR has an obstacle without a kind")

    known = {key: value for key, value in row.items() if key in OBSTACLE_TYPES}
    for key, value in known.items():
        if not isinstance(value, OBSTACLE_TYPES[key]) or isinstance(value, bool):
            raise ProtocolError(f"ERROR has an obstacle whose {key} is {value!r:.40}")

    return Obstacle(**known)
