"""What a client asks of the hub behind a service, beside its open files; see `remote_file`."""

from __future__ import annotations

from memhub.arguments import (
    has_limit,
    take_kind,
    take_model,
    take_opening,
    take_seconds,
    take_text,
)
from memhub.service import wire
from memhub.service.client_errors import (
    invalid_argument,
    malformed_answer,
    no_such_device,
    not_on_the_wire,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from memhub.abi import DataModel
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.hardware_events import CpuDifference
    from memhub.core.health.sickness import Sickness

#: Bytes that a SNAPSHOT with a piece of a file has beside it, at most.
_PUT_HEAD: Final = 64
_MODES: Final = {"r": wire.OPEN_READ, "w": wire.OPEN_WRITE, "r+": 3}
_MODELS: Final = {None: 0, "LP64": wire.MODEL_LP64, "ILP32": wire.MODEL_ILP32}


def take_greeting(
    label: str, token: str, timeout: float | None, model: DataModel | None = None
) -> tuple[str, bytes, float | None, int]:
    """Check what a connection begins with, before it is made.

    Returns:
        label, token, seconds to wait (None without limit) and the number of the data model.

    Raises:
        TypeError: one of them has the wrong type.
        ValueError: the timeout is not a time to come.
    """
    if timeout is not None:
        timeout = take_seconds("timeout", timeout)
        if not timeout > 0:
            raise ValueError(f"a timeout of {timeout} seconds is not a time to come")

        timeout = timeout if has_limit(timeout) else None

    number = _MODELS[take_model(model)]

    return take_text("label", label), take_text("token", token).encode(), timeout, number


def hello_frame(
    protocol: wire.ClientProtocol, label: str, token: bytes, features: int, model: int = 0
) -> bytes:
    """HELLO.

    Raises:
        InvalidArgument: EINVAL; the label or the token is too long.
    """
    try:
        return protocol.hello(label, model=model, features=features, token=token)
    except wire.LocalProtocolError as error:
        raise invalid_argument(error.reason) from error


def open_request(path: str, mode: str, *, undo: bool, model: DataModel | None) -> wire.Open:
    """OPEN.

    Raises:
        InvalidArgument: EINVAL; an unknown mode.
    """
    take_opening(path, mode, model)
    if mode not in _MODES:
        raise invalid_argument(f"mode {mode!r} is not r, w or r+")

    flags = _MODES[mode] | (wire.OPEN_UNDO if undo else 0)

    return wire.Open(0, flags, _MODELS[take_model(model)], path)


def faults_request(features: int, what: str, rule: str) -> wire.Faults:
    """FAULTS.

    Raises:
        NotSupported: EOPNOTSUPP; the service is of a version without fault rules.
    """
    if not features & wire.FEATURE_FAULTS:
        raise not_on_the_wire("the service is of a version without fault rules")

    return wire.Faults(0, what, take_text("rule", rule))


def take_machine(machine: str | None) -> str:
    """The machine that a snapshot is about, on the wire; None takes all.

    Raises:
        TypeError: it is no text.
        NoSuchDevice: ENOENT; it is empty, which would mean all on the wire.
    """
    if machine is None:
        return ""

    if not take_text("machine", machine):
        raise no_such_device("a machine's name is due, and not an empty text; None takes all")

    return machine


def snapshot_request(
    features: int, what: str, machine: str | None, data: bytes = b""
) -> wire.Snapshot:
    """SNAPSHOT.

    Raises:
        NotSupported: EOPNOTSUPP; the service is of a version without snapshots.
        TypeError, NoSuchDevice: as `take_machine`.
    """
    name = take_machine(machine)
    if not features & wire.FEATURE_SNAPSHOTS:
        raise not_on_the_wire("the service is of a version without snapshots")

    return wire.Snapshot(0, what, name, data)


def show_request(features: int, what: str, machine: str | None, device: str | None) -> wire.Show:
    """SHOW.

    Raises:
        NotSupported: EOPNOTSUPP; the service is of a version without devices.
    """
    if not features & wire.FEATURE_DEVICES:
        raise not_on_the_wire("the service is of a version without devices")

    where = take_text("machine", machine or ""), take_text("device", device or "")

    return wire.Show(0, what, *where)


def file_pieces(data: bytes, max_body: int) -> list[bytes]:
    """The pieces of a snapshot's file, each for one SNAPSHOT; at least one.

    Raises:
        TypeError: the file is no bytes.
    """
    take_kind("file", data, bytes)
    size = max_body - _PUT_HEAD

    return [data[at : at + size] for at in range(0, max(len(data), 1), size)]


def rule_text(rule: FaultRule | Sickness) -> str:
    """A fault rule or a sickness as JSON."""
    import json

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness

    if not isinstance(rule, FaultRule | Sickness):
        raise TypeError(f"rule {rule!r:.80} is not a FaultRule or a Sickness")

    return json.dumps(rule.as_dict())


def differences_of(found: list[dict[str, Any]]) -> tuple[CpuDifference, ...]:
    """What a check of CPUs was answered with.

    Raises:
        DeviceError: EPROTO; it is no such answer.
    """
    from memhub.core.health.hardware_events import difference_of_dict

    try:
        return tuple(difference_of_dict(it) for it in found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise malformed_answer(f"FAULTS was answered with {found!r:.80}: {error!r}") from error


def report_request(what: str, machine: str) -> wire.Report:
    """REPORT."""
    return wire.Report(0, take_text("what", what), take_text("machine", machine))
