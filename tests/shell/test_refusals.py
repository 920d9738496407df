"""Each refusal says what was wrong, leaves one record, and changes nothing at all."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import ILP32, LP64, MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE, Errno
from memhub.errors import BadHandle, DeviceError
from shell.kit import MTRR, Lab, M, desc, lab, op

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from memhub import Handle

WC, UC, WB = MDF_WRITECOMBINE, MDF_UNCACHEABLE, MDF_WRITEBACK
SET, GET = LP64.set[0], LP64.get
Request = Callable[["Handle"], Awaitable[Any]]
Opening = tuple[str, str, Errno, str]

OPENINGS: list[Opening] = [
    ("/dev/null", "r", Errno.ENOENT, "neither"),
    ("pat:/dev/memory", "r", Errno.ENOENT, "'pat:/dev/memory' is neither"),
    ("", "r", Errno.ENOENT, "neither"),
    ("pat:", "r", Errno.ENOENT, "neither"),
    ("vax:/dev/mem", "r", Errno.ENOENT, "no machine 'vax' (machines: board, "),
    ("pat:mtrr:/dev/mem", "r", Errno.ENOENT, "no machine 'pat:mtrr'"),
    ("/dev/mem", "rw", Errno.EINVAL, "mode 'rw' is not r, w or r+"),
    ("/dev/mem", "", Errno.EINVAL, "mode ''"),
    ("secure:/dev/mem", "w", Errno.EPERM, "securelevel 1"),
    ("secure:/dev/kmem", "r+", Errno.EPERM, "securelevel 1"),
]


@pytest.mark.parametrize(("path", "mode", "code", "words"), OPENINGS)
async def test_an_open_that_is_refused(
    tmp_path: Path, path: str, mode: str, code: Errno, words: str
) -> None:
    async with lab(tmp_path) as rig:
        before = rig.state()
        with pytest.raises(DeviceError) as caught:
            await rig.hub.open(path, mode)

        (record,) = rig.news()
        assert rig.state() == before

    assert (caught.value.code, caught.value.errno) == (code, code.host)
    assert words in caught.value.reason
    assert (record["event"], record["errno"]) == ("request.open", code.name)
    assert record["reason"] == caught.value.reason
    meant = path.rpartition(":")
    assert record["device"] == meant[2]
    assert record["machine"] == (meant[0] or "pat")


#: Machine and mode, the request, and its answer: errno, a part of the reason, the record's event.
REFUSALS: dict[str, tuple[str, Request, Errno, str, str]] = {
    # What a handle was opened for
    "write on a read-only handle": (
        "pat r", lambda h: h.write(b"x"), Errno.EBADF, "not open for writing", "write"
    ),
    "pwrite on a read-only handle": (
        "old r", lambda h: h.pwrite(b"x", 9), Errno.EBADF, "not open for writing", "write"
    ),
    "read on a write-only handle": (
        "pat w", lambda h: h.read(1), Errno.EBADF, "pat:/dev/mem is not open for reading", "read"
    ),
    "pread on a write-only handle": (
        "mtrr w", lambda h: h.pread(1, 9), Errno.EBADF, "not open for reading", "read"
    ),
    # Numbers and buffers
    "an unknown ioctl": (
        "pat r", lambda h: h.ioctl(0x5401, b""), Errno.ENOTTY, "0x5401 is not LP64", "ioctl"
    ),
    "the other data model's number": (
        "pat r", lambda h: h.ioctl(ILP32.get, op(ILP32, 1)), Errno.ENOTTY, "is not LP64", "ioctl"
    ),
    "an unknown ioctl where there are no ranges": (
        "board r", lambda h: h.ioctl(1, b""), Errno.ENOTTY, "0x1 is not LP64", "ioctl"
    ),
    "a short op": (
        "pat r", lambda h: h.ioctl(GET, bytes(15)), Errno.EFAULT, "is 16 bytes, not 15", "ioctl"
    ),
    "an overlong op": (
        "pat r", lambda h: h.ioctl(SET, bytes(17)), Errno.EFAULT, "is 16 bytes, not 17", "ioctl"
    ),
    "no descriptor": (
        "pat r", lambda h: h.ioctl(SET, op(LP64, 0)), Errno.EFAULT, "0 are behind", "ioctl"
    ),
    "a short descriptor": (
        "pat r", lambda h: h.ioctl(SET, op(LP64, 0), bytes(31)), Errno.EFAULT, "32 bytes", "ioctl"
    ),
    "an overlong descriptor": (
        "pat r", lambda h: h.ioctl(SET, op(LP64, 0), bytes(33)), Errno.EFAULT, "33 are", "ioctl"
    ),
    "a short descriptor where there are no ranges": (
        "board r", lambda h: h.ioctl(SET, op(LP64, 0), b""), Errno.EOPNOTSUPP, "", "ioctl"
    ),
    "no room for the table": (
        "pat r", lambda h: h.ioctl(GET, op(LP64, 4), bytes(127)), Errno.EFAULT, "only 127", "get"
    ),
    "another operation": (
        "pat r",
        lambda h: h.ioctl(SET, op(LP64, 2), desc(LP64, 0, 4096, WC)),
        Errno.EOPNOTSUPP, "2", "set",
    ),
    # Offsets
    "a negative offset": (
        "pat r", lambda h: h.pread(1, -1), Errno.EINVAL, "offset -0x1 is not an unsigned", "read"
    ),
    "an offset past 64 bits": (
        "old w", lambda h: h.pwrite(b"x", 1 << 64), Errno.EINVAL, "0x10000000000000000", "write"
    ),
    "a negative length": (
        "pat r", lambda h: h.read(-1), Errno.EINVAL, "length -0x1 is not between", "read"
    ),
    "a huge length": (
        "pat r", lambda h: h.read(1 << 40), Errno.EINVAL, "0x10000000000 is not", "read"
    ),
    "past the physical address space": (
        "pat r", lambda h: h.pread(1, 1 << 36), Errno.EFAULT, "36 bits", "read"
    ),
    "the last offset there is": (
        "mtrr w", lambda h: h.pwrite(b"x", (1 << 64) - 1), Errno.EFAULT, "36 bits", "write"
    ),
    "an unmapped kernel address": (
        "pat:kmem r", lambda h: h.pread(1, 0x1000), Errno.EFAULT, "0x1000", "read"
    ),
    "write through a read-only mapping": (
        "pat:kmem w", lambda h: h.pwrite(b"x", 0xFFFFFFFF80110000), Errno.EFAULT, "", "write"
    ),
    "write to write-protected memory": (
        "mtrr w", lambda h: h.pwrite(b"x", 0xC0000), Errno.EFAULT, "protect", "write"
    ),
    # Descriptors
    "reserved bits": (
        "pat r", lambda h: h.set_range(0, 4096, 1 << 6), Errno.EINVAL, "0x40", "set"
    ),
    "reserved bits beside an attribute": (
        "mtrr r", lambda h: h.set_range(2 * M, 4096, WC | 1 << 20), Errno.EINVAL, "", "set"
    ),
    "two attributes": ("pat r", lambda h: h.set_range(0, 4096, WC | UC), Errno.EINVAL, "", "set"),
    "no attribute": ("mtrr r", lambda h: h.set_range(2 * M, 4096, 0), Errno.EINVAL, "", "set"),
    "zero length": ("pat r", lambda h: h.set_range(0, 0, WC), Errno.EINVAL, "0x0", "set"),
    "a base inside a page": (
        "pat r", lambda h: h.set_range(9, 4096, WC), Errno.EINVAL, "0x9", "set"
    ),
    "a range past the top": (
        "pat r", lambda h: h.set_range(1 << 36, 4096, WC), Errno.EINVAL, "0x1000000000", "set"
    ),
    "no power of two": (
        "mtrr r", lambda h: h.set_range(2 * M, 3 << 12, WC), Errno.EINVAL, "0x3000", "set"
    ),
    "overlap with another type": (
        "mtrr r", lambda h: h.set_range(2048 * M, M, WC), Errno.EINVAL, "0x80000000", "set"
    ),
    "nothing to remove": (
        "old r", lambda h: h.remove_range(64 * M, M), Errno.ENOENT, "0x4000000", "set"
    ),
    "a fixed slot": ("mtrr r", lambda h: h.remove_range(0, 65536), Errno.EPERM, "", "set"),
    "no range operations": (
        "board r", lambda h: h.set_range(0, 4096, WC), Errno.EOPNOTSUPP, "", "set"
    ),
    "no range operations to list": ("board r", lambda h: h.ranges(), Errno.EOPNOTSUPP, "", "get"),
    "no descriptors": ("off r", lambda h: h.set_range(0, 4096, WC), Errno.ENXIO, "", "set"),
    "no descriptors to list": ("off r", lambda h: h.ranges(), Errno.ENXIO, "", "get"),
    "a base that is no u64": (
        "pat r", lambda h: h.set_range(-1, 4096, WC), Errno.EINVAL, "mr_base -0x1", "ioctl"
    ),
    "a length that is no u64": (
        "mtrr r", lambda h: h.remove_range(0, 1 << 64), Errno.EINVAL, "mr_len 0x1000", "ioctl"
    ),
    "flags that are no u32": (
        "pat r", lambda h: h.set_range(0, 4096, 1 << 32), Errno.EINVAL, "32 bits", "ioctl"
    ),
    "an owner that bytes cannot hold": (
        "pat r",
        lambda h: h.set_range(0, 4096, WC, owner="\u20ac"),
        Errno.EINVAL, "one byte cannot hold", "ioctl",
    ),
    # Claims
    "release of what is not held": (
        "pat r", lambda h: h.release(0, 1), Errno.ENOENT, "", "release"
    ),
    "a claim that is no range": ("pat r", lambda h: h.claim(0, 0), Errno.EINVAL, "0x0/0x0", "take"),
    "a claim past 64 bits": (
        "pat r", lambda h: h.claim(1 << 63, 1 << 64), Errno.EINVAL, "64-bit", "take"
    ),
    "a lease in the past": (
        "pat r", lambda h: h.claim(0, 1, lease=-1), Errno.EINVAL, "-1 seconds", "take"
    ),
    "renewal of no claim": ("pat r", lambda h: h.renew(99, 1), Errno.EBUSY, "99", "renew"),
}  # fmt: skip


def path_of(machine: str) -> str:
    return machine.replace(":kmem", ":/dev/kmem") if ":" in machine else f"{machine}:/dev/mem"


@pytest.mark.parametrize(
    ("where", "request_", "code", "words", "event"), REFUSALS.values(), ids=REFUSALS
)
async def test_a_request_that_is_refused(
    tmp_path: Path, where: str, request_: Request, code: Errno, words: str, event: str
) -> None:
    machine, mode = where.split()
    async with lab(tmp_path) as rig, await rig.hub.open(path_of(machine), mode) as handle:
        before = rig.state()
        rig.news()
        with pytest.raises(DeviceError) as caught:
            await request_(handle)

        (record,) = rig.news()
        assert rig.state() == before

    assert (caught.value.code, caught.value.errno) == (code, code.host)
    assert words in caught.value.reason
    assert str(caught.value) == f"{code.name}: {caught.value.reason}"
    assert record["event"].partition(".")[2] == event
    assert (record["errno"], record["reason"]) == (code.name, caught.value.reason)
    assert record["machine"] == machine.partition(":")[0]


# Where somebody stands in the way


@asynccontextmanager
async def crowded(rig: Lab) -> AsyncIterator[Handle]:
    mine = await rig.hub.process("mine").open("pat:/dev/mem")
    other = await rig.hub.process("other").open("pat:/dev/mem")
    for place in range(4):
        await other.set_range(place << 20, 4096, WC, owner=f"o{place}")

    yield mine
    mine.close()
    other.close()


CROWDED: dict[str, tuple[Request, Errno, str, str]] = {
    "a take-over": (lambda h: h.set_range(0, 4096, UC), Errno.EBUSY, "other", "claim"),
    "a removal": (lambda h: h.remove_range(0, 4096), Errno.EBUSY, "other", "claim"),
    "a claim": (lambda h: h.claim(0, 1 << 30), Errno.EBUSY, "other", "claim"),
    "an overlap": (lambda h: h.set_range(0, 8192, UC), Errno.EINVAL, "write-combine", "overlap"),
    "a full table": (lambda h: h.set_range(8 << 20, 4096, UC), Errno.ENOSPC, "o3", "slot"),
}


@pytest.mark.parametrize(("request_", "code", "words", "kind"), CROWDED.values(), ids=CROWDED)
async def test_a_refusal_names_who_and_what_stands_in_the_way(
    tmp_path: Path, request_: Request, code: Errno, words: str, kind: str
) -> None:
    async with lab(tmp_path) as rig, crowded(rig) as mine:
        before = rig.state()
        rig.news()
        with pytest.raises(DeviceError) as caught:
            await request_(mine)

        (record,) = rig.news()
        assert rig.state() == before

    error = caught.value
    assert error.code == code
    assert error.obstacles
    assert {obstacle.kind for obstacle in error.obstacles} == {kind}
    assert words in error.reason + str([obstacle.as_dict() for obstacle in error.obstacles])
    assert (record["errno"], record["holder"]) == (code.name, error.obstacles[0].process)


async def test_an_unknown_type_is_replaced_by_force_alone(tmp_path: Path) -> None:
    unknown = {0x2FF: 0xC06, 0xFE: 0x508, 0x250: 0x06060606060606FF}
    machine = replace(MTRR, msrs={**MTRR.msrs, **unknown})
    async with lab(tmp_path, machine) as rig, await rig.hub.open("/dev/mem") as handle:
        before = rig.state()
        with pytest.raises(DeviceError) as caught:
            await handle.set_range(0, 65536, WB)

        assert rig.state() == before
        assert caught.value.code is Errno.EACCES
        assert [o.kind for o in caught.value.obstacles] == ["unknown"]

        await handle.set_range(0, 65536, WB, force=True)


# After close

USES: dict[str, Request] = {
    "read": lambda h: h.read(1),
    "pread": lambda h: h.pread(1, 0),
    "write": lambda h: h.write(b"x"),
    "pwrite": lambda h: h.pwrite(b"x", 0),
    "seek": lambda h: h.seek(0),
    "get": lambda h: h.ioctl(GET, op(LP64, 0)),
    "set": lambda h: h.ioctl(SET, op(LP64, 0), desc(LP64, 0, 4096, WC)),
    "unknown": lambda h: h.ioctl(1, b""),
    "ranges": lambda h: h.ranges(),
    "range_array": lambda h: h.range_array(),
    "set_range": lambda h: h.set_range(0, 4096, WC),
    "set_range of nonsense": lambda h: h.set_range(-1, 4096, WC),
    "set_range in time": lambda h: h.set_range(0, 4096, WC, wait=1),
    "remove_range": lambda h: h.remove_range(0, 4096),
    "claim": lambda h: h.claim(0, 4096),
    "release": lambda h: h.release(0, 4096),
    "renew": lambda h: h.renew(1, None),
    "wait_free": lambda h: h.wait_free(0, 4096, 1),
}


@pytest.mark.parametrize("use", USES.values(), ids=USES)
async def test_a_closed_handle_reaches_no_device(tmp_path: Path, use: Request) -> None:
    async with lab(tmp_path) as rig:
        handle = await rig.hub.open("pat:/dev/mem", "r+")
        handle.close()
        handle.close()
        rig.news()
        before = rig.state()
        with pytest.raises(BadHandle, match="handle 1 is closed"):
            await use(handle)

        assert rig.state() == before
        assert rig.news() == []


async def test_a_process_that_has_ended_opens_nothing(tmp_path: Path) -> None:
    async with lab(tmp_path) as rig:
        process = rig.hub.process("gone")
        process.close()
        with pytest.raises(BadHandle, match="process gone has ended"):
            await process.open("/dev/mem")
