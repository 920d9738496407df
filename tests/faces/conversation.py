"""One conversation, as data: what two processes ask of three machines, step by step."""

from __future__ import annotations

import inspect
import os
import re
from typing import TYPE_CHECKING, Any, NamedTuple

import anyio
import numpy as np

from memhub.abi import (
    ILP32,
    LP64,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MEMRANGE_SET_REMOVE,
    RangeDesc,
)
from memhub.errors import DeviceError
from shell.kit import DIRECT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from faces.stages import Stage

BASE, LENGTH, M = 0x200000, 0x10000, 1 << 20
U64 = 1 << 64
SCREEN = 0xD0000000
MODELS = {"pat": LP64, "old": ILP32, "board": LP64}


class Step(NamedTuple):
    """One request.

    Attributes:
        name: unique in the conversation.
        file: the file that it is made on; for `open`, the one that it makes.
        method: the method, or `open` or `advance`.
        given: its arguments.
        named: its keyword arguments.
    """

    name: str
    file: str
    method: str
    given: tuple[Any, ...] = ()
    named: dict[str, Any] = {}  # noqa: RUF012 - never changed


class Heard(NamedTuple):
    """What came of a step.

    Attributes:
        answer: the reply, or the class, errno name and `moved` of the error.
        reason: the error in words.
        obstacles: what stood in the way.
        records: what the log says of it.
    """

    answer: Any
    reason: str = ""
    obstacles: tuple[Any, ...] = ()
    records: tuple[Any, ...] = ()


def conversation() -> Iterator[Step]:
    """Every step, in order."""
    for machine in MODELS:
        for step in (*_opens(machine), *_memory(machine), *_ioctls(machine), *_ranges(machine)):
            yield step._replace(name=f"{machine} {step.name}")

    yield from _calls()
    yield from _explanations()
    yield from _claims()
    yield from _ends()


def _opens(machine: str) -> Iterator[Step]:
    yield Step("open for reading", f"{machine}-r", "open", (f"{machine}:/dev/mem", "r"))
    yield Step("open for writing", f"{machine}-w", "open", (f"{machine}:/dev/mem", "w"))
    yield Step("open for both", machine, "open", (f"{machine}:/dev/mem", "r+"), {"undo": True})
    yield Step("open kmem", f"{machine}-k", "open", (f"{machine}:/dev/kmem", "r+"))
    yield Step("second opens", f"{machine}-2", "open", (f"{machine}:/dev/mem", "r+"))
    yield Step("open no device", "none", "open", (f"{machine}:/dev/null", "r"))
    yield Step("open in no mode", "none", "open", (f"{machine}:/dev/mem", "a"))
    yield Step("open no machine", "none", "open", (f"{machine}x:/dev/mem", "r"))


