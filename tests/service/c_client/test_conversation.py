"""What the client in C is answered is what the client in Python is answered."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import ILP32, MDF_ACTIVE, MDF_BUSY, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.errors import DeviceError
from memhub.service.blocking import BlockingClient
from memhub.service.wire.replies import MAP_KINDS
from service.c_client.conftest import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from memhub.abi import RangeDesc
    from service.c_client.c_rig import Driven
    from service.c_client.conftest import Service

pytestmark = pytest.mark.campaign

MIB = 1 << 20
WINDOW = 0xD0000000
ROM = 0xF0000000


def rows(descs: Iterable[RangeDesc]) -> list[list[object]]:
    """Descriptors as `drive.c` writes them."""
    return [
        [it.mr_base, it.mr_len, it.mr_flags, it.mr_owner.rstrip(b"\0").decode()] for it in descs
    ]


def pattern(count: int, seed: int) -> bytes:
    """What `drive.c` writes."""
    return bytes([(i * 7 + (i >> 8) + seed) & 0xFF for i in range(count)])


def same(answer: dict[str, Any], data: bytes) -> bool:
    """Whether the client in C has read exactly these bytes."""
    return (answer["moved"], answer["adler"]) == (len(data), zlib.adler32(data))


def refusal(call: Callable[[], object]) -> dict[str, Any]:
    """An error of the Python client, as `drive.c` writes one."""
    with pytest.raises(DeviceError) as caught:
        call()

    error = caught.value
    return {
        "code": error.code.value,
        "name": error.code.name,
        "kind": type(error).__name__,
        "reason": error.reason,
        "moved": error.moved,
        "obstacles": [it.as_dict() for it in error.obstacles],
    }


def as_python(answer: dict[str, Any]) -> dict[str, Any]:
    """An error of the client in C, with numbers where STRINGS has digits."""
    assert (answer.pop("local"), answer.pop("again")) == (0, 0)
    for obstacle in answer["obstacles"]:
        for name in {"base", "length"} & obstacle.keys():
            obstacle[name] = int(obstacle[name])

    return answer


def test_a_set_and_the_table_it_leaves(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client, client.open("/dev/mem", "r+") as handle:
        set_range = ("set", 0, 0, WINDOW, MIB, MDF_WRITECOMBINE, "rig", 0, 0)
        first = driven.done(*set_range, 60_000)
        mine, theirs = driven.done("ranges", 0)["ranges"], rows(handle.ranges())
        assert theirs[0] == [WINDOW, MIB, MDF_WRITECOMBINE | MDF_ACTIVE | MDF_BUSY, "rig"]
        assert mine[0] == [WINDOW, MIB, MDF_WRITECOMBINE | MDF_ACTIVE, "rig"]
        assert (mine[1:], len(mine)) == (theirs[1:], 64)
        assert driven.done("get", 0, 0)["count"] == 64
        assert driven.done("get", 0, 2)["ranges"] == mine[:2]
        assert driven.done("get", 0, 511)["ranges"] == mine

        removed = driven.done("set", 0, 1, WINDOW, MIB, MDF_WRITECOMBINE, "rig", first["fence"], 0)
        assert (removed["slots"], removed["claimed"]) == ([[0, mine[0], mine[1]]], [])
        other = handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="rig")
        assert other is not None
        assert first["complete"] == 1
        assert first["slots"] == [
            [slot, *rows(pair)]
            for slot, *pair in zip(other.slots, other.before, other.after, strict=True)
        ]
        assert first["msrs"] == [[number, *pair] for number, pair in other.msrs.items()]
        assert (first["claimed"], first["released"]) == (
            list(other.claimed),
            list(other.released),
        )
        assert other.fence is not None
        assert other.fence > first["fence"] > 0


def test_the_ioctls_of_both_data_models(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    for handle, path, model in ((1, "pc:/dev/mem", 2), (2, "old:/dev/mem", 0)):
        opened = driven.done("open", handle, path, 3, model)
        assert opened["model"] == 2
        driven.done("ioctl-set", handle, 0, WINDOW, MIB, MDF_UNCACHEABLE, "ilp32", 0, 0)
        with BlockingClient(service.socket) as client, client.open(path) as seen:
            shown = rows(seen.ranges())
            assert [WINDOW, MIB, MDF_UNCACHEABLE | MDF_ACTIVE | MDF_BUSY, "ilp32"] in shown
            mine = driven.done("ranges", handle)["ranges"]
            assert mine == [[it[0], it[1], int(str(it[2])) & ~MDF_BUSY, it[3]] for it in shown]

            with client.open(path, model=ILP32) as small:
                assert rows(small.ranges()) == shown

        driven.done("ioctl-set", handle, 1, WINDOW, MIB, MDF_UNCACHEABLE, "ilp32", 0, 0)
        driven.done("close", handle)


def test_errors_are_the_same(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket, label="holder") as other:
        held = other.open("/dev/mem", "r+")
        held.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="held")
        with BlockingClient(service.socket, label="rig") as client:
            handle = client.open("/dev/mem", "r+")
            calls: list[tuple[tuple[object, ...], Callable[[], object]]] = [
                (
                    ("set", 0, 1, WINDOW, MIB, 2, "x", 0, 0),
                    lambda: handle.remove_range(WINDOW, MIB),
                ),
                (
                    ("set", 0, 1, 0x5000, 0x1000, 2, "x", 0, 0),
                    lambda: handle.remove_range(0x5000, 0x1000),
                ),
                (
                    ("set", 0, 0, 0x5001, 0x1000, 2, "user", 0, 0),
                    lambda: handle.set_range(0x5001, 0x1000, 2),
                ),
                (
                    ("set", 0, 0, 0x5000, 0x1000, 2, "user", 77, 0),
                    lambda: handle.set_range(0x5000, 0x1000, 2, fence=77),
                ),
                (("claim", 0, WINDOW, MIB, 0, 0), lambda: handle.claim(WINDOW, MIB)),
                (("claim", 0, 0, 0, 0, 0), lambda: handle.claim(0, 0)),
                (("release", 0, 0x1000, 0x1000, 0), lambda: handle.release(0x1000, 0x1000)),
                (("renew", 0, 0, 0, 999, 5), lambda: handle.renew(999, 0.005)),
                (("break", 0, 0x1000, 1, 0, "x"), lambda: handle.break_claims(0x1000, 1, "x")),
                (("wait", 0, WINDOW, MIB, 20), lambda: handle.wait_free(WINDOW, MIB, 0.02)),
                (("seek", 0, 0, 3), lambda: handle.seek(0, 3)),
                (("explain", 0, 1 << 60), lambda: handle.explain(1 << 60)),
                (("report", "nonsense", ""), lambda: client.report("nonsense")),
                (("report", "", "nowhere"), lambda: client.report("", "nowhere")),
                (("subscribe", "nowhere", 0, 0, 0, 0), lambda: client.report("", "nowhere")),
                (("open", 9, "/dev/null", 1, 0), lambda: client.open("/dev/null")),
                (("open", 9, "arm:/dev/mem", 3, 0), lambda: None),
            ]
            for words, call in calls[:-1]:
                mine, theirs = as_python(driven.ask(*words)), refusal(call)
                for name in ("handle", "model", "arch", "machine"):
                    mine.pop(name, None)

                assert mine == theirs, words

            assert driven.done(*calls[-1][0])["arch"] == "arm64"
            assert (
                driven.ask("get", 9, 1)["code"]
                == refusal(client.open("arm:/dev/mem").ranges)["code"]
            )

        assert driven.ask("wait", 0, WINDOW, MIB, 0)["kind"] == "RangeBusy"
        assert driven.ask("get", 0, -3)["name"] == "EFAULT"
        assert driven.ask("ioctl", 0, 0x1234)["kind"] == "UnknownIoctl"
        driven.done("open", 8, "/dev/mem", 1, 0)
        assert driven.ask("pwrite", 8, 0, 4, 1)["name"] == "EBADF"
        driven.done("close", 8)
        assert driven.ask("close", 8)["kind"] == "BadHandle"


def test_transfers_of_any_size(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client, client.open("/dev/mem", "r+") as handle:
        for count in (0, 1, 4096, MIB - 20, MIB - 19, MIB, MIB + 1, 5 * MIB + 3):
            data = pattern(count, count & 7)
            assert same(driven.done("pwrite", 0, 0x3000, count, count & 7), data)
            assert handle.pread(count, 0x3000) == data
            assert same(driven.done("pread", 0, 0x3000, count), data)

        assert driven.done("seek", 0, 0x5000, 0)["now"] == 0x5000
        assert same(driven.done("write", 0, 2 * MIB, 9), pattern(2 * MIB, 9))
        assert driven.done("seek", 0, -2 * MIB, 1)["now"] == 0x5000
        assert same(driven.done("read", 0, 2 * MIB), pattern(2 * MIB, 9))
        assert driven.done("seek", 0, -16, 2)["now"] == 2**64 - 16

        # behind the memory: what there is, or the error, as in Python
        for offset, count in ((32 * MIB - 10, 4096), (1 << 36, 16), (2**64 - 4, 16)):
            answer = driven.ask("pread", 0, offset, count)
            if answer["code"]:
                error = refusal(lambda at=offset, of=count: handle.pread(of, at))  # type: ignore[misc]
                assert {name: answer[name] for name in error} == error
            else:
                assert same(answer, handle.pread(count, offset))


def test_requests_are_pipelined(service: Service, driven: Driven) -> None:
    """More than may be in flight at once, and writes that wait while answers come."""
    driven.connect(service.socket)
    for count, calls in ((16, 3000), (60_000, 100), (3 * MIB, 5)):
        answer = driven.done("pipeline", 0, 0x10000, count, calls)
        assert (answer["reaped"], answer["failed"]) == (2 * calls, 0)
        assert (answer["same"], answer["in_flight"]) == (1, 0)


def test_explain_and_report(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    driven.done("claim", 0, 0x1000, 0x1000, 0, 0)
    with BlockingClient(service.socket) as client, client.open("/dev/mem") as handle:
        for address in (0, WINDOW, ROM):
            found = driven.done("explain", 0, address)["json"]
            assert {**found, "address": address, "physical": int(found["physical"])} == (
                handle.explain(address)._asdict()
            )

        mine = driven.done("report", "machines,claims", "pc")["json"]["machines"]
        theirs = client.report("machines,claims", "pc")["machines"]
        for report in (mine, theirs):
            for claim in report[0]["claims"]:
                claim.pop("seconds")
                claim.update({name: int(claim[name]) for name in ("fence", "base", "length")})

        assert mine == theirs
        assert mine[0]["claims"][0]["process"] == "rig"


def test_memory_is_mapped(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client, client.open("/dev/mem", "r+") as handle:
        found = driven.done("map", 0, 3)
        with handle.map() as memory:
            assert found["rights"] == 3
            assert found["pieces"] == [[*row, MAP_KINDS.index(kind)] for *row, kind in memory.rows]

        assert driven.done("mapped", 0x2345, 5000, 4)["code"] == 0
        assert handle.pread(5000, 0x2345) == pattern(5000, 4)
        handle.pwrite(b"from the other side", 0x7000)
        assert same(driven.done("mapped", 0x7000, 19), b"from the other side")
        assert driven.ask("mapped", ROM, 1)["code"] == 14

        found = driven.done("map", 0, 4)
        with handle.map_rom() as memory:
            assert found["pieces"] == [[*row, MAP_KINDS.index(kind)] for *row, kind in memory.rows]

        assert {row[3] for row in found["pieces"]} == {1, 4}
        assert same(driven.done("mapped", ROM, 64), handle.pread(64, ROM))
        assert same(driven.done("mapped", (1 << 36) - 100, 100), b"\xff" * 100)
        undefined = (("map", 0, 7), ("open", 1, "/dev/mem", 8, 0), ("seek", 0, 0, 5))
        for words in (*undefined, ("subscribe", "", 0, 0, 0, 2)):
            answer = driven.ask(*words)
            assert (answer["name"], answer["local"]) == ("EINVAL", 1)

        driven.done("ping")


def test_a_descriptor_that_finds_no_place_is_an_error(service: Service, driven: Driven) -> None:
    """The kernel drops it; the connection goes on, and the next one belongs to the next request."""
    driven.connect(service.socket)
    driven.done("files", 4)
    lost = driven.ask("map", 0, 1)
    assert (lost["name"], lost["local"]) == ("EMFILE", 1)
    driven.done("files", 64)
    driven.done("map", 0, 3)
    with BlockingClient(service.socket) as client, client.open("/dev/mem", "r+") as handle:
        handle.pwrite(b"still in step", 0x1000)
        assert same(driven.done("mapped", 0x1000, 13), b"still in step")


def test_without_features_the_protocol_is_that_of_version_1(
    service: Service, driven: Driven
) -> None:
    welcome = driven.done("connect", service.socket, "rig", "", 0)
    assert welcome["features"] == 0
    driven.done("open", 0, "/dev/mem", 3, 0)
    answer = driven.done("set", 0, 0, WINDOW, MIB, 2, "rig", 0, 0, 0)
    assert (answer["complete"], answer["fence"]) == (0, 0)
    for words in (
        ("set", 0, 0, WINDOW, MIB, 2, "rig", 0, 0, 5000),
        ("subscribe", "", 0, 0, 0, 1),
        ("map", 0, 4),
    ):
        assert driven.ask(*words)["name"] == "EOPNOTSUPP", words

    assert driven.done("explain", 0, WINDOW)["json"]["address"] == WINDOW
    driven.done("subscribe", "", 0, 0, 0, 0)
    driven.done("set", 0, 1, WINDOW, MIB, 2, "rig", 0, 0, 0)
    assert driven.done("event", 20_000)["detail"]["base"] == WINDOW


def test_tcp_with_a_token(service: Service, driven: Driven) -> None:
    driven.connect(service.tcp, "rig", TOKEN)
    driven.done("pwrite", 0, 0, 3 * MIB, 1)
    with BlockingClient(service.tcp, token=TOKEN) as client, client.open("/dev/mem") as handle:
        assert handle.pread(3 * MIB, 0) == pattern(3 * MIB, 1)

    assert driven.ask("map", 0, 1)["name"] == "EOPNOTSUPP"
    driven.done("ping")
    driven.done("goodbye", 20_000)
    for token in ("", "4c1f0a6be2d94d78"):
        answer = driven.ask("connect", service.tcp, "rig", token)
        assert (answer["name"], answer["again"], answer["local"]) == ("EACCES", 0, 0)

    driven.connect(service.tcp, "rig", TOKEN)
