"""The request that a record of a log tells of, put to a machine of a replay."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import DATA_MODELS, MEMRANGE_SET_REMOVE, MEMRANGE_SET_UPDATE, Errno, RangeDesc
from memhub.audit.rows.columns import owner_of
from memhub.core import requests
from memhub.core.deciding.extract_address import ExtractAddress
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.files import DEVICES, KERNEL_FILES, Principal
from memhub.core.holding.commits import Commit
from memhub.core.instant import SECOND
from memhub.core.memory.physical import NeedsDevice
from memhub.engine.lifecycle import break_claim, close_file, open_file
from memhub.engine.pending import Pending
from memhub.errors import DeviceError, InvalidArgument
from memhub.handles.kernel_calls import KernelCalls
from memhub.rig.log_replay.steps import NO_CALL
from memhub.rig.log_replay.unplayable import Unplayable as Unplayable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.engine.engine import Engine
    from memhub.rig.log_replay.devices import DevicePort

    Row = Mapping[str, Any]

_MODES: Final = {0: "r", 1: "w", 2: "r+"}
_MODELS: Final = {model.name: model for model in DATA_MODELS}
_ARGS: Final = {"update": MEMRANGE_SET_UPDATE, "remove": MEMRANGE_SET_REMOVE}
#: How long a request was ready to wait that was refused at once, as its error tells.
_LIMITS: Final = {"EDEADLK": math.inf, "ETIMEDOUT": 0.0}
#: The fencing number in the reason of an error that is about it.
_FENCED: Final = re.compile(r"(?:fenced: claim|fence) (-?(?:0x[0-9a-f]+|[0-9]+))\b")
#: Bytes of the longest transfer that is put again.
_TRANSFER_MAX: Final = 1 << 26


@dataclass
class Life:
    """One machine from its start to its end; numbers of the log lead to those of the replay.

    Attributes:
        engine: the machine.
        port: asks its devices.
        files: the open files.
        fences: the claims.
        waits: what waits.
        commits: the commits on their way.
        held: whether it began with something that it held, so that the log does not say what it
            was at its start.
    """

    engine: Engine
    port: DevicePort
    files: dict[int, int] = field(default_factory=dict)
    fences: dict[int, int] = field(default_factory=dict)
    waits: dict[int, Pending[Any]] = field(default_factory=dict)
    commits: dict[int, Pending[Any]] = field(default_factory=dict)
    held: bool = False


def _file(life: Life, row: Row) -> int:
    number = life.files.get(row.get("handle", -1))
    if number is None:
        raise Unplayable("its file is not open")

    return number


def _submit(life: Life, request: Any) -> Any:  # noqa: ANN401 - as `Engine.submit`
    try:
        return life.engine.submit(request)
    except DeviceError:
        return None  # its record says so


def _move(life: Life, request: requests.Read | requests.Write, row: Row) -> None:
    try:
        _submit(life, request)
    except NeedsDevice:
        life.port.move(life.engine, request, row)


def _put_open(life: Life, row: Row) -> None:
    mode = _MODES.get(row["flags"])
    if mode is None:
        raise Unplayable("the log does not keep its mode")

    who = Principal(row["process_id"], row["process"], row["pid"], row["uid"])
    model, path = _MODELS.get(row.get("model", "")), f"{row['machine']}:{row['device']}"
    asked = requests.Open(who, path, mode, bool(row.get("undo")), model)
    try:
        number = open_file(life.engine, asked)
    except DeviceError:
        return

    if row.get("handle") is not None:
        life.files[row["handle"]] = number


def _put_close(life: Life, row: Row) -> None:
    number = _file(life, row)
    del life.files[row["handle"]]
    close_file(life.engine, number, row["cause"])


def _put_get(life: Life, row: Row) -> None:
    _submit(life, requests.GetRanges(_file(life, row), row["count"]))


def _put_extract(life: Life, row: Row) -> None:
    _submit(life, ExtractAddress(_file(life, row), row["base"]))


def _put_read(life: Life, row: Row) -> None:
    number, offset = _aim(life, row)
    _move(life, requests.Read(number, row["length"], offset), row)


def _put_write(life: Life, row: Row) -> None:
    number, offset = _aim(life, row)
    _move(life, requests.Write(number, bytes(row["length"]), offset), row)


def _aim(life: Life, row: Row) -> tuple[int, int | None]:
    """The file of a transfer, with its offset where the log has it; None for the file's own."""
    number = _file(life, row)
    if row["base"] is None or row["length"] is None or row["length"] > _TRANSFER_MAX:
        raise Unplayable("the log does not keep where or how much")

    if row["op"] in ("pread", "pwrite"):
        return number, row["base"]

    life.engine.submit(requests.Seek(number, row["base"]))

    return number, None


