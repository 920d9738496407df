"""Latency of the service at a part of its greatest load, with and without a client that misbehaves.

Requests are due at fixed times, whether or not others are answered, and each is timed from when it
was due: a server that stalls makes all wait that are due meanwhile, and all are counted. The floor
answers frames of the same sizes over the same sockets and event loop, at the same share of its own
greatest load: so both are as close to their limit, and the ratio is what memhub adds to a request
and to a queue of them. At the same rate, it would mostly say how much of the floor is idle.
"""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

from benchmarks import loading
from benchmarks.harness import Plan, Row, Samples, backends, cores, skipped
from benchmarks.loading import Load, NoCompiler, Pace
from benchmarks.rig import BASE, LENGTH, SET
from benchmarks.serving import BULK, served
from memhub.abi import (
    ILP32,
    MDF_UNCACHEABLE,
    MDF_WRITECOMBINE,
    MEMRANGE_SET_UPDATE,
    RangeDesc,
    owner_bytes,
)
from memhub.service import wire

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: What questions of this family begin with.
FAMILY: Final = "latency: "
#: Percent of the greatest load.
SHARES: Final = (10, 50, 90)
#: What a row is about, in the order of `Pace`.
PARTS: Final = Pace._fields
#: What a question says of a run beside the client that misbehaves most.
BESIDE: Final = ", one client misbehaves"
#: The clients that misbehave (`misbehave.c`), and how a row names them.
RUDE: Final = {
    "flood": "flood: SETs of one slot, no answer read",
    "churn": "churn: connections opened and dropped",
}

_MANY: Final = 4
_AT: Final = 2 << 20
_GREATEST_MS, _OPEN_MS, _LONGEST_MS = 150, 250, 1000
#: Requests in a run of one load, unless that takes too long.
_ENOUGH: Final = 200


class _Asked(NamedTuple):
    """What is asked.

    Attributes:
        frames: requests; as many for each connection, or one for all.
        depth: requests that may be in flight on a connection.
        server: which `served` is asked.
    """

    frames: tuple[wire.Message, ...]
    depth: int = 16
    server: str = "memhub"


def _set(place: int, flags: int) -> wire.Message:
    desc = RangeDesc(BASE + place * LENGTH, LENGTH, flags, owner_bytes(f"load{place}"))

    return wire.Ioctl(2, 1, SET, _UPDATE, ILP32.pack(desc))


def _data(message: wire.Message) -> bytes:
    return b"".join(message.buffers())


_UPDATE: Final = ILP32.op.pack(1, MEMRANGE_SET_UPDATE, 0)
_TYPES: Final = (MDF_WRITECOMBINE, MDF_UNCACHEABLE)
_GET: Final = wire.Ioctl(2, 1, ILP32.get, ILP32.op.pack(1, 1, 0), room=ILP32.desc.size)

#: Each connection sets the type of a slot of its own.
REQUESTS: Final = {
    "GET": _Asked((_GET,)),
    "SET, audited": _Asked(
        tuple(_set(place, flags) for place in range(_MANY) for flags in _TYPES), server="audited"
    ),
    "read of 8 bytes": _Asked((wire.Pread(2, 1, _AT, 8),)),
    "write of 8 bytes": _Asked((wire.Pwrite(2, 1, _AT, 8, bytes(8)),)),
    "read of 1 MiB": _Asked((wire.Pread(2, 1, _AT, BULK),), depth=2),
}


def question(request: str, share: int, part: str, *, beside: bool = False) -> str:
    """The question of a row."""
    return f"{FAMILY}{request} at {share} %, {part}{BESIDE if beside else ''}"