def _memory(machine: str) -> Iterator[Step]:
    yield Step("write", machine, "write", (b"abcdef",))
    yield Step("seek back", machine, "seek", (-4, os.SEEK_CUR))
    yield Step("read", machine, "read", (3,))
    yield Step("pwrite", machine, "pwrite", (bytearray(b"XY"), 4))
    yield Step("pread", machine, "pread", (6, 0))
    yield Step("pread nothing", machine, "pread", (0, U64 - 1))
    yield Step("pread a hole", machine, "pread", (16, 640 << 10))
    yield Step("pread into a hole", machine, "pread", (64, (640 << 10) - 8))
    yield Step("pread too much", machine, "pread", (1 << 31, 0))
    yield Step("pread no offset", machine, "pread", (4, -1))
    yield Step("pread no length", machine, "pread", (-1, 0))
    yield Step("pwrite no offset", machine, "pwrite", (b"x", U64))
    yield Step("read for writing", f"{machine}-w", "read", (1,))
    yield Step("write for reading", f"{machine}-r", "write", (b"x",))
    yield Step("seek to the end", machine, "seek", (0, os.SEEK_END))
    yield Step("seek below 0", machine, "seek", (-1,))
    yield Step("seek far", machine, "seek", (U64 - 1,))
    yield Step("seek before the start", machine, "seek", (-U64 // 2, os.SEEK_CUR))
    yield Step("flush", machine, "flush", (0, 64))
    yield Step("flush nothing", machine, "flush", (0, 0))
    yield Step("write back", machine, "writeback", (4, 1))
    yield Step("fence", machine, "fence")
    yield Step("flush too far", machine, "flush", ((1 << 52) - 8, 16))
    yield Step("flush no length", machine, "writeback", (0, -1))
    yield Step("flush kernel memory", f"{machine}-k", "flush", (DIRECT, 8))
    yield Step("read kernel memory", f"{machine}-k", "pread", (4, DIRECT))
    yield Step("write kernel memory", f"{machine}-k", "pwrite", (b"k", 0x10))


def _ioctls(machine: str) -> Iterator[Step]:
    model = MODELS[machine]

    def ioctl(name: str, *given: Any, **named: Any) -> Step:
        return Step(f"ioctl {name}", machine, "ioctl", given, named)

    desc = model.pack(RangeDesc(BASE, LENGTH, MDF_UNCACHEABLE, b"bytes\0\0\0"))
    op = model.op.pack
    yield ioctl("count", model.get, op(0, 0, 7))
    yield ioctl("get one", model.get, op(0x1000, 1, 0))
    yield ioctl("get into room", model.get, op(0x1000, 2, 0), bytes(2 * model.desc.size))
    yield ioctl("get into too little", model.get, op(0x1000, 2, 0), bytes(model.desc.size))
    yield ioctl("update", model.set[0], op(0, 0, 0), desc)
    yield ioctl("update as linux", model.set[1], op(1, 0, 0), desc, wait=5.0)
    yield ioctl("update fenced", model.set[0], op(1, 0, 0), desc, wait=5.0, fence=99)
    yield ioctl("seven", model.set[0], op(1, 7, 0), desc)
    yield ioctl("seven fenced", model.set[0], op(1, 7, 0), desc, wait=5.0, fence=1)
    yield ioctl("remove", model.set[0], op(1, MEMRANGE_SET_REMOVE, 0), desc)
    yield ioctl("with no descriptor", model.set[0], op(1, 0, 0))
    yield ioctl("with half a descriptor", model.set[0], op(1, 0, 0), desc[:9])
    yield ioctl("with a short argument", model.set[0], op(1, 0, 0)[:5], desc)
    yield ioctl("get with no argument", model.get, b"")
    yield ioctl("unknown", 0xC0106D34, op(1, 0, 0), desc)
    yield ioctl("of 64 bits", model.get | 5 << 32, op(0, 0, 0))
    yield ioctl("fence nought", model.set[0], op(1, 0, 0), desc, fence=0)
    yield ioctl("wait backwards", model.set[0], op(1, 0, 0), desc, wait=-1.0)


def _ranges(machine: str) -> Iterator[Step]:
    def update(name: str, *given: Any, file: str = machine, **named: Any) -> Step:
        return Step(f"set {name}", file, "set_range", given, named)

    yield update("a range", BASE, LENGTH, MDF_WRITECOMBINE, owner="first")
    yield update("with a wait", BASE, LENGTH, MDF_UNCACHEABLE, owner="first", wait=5.0)
    yield Step("list", machine, "ranges")
    yield Step("list as an array", f"{machine}-2", "range_array")
    yield update("another's", BASE, LENGTH, MDF_WRITEBACK, file=f"{machine}-2")
    yield update("with a stale fence", BASE, LENGTH, MDF_WRITEBACK, fence=77)
    yield update("with a stale fence and a wait", BASE, LENGTH, MDF_WRITEBACK, fence=77, wait=5.0)
    yield update("crooked", BASE + 1, LENGTH, MDF_WRITEBACK)
    yield update("nothing", BASE, 0, MDF_WRITEBACK)
    yield update("beyond 64 bits", U64, LENGTH, MDF_WRITEBACK)
    yield update("with a foreign label", BASE, LENGTH, MDF_WRITEBACK, owner="\u20ac")
    yield update("in two ways", BASE, LENGTH, MDF_WRITEBACK | MDF_UNCACHEABLE, force=True)
    everything: dict[str, Any] = {"wait": 5.0, "fence": 1, "lease": 60.0}
    yield update("with all three", BASE, LENGTH, MDF_UNCACHEABLE, **everything)
    yield Step("remove another's", f"{machine}-2", "remove_range", (BASE, LENGTH))
    yield Step("remove what is not there", machine, "remove_range", (3 * M, LENGTH))
    yield Step("remove", machine, "remove_range", (BASE, LENGTH), {"wait": 5.0})


def _calls() -> Iterator[Step]:
    """System calls of NetBSD, of two processes."""

    def call(name: str, *given: Any, file: str = "net", **named: Any) -> Step:
        return Step(f"call {name}", file, "call_kernel", given, named)

    private, public = [SCREEN, 16 * M, 1, 5, 0], [SCREEN, 16 * M, 1, 4, 0]
    for name in ("net", "net-2"):
        yield Step(f"open {name}", name, "open", ("net:/dev/mem", "r+"))

    yield call("set a private range", "set", entries=[private])
    yield call("get", "get", n=104)
    yield call("get from nowhere", "get", n=104, null="table")
    yield call("set another's", "set", file="net-2", entries=[public])
    yield call("set one of two", "set", entries=[[M, 4096, 0, 4, 0], [U64 - 1, 2, 0, 4, 0]])
    yield call("set nothing", "set", entries=())
    yield call("unknown", "add", base=0)
    yield call("without entries", "set")
    yield call("with a fraction", "set", entries=[[0.5]])
    yield call("beyond 64 bits", "set", entries=[], n=U64)
    yield call("on FreeBSD", "set", file="pat", entries=[private])
    yield Step("close the private range", "net", "close")
    yield call("set what was another's", "set", file="net-2", entries=[public])
    yield call("once closed", "get")


def _explanations() -> Iterator[Step]:
    yield Step("explain RAM", "pat", "explain", (0x1000,))
    yield Step("explain past the end", "pat", "explain", (1 << 60,))
    yield Step("explain on a board", "board", "explain", (0,))
    yield Step("explain kernel memory", "pat-k", "explain", (DIRECT,))
    yield Step("explain unmapped kernel memory", "pat-k", "explain", (0x10,))
    yield Step("explain many", "old", "explain_array", ([[0, 0xA0000], [0xC0000, 0]],))
    yield Step("explain many with a bad one", "old", "explain_array", ([0, 1 << 60, 1 << 50],))
    yield Step("explain many in the kernel", "pat-k", "explain_array", ([DIRECT, DIRECT + M],))
    yield Step("explain many unmapped", "pat-k", "explain_array", ([DIRECT, 0x10],))
    yield Step("explain fractions", "pat", "explain_array", ([0.5],))
    yield Step("explain many on a board", "board", "explain_array", ([0],))


def _claims() -> Iterator[Step]:
    yield Step("claim", "pat", "claim", (BASE, LENGTH), {"lease": 5.0})
    yield Step("claim another's", "pat-2", "claim", (BASE, 1))
    yield Step("claim nothing", "pat", "claim", (BASE, 0))
    yield Step("claim far out", "pat", "claim", (U64, 1))
    yield Step("claim for no time", "pat", "claim", (3 * M, 1), {"lease": 0.0})
    yield Step("claim backwards", "pat", "claim", (3 * M, 1), {"wait": -1.0})
    yield Step("wait for another's", "pat-2", "wait_free", (BASE, 1, -1.0))
    yield Step("wait for what is free", "pat-2", "wait_free", (3 * M, 1, 5.0))
    yield Step("release with a wrong fence", "pat", "release", (BASE, LENGTH), {"fence": 999})
    yield Step("renew", "pat", "renew", (LAST, 5.0))
    yield Step("time passes", "", "advance", (6.0,))
    yield Step("renew what is lost", "pat", "renew", (LAST, 5.0))
    yield Step("claim after that", "pat-2", "claim", (BASE, LENGTH))
    yield Step("release another's", "pat", "release", (BASE, LENGTH))
    yield Step("release", "pat-2", "release", (BASE, LENGTH), {"fence": LAST})


def _ends() -> Iterator[Step]:
    yield Step("set before the end", "old", "set_range", (BASE, LENGTH, MDF_WRITECOMBINE))
    for name in ("old", "old", "old-r", "board"):
        yield Step(f"close {name}", name, "close")

    yield Step("read once closed", "old", "read", (1,))
    yield Step("explain once closed", "old", "explain_array", ([],))
    yield Step("list once closed", "old", "ranges")


#: Stands for the fencing number that the last claim was answered with.
LAST: Any = "the last fence"


async def converse(stage: Stage) -> dict[str, Heard]:
    """Hold the conversation.

    Returns:
        what came of each step, by its name.
    """
    files: dict[str, Any] = {}
    fence = 0
    heard: dict[str, Heard] = {}
    stage.records()
    for step in conversation():
        given = tuple(fence if it is LAST else it for it in step.given)
        named = {key: fence if it is LAST else it for key, it in step.named.items()}
        try:
            with anyio.fail_after(20):
                found = await _ask(stage, files, step, given, named)

            fence = found.fence if step.method == "claim" else fence
            result = Heard(_plain(found))
        except DeviceError as error:
            answer = (type(error).__name__, error.code.name, error.moved)
            obstacles = tuple(_impersonal(it.as_dict()) for it in error.obstacles)
            result = Heard(answer, _words(error.reason), obstacles)

        assert step.name not in heard or step.method == "close", step.name
        # What is due when time passes is ended at once or by the next request: heard with that.
        records = () if step.method == "advance" else tuple(map(_impersonal, stage.records()))
        heard[step.name] = result._replace(records=records)

    for file in files.values():
        await _finish(getattr(file, "aclose", file.close)())

    return heard


async def _ask(
    stage: Stage,
    files: dict[str, Any],
    step: Step,
    given: tuple[Any, ...],
    named: dict[str, Any],
) -> Any:
    if step.method == "advance":
        stage.advance(*given)
        return None

    if step.method == "open":
        opener = stage.openers["second" if step.file.endswith("-2") else "first"]
        file = files[step.file] = await _finish(opener(*given, **named))
        return file.path, file.closed

    file = files[step.file]
    if step.method == "close":
        await _finish(getattr(file, "aclose", file.close)())
        return file.path, file.closed

    return await _finish(getattr(file, step.method)(*given, **named))


async def _close(file: Any) -> None:
    await _finish(file.aclose() if hasattr(file, "aclose") else file.close())


async def _finish(found: Any) -> Any:
    return await found if inspect.isawaitable(found) else found


def _plain(found: Any) -> Any:
    """A reply as values that can be compared."""
    if isinstance(found, np.ndarray):
        return str(found.dtype), found.tolist()

    if hasattr(found, "fence") and hasattr(found, "end"):
        return found.fence, found.base, found.end

    return found


#: What names a process, an open file or a place in the log, not what happened.
IDENTITY = {
    *("v", "seq", "prev", "hash", "wall_ns", "mono_ns", "duration_ns"),
    *("pid", "uid", "process_id", "handle", "holder_id"),
}


def _impersonal(row: dict[str, Any]) -> dict[str, Any]:
    left = {key: value for key, value in row.items() if key not in IDENTITY}
    if left.get("reason"):
        left["reason"] = _words(left["reason"])

    return left


def _words(reason: str) -> str:
    """A reason without pids and numbers of handles."""
    return re.sub(r"handle \d+", "handle N", re.sub(r" \(pid \d+\)", "", reason))