def _put_ioctl(life: Life, row: Row) -> None:
    code = Errno[row["errno"]]
    error = DeviceError(row["reason"], code=code)
    if code in (Errno.EAGAIN, Errno.EIO):  # of the machine, which is suspended or failed
        error = InvalidArgument("malformed, as another error of the log does not say")

    # only of a machine without a driver it is told what that lacks
    needs_driver = code in (Errno.EOPNOTSUPP, Errno.ENXIO, Errno.ENODEV)
    _submit(life, requests.RefuseIoctl(_file(life, row), row["ioctl"], error, needs_driver))


def _put_kernel(life: Life, row: Row) -> None:
    op, args = row["op"], orjson.loads(row["args"])
    if row.get("handle") is not None:
        system = DEVICES[row["device"]] not in KERNEL_FILES or NO_CALL in (row["reason"] or "")
        _submit(life, CallKernel(_file(life, row), op, args, system))
        return

    engine = life.engine
    (machine,) = engine.machines.values()
    if machine.served is None:
        raise Unplayable("its kernel is FreeBSD")

    with suppress(DeviceError):  # its record says so
        KernelCalls(engine).call(op, **args)


def _put_set(life: Life, row: Row) -> None:
    if row.get("commit") is not None:
        _abandon(life, life.commits.pop(row["commit"], None) or _committing(life, row))
        return

    if row["base"] is None:
        raise Unplayable("the log does not keep all that was asked")

    number, fence = _file(life, row), _fence_named(life, row)
    wait = _LIMITS.get(row["errno"])
    _submit(life, _set_request(number, row, lease=_lease_left(row), wait=wait, fence=fence))


def _fence_named(life: Life, row: Row) -> int | None:
    """The fencing number that a request had which was refused for it, as its reason tells."""
    found = _FENCED.match(row["reason"] or "")
    if found is None:
        return None

    said = int(found[1], 0)
    if said in life.fences or found[0].startswith("fence "):
        return life.fences.get(said, said)

    # nobody of the replay has it; what has this number there is another claim
    (machine,) = life.engine.machines.values()

    return said if said > machine.claims.last_fence else machine.claims.last_fence + said


def _set_request(
    number: int, row: Row, *, lease: float | None, wait: float | None, fence: int | None = None
) -> requests.SetRange:
    op = row["op"]
    arg = _ARGS[op] if op in _ARGS else int(op.removeprefix("arg "))
    desc = RangeDesc(row["base"], row["length"], row.get("flags", 0), owner_of(row["owner"] or ""))

    return requests.SetRange(number, arg, desc, fence, lease, wait)


def _lease_left(row: Row) -> float | None:
    expires = row.get("expires_ns")

    return None if expires is None else (expires - row["wall_ns"]) / SECOND


def _lease_asked(row: Row) -> float | None:
    return None if row.get("lease_ns") is None else row["lease_ns"] / SECOND


def _put_commit(life: Life, row: Row) -> None:
    fence = life.fences.get(row["fence"], row["fence"])
    asked = _set_request(_file(life, row), row, lease=_lease_asked(row), wait=None, fence=fence)
    found = _submit(life, asked)
    if isinstance(found, Pending):
        life.commits[row["commit"]] = found