@dataclass(frozen=True, slots=True)
class _Programs:
    """The compiled clients, and where their files are."""

    load: Path
    rude: Path
    plan: Plan

    def greatest(self, load: Load) -> tuple[float, int]:
        milliseconds = self.plan.scaled(_GREATEST_MS, 20)

        return loading.greatest(self.load, load, milliseconds, self.plan.folder)

    def pace(self, load: Load, rate: float, rude: str = "") -> Pace:
        folder = self.plan.folder
        full = min(max(_OPEN_MS, round(_ENOUGH * 1e3 / rate)), _LONGEST_MS)
        # One more slot than those of the load
        flood = replace(load, request=_data(_set(_MANY, MDF_WRITECOMBINE)))
        beside = loading.misbehaving(self.rude, rude, flood, folder) if rude else nullcontext()
        milliseconds = self.plan.scaled(full, 20)

        return loading.pace(self.load, load, milliseconds, folder, rate, beside)


def _floor(load: Load, path: Path, server: int, size: int) -> Load:
    """The same load on the floor: frames as long, which say how long their answers are."""
    sizes = size.to_bytes(4, "little")
    frames = [it[:12] + sizes + it[16:] for it in loading.frames(load.request)]

    return replace(load, address=str(path), server=server, prelude=b"", request=b"".join(frames))


class _Measured(NamedTuple):
    """What one request took on one backend.

    Attributes:
        greatest: seconds an answer at the greatest load, of memhub and the floor.
        paces: by share and case: the floor, memhub alone, and each client that misbehaves.
    """

    greatest: Samples
    paces: dict[int, dict[str, list[Pace]]]


def _measure(programs: _Programs, load: Load, path: Path, server: int) -> _Measured:
    plan = programs.plan.with_rounds(3)
    floor = _floor(load, path, server, programs.greatest(load)[1])
    loads = {"memhub": load, "echo": floor}
    times: dict[str, list[float]] = {name: [] for name in loads}
    for _ in range(plan.rounds):
        for name, it in loads.items():
            times[name].append(1 / programs.greatest(it)[0])

    rates = {name: 1 / median(found) for name, found in times.items()}
    cases = {"echo": floor, "memhub": load, **dict.fromkeys(RUDE, load)}
    names = list(cases)
    paces: dict[int, dict[str, list[Pace]]] = {
        share: {name: [] for name in names} for share in SHARES
    }
    for turn in range(plan.rounds):
        for share, found in paces.items():
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                rate = rates["echo" if name == "echo" else "memhub"] * share / 100
                rude = name if name in RUDE else ""
                found[name].append(programs.pace(cases[name], rate, rude))

    return _Measured(Samples(times), paces)


def _rows(request: str, backend: str, measured: _Measured) -> Iterator[Row]:
    greatest = f"{FAMILY}{request}, greatest load"
    yield measured.greatest.row(greatest, "memhub", "echo", column=backend, more=True)
    for share, found in measured.paces.items():
        worst = max(RUDE, key=lambda name: median(it.p99 for it in found[name]))
        for place, part in enumerate(PARTS):
            samples = Samples({name: [it[place] for it in many] for name, many in found.items()})
            ask = question(request, share, part)
            yield samples.row(ask, "memhub", "echo", column=backend)
            ask = question(request, share, part, beside=True)
            yield samples.row(ask, worst, "echo", column=backend, note=RUDE[worst])


def _backend(programs: _Programs, backend: str) -> Iterator[Row]:
    prelude = loading.prelude(wire.OPEN_READ | wire.OPEN_WRITE)
    with ExitStack() as stack:
        servers = {
            kind: stack.enter_context(served(kind, backend, programs.plan.folder, cores()[0]))
            for kind in ("memhub", "audited", "sized")
        }
        for request, asked in REQUESTS.items():
            path, pid = servers[asked.server]
            frames = b"".join(map(_data, asked.frames))
            load = Load(str(path), pid, _MANY, asked.depth, prelude, frames)
            yield from _rows(request, backend, _measure(programs, load, *servers["sized"]))


def rows(plan: Plan) -> Iterator[Row]:
    """The rows of every backend."""
    try:
        programs = _Programs(
            loading.compiled(plan.folder), loading.compiled(plan.folder, "misbehave"), plan
        )
    except NoCompiler as error:
        yield skipped(f"{FAMILY}every request", str(error))
        return

    for backend in backends(plan):
        yield from _backend(programs, backend)