def _put_wait(life: Life, row: Row) -> None:
    number, base, length = _file(life, row), row["base"], row["length"]
    left = _lease_left(row)
    wait = math.inf if left is None else left
    asked: Any
    if row["op"] == "wait":
        asked = requests.AwaitFree(number, base, length, wait)
    elif row["op"] == "claim":
        asked = requests.ClaimRange(number, base, length, _lease_asked(row), wait)
    else:
        fence = life.fences.get(row["fence"], row["fence"])
        asked = _set_request(number, row, lease=_lease_asked(row), wait=wait, fence=fence)

    found = _submit(life, asked)
    if isinstance(found, Pending):
        life.waits[row["wait"]] = found


def _put_give_up(life: Life, row: Row) -> None:
    _abandon(life, life.waits.pop(row["wait"], None))


def _committing(life: Life, row: Row) -> Pending[Any] | None:
    """The commit of a file that began when its wait ended."""
    number = _file(life, row)
    found = (it for it in life.waits.values() if it.handle == number)

    return next((it for it in found if isinstance(it.stage, Commit)), None)


def _abandon(life: Life, pending: Pending[Any] | None) -> None:
    if pending is None or pending.done:
        raise Unplayable("nothing waits that could be given up")

    life.engine.abandon(pending)


def _put_claim(life: Life, row: Row) -> None:
    base, length = _span(row)
    wait = _LIMITS.get(row["errno"])
    asked = requests.ClaimRange(_file(life, row), base, length, _lease_left(row), wait)
    _submit(life, asked)


def _put_await(life: Life, row: Row) -> None:
    base, length = _span(row)
    wait = _LIMITS.get(row["errno"])
    _submit(life, requests.AwaitFree(_file(life, row), base, length, wait))


def _put_release(life: Life, row: Row) -> None:
    base, length = _span(row)
    refused = row["errno"] is not None
    fence = _fence_named(life, row) if refused else None
    if fence is None and row["fence"] is not None and (refused or row["cause"] == "fence"):
        fence = life.fences.get(row["fence"], int(row["fence"]))

    _submit(life, requests.ReleaseRange(_file(life, row), base, length, fence))


def _put_renew(life: Life, row: Row) -> None:
    fence = _fence_named(life, row)
    if fence is None and row["fence"] is None:
        raise Unplayable("the log does not keep which claim was meant")

    if fence is None:
        fence = life.fences.get(row["fence"], int(row["fence"]))

    _submit(life, requests.RenewClaim(_file(life, row), fence, _lease_left(row)))


def _span(row: Row) -> tuple[int, int]:
    if row["base"] is None or row["length"] is None:
        raise Unplayable("the log does not keep where or how much")

    return row["base"], row["length"]


def _put_break(life: Life, row: Row) -> None:
    fence = life.fences.get(row["fence"])
    if fence is None:
        raise Unplayable("its claim is not there")

    by = None
    if row.get("holder_id") is not None:
        by = Principal(row["holder_id"], row["holder"])

    try:
        break_claim(life.engine, requests.BreakClaim(row["machine"], fence, row["reason"], by))
    except DeviceError:
        raise Unplayable("its claim is not there") from None


#: What puts the request of each kind of record.
PUTS: Final[Mapping[str, Callable[[Life, Row], None]]] = {
    "request.open": _put_open,
    "request.close": _put_close,
    "request.get": _put_get,
    "request.extract": _put_extract,
    "request.read": _put_read,
    "request.write": _put_write,
    "request.ioctl": _put_ioctl,
    "request.set": _put_set,
    "kernel.call": _put_kernel,
    "commit.begin": _put_commit,
    "wait.begin": _put_wait,
    "wait.end": _put_give_up,
    "claim.take": _put_claim,
    "claim.wait": _put_await,
    "claim.release": _put_release,
    "claim.renew": _put_renew,
    "claim.break": _put_break,
}
