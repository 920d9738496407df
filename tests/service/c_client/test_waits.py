"""The client in C with claims, waits, events and ends of a connection, beside a Python client."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

import memhub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.audit import read_records
from memhub.errors import DeviceError
from memhub.service.blocking import BlockingClient
from service.c_client.c_rig import Driven

if TYPE_CHECKING:
    from pathlib import Path

    from service.c_client.conftest import Service

pytestmark = pytest.mark.campaign

MIB = 1 << 20
WINDOW = 0xD0000000
FOREVER = 0xFFFFFFFF
#: Milliseconds in which anything that comes has come.
PATIENCE = 20_000


def claims(client: BlockingClient) -> list[tuple[str, int, int, int]]:
    """Who holds what by CLAIM."""
    rows = client.report("claims", "pc")["machines"][0]["claims"]

    return [(row["process"], row["fence"], row["base"], row["length"]) for row in rows]


def test_claims(service: Service, driven: Driven) -> None:
    driven.connect(service.socket, "rig", "")
    with BlockingClient(service.socket, label="other") as client, client.open("/dev/mem") as other:
        claim = driven.done("claim", 0, 0x1000, 0x2000, 60_000, 0)
        fence = claim["fence"]
        assert (claim["base"], claim["length"], claim["lease_ms"]) == (0x1000, 0x2000, 60_000)
        assert claims(client) == [("rig", fence, 0x1000, 0x2000)]
        for base in (0, 0x1000, 0x2FFF):
            with pytest.raises(DeviceError) as busy:
                other.claim(base, 0x1001)

            assert busy.value.code.name == "EBUSY"

        for span in ((0x1000, 0x2000), (0, 0)):
            renewed = driven.done("renew", 0, *span, fence, 0)
            assert (renewed["fence"], renewed["lease_ms"]) == (fence, 0)

        assert driven.ask("renew", 0, 0x1000, 0x2001, fence, 0)["name"] == "ENOENT"
        driven.done("release", 0, 0x1000, 0x2000, fence)
        assert claims(client) == []
        driven.done("wait", 0, 0x1000, 0x2000, 0)


def test_a_pending_claim_is_granted_and_requests_behind_it_are_answered(
    service: Service, driven: Driven
) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client, client.open("/dev/mem") as other:
        held = other.claim(0x1000, 0x1000)
        assert driven.ask("wait", 0, 0x1000, 1, 10)["name"] == "ETIMEDOUT"
        driven.done("start-claim", 0, 0, 0x1000, 0x1000, 0, FOREVER)
        driven.done("start-claim", 1, 0, 0x1800, 0x10, 0, FOREVER)
        driven.done("ping")
        assert driven.ask("await", 0, 0) == {"done": 0}
        assert driven.done("cancel", 1)
        cancelled = driven.ask("await", 1, PATIENCE)
        assert (cancelled["name"], cancelled["local"]) == ("ECANCELED", 0)
        driven.done("cancel", 1)

        other.release(0x1000, 0x1000, fence=held.fence)
        granted = driven.ask("await", 0, PATIENCE)
        assert (granted["code"], granted["done"], granted["base"]) == (0, 1, 0x1000)
        assert granted["fence"] > held.fence


def test_a_claim_that_was_broken_is_told(service: Service, driven: Driven) -> None:
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client, client.open("/dev/mem", "r+") as other:
        fence = driven.done("set", 0, 0, WINDOW, MIB, MDF_WRITECOMBINE, "rig", 0, 0, 0)["fence"]
        assert other.break_claims(WINDOW, MIB, "the card is needed") == 1
        stale = driven.ask("set", 0, 1, WINDOW, MIB, MDF_WRITECOMBINE, "rig", fence, 0, 0)
        assert (stale["name"], stale["kind"]) == ("EBUSY", "StaleClaim")
        assert "the card is needed" in stale["reason"]
        assert stale["obstacles"][0]["kind"] in {"broken", "fence"}

        other.claim(0x4000, 0x1000)
        assert driven.done("break", 0, 0x4000, 0x1000, 0, "stale")["ended"] == 1
        assert claims(client) == []


async def test_events_are_those_that_a_python_client_gets(
    service: Service, programs: Path, anyio_backend_name: str
) -> None:
    """The client in C and an asynchronous one in Python subscribe to the same changes."""

    def converse(driven: Driven) -> list[dict[str, Any]]:
        with BlockingClient(service.socket) as client, client.open("pc:/dev/mem", "r+") as other:
            done = other.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="user", lease=60)
            assert done is not None
            assert done.fence is not None
            other.renew(done.fence, 90)
            with pytest.raises(DeviceError):
                other.set_range(WINDOW + 1, MIB, MDF_UNCACHEABLE)

            other.release(WINDOW, MIB)
            other.remove_range(WINDOW, MIB)

        return [driven.done("event", PATIENCE) for _ in range(5)]

    with Driven(programs / "drive") as driven, anyio.fail_after(60):
        driven.done("connect", service.socket, "rig", "")
        number = driven.done("subscribe", "pc", WINDOW, MIB, 0, 1)["subscription"]
        async with memhub.connect(service.socket) as hub:
            with hub.subscribe(machine="pc", base=WINDOW, length=MIB, failures=True) as changes:
                await hub.ping()
                mine = await anyio.to_thread.run_sync(converse, driven)
                theirs = [await changes.receive() for _ in mine]

        assert [event["event"] for event in mine] == [record["event"] for record in theirs]
        assert {"request.set", "claim.renew", "claim.release"} <= {it["event"] for it in mine}
        for event, record in zip(mine, theirs, strict=True):
            assert (event["subscription"], event["missed"]) == (number, 0)
            assert event["sequence"] == record["seq"]
            assert (event["base"], event["length"]) == (record["base"], record["length"])
            assert event["machine"] == record["machine"] == "pc"
            assert event["fence"] == (record.get("fence") or 0)
            for name, value in event["detail"].items():
                numbers = value if isinstance(value, list) else [value]
                wanted = record[name] if isinstance(value, list) else [record[name]]
                assert [str(it) for it in numbers] == [str(it) for it in wanted], name

        assert any(event["detail"].get("errno") == "EINVAL" for event in mine)
        driven.done("unsubscribe", number)
        driven.done("ping")
        assert "event" not in driven.done("event", 0)
        assert driven.ask("unsubscribe", number)["name"] == "ENOENT"


def test_events_that_were_not_taken_are_counted(service: Service, driven: Driven) -> None:
    """The driven client keeps 8; the oldest make room, and the next says how many were lost."""
    driven.connect(service.socket)
    driven.done("subscribe", "pc", 0x1000, 0x1000, 100, 0)
    for _ in range(10):
        fence = driven.done("claim", 0, 0x1000, 0x1000, 0, 0)["fence"]
        driven.done("release", 0, 0x1000, 0x1000, fence)

    events = [driven.done("event", PATIENCE)]
    while events[0]["missed"] + len(events) < 20:
        events.append(driven.done("event", PATIENCE))

    # an event may come after the answer to the request that caused it
    assert 8 <= len(events) < 20
    assert [event["missed"] for event in events[1:]] == [0] * (len(events) - 1)
    first = events[0]["sequence"]
    assert [event["sequence"] for event in events] == [*range(first, first + len(events))]
    assert events[-1]["event"] == "claim.release"
    assert "event" not in driven.done("event", 0)


def test_a_refusal_that_may_be_tried_again(service: Service, programs: Path) -> None:
    """Too many clients are connected: EAGAIN, until one goes."""
    drive = programs / "drive"
    with (
        BlockingClient(service.socket),
        BlockingClient(service.socket),
        Driven(drive) as first,
        Driven(drive) as second,
    ):
        first.connect(service.socket)
        answer = second.ask("connect", service.socket, "rig", "")
        assert (answer["name"], answer["again"], answer["local"]) == ("EAGAIN", 1, 0)
        assert answer["reason"]
        first.done("goodbye", PATIENCE)
        second.connect(service.socket)

    with Driven(programs / "drive") as third:
        answer = third.ask("connect", f"{service.socket}-other", "rig", "")
        assert (answer["name"], answer["again"], answer["local"]) == ("ENOENT", 1, 1)
        answer = third.ask("ping")
        assert (answer["name"], answer["local"]) == ("ENOTCONN", 1)


def test_goodbye_in_order(service: Service, driven: Driven) -> None:
    """The service closes; the log says that the client went in order; it may connect again."""
    driven.connect(service.socket, "orderly", "")
    assert driven.done("goodbye", PATIENCE)["in_flight"] == 0
    assert driven.ask("ping")["name"] == "ENOTCONN"
    driven.connect(service.socket, "orderly", "")
    driven.done("ping")
    code, errors = service.served.stop()
    assert (code, errors) == (0, "memhub: stopping on SIGTERM\n")
    causes = [
        it["cause"]
        for it in read_records(service.served.log)
        if it["event"] == "service.disconnect"
    ]
    assert causes == ["goodbye", "stop"]


def test_the_service_says_goodbye(service: Service, driven: Driven) -> None:
    """A pending request is answered with ECANCELED or at its end, and new ones are not sent."""
    driven.connect(service.socket)
    with BlockingClient(service.socket) as client:
        other = client.open("/dev/mem")
        other.claim(0x1000, 0x1000)
        driven.done("start-claim", 0, 0, 0x1000, 0x1000, 0, FOREVER)
        driven.done("ping")
        service.served.process.send_signal(signal.SIGTERM)
        assert driven.done("ending", PATIENCE)["ending"]
        refused = driven.ask("ping")
        assert (refused["local"], refused["again"]) == (1, 1)
        assert refused["name"] in {"ECANCELED", "ECONNRESET"}

    ended = driven.ask("await", 0, PATIENCE)
    assert ended["done"] == 1
    assert ended["code"] == 0 or ended["name"] in {"ECANCELED", "ECONNRESET"}
    assert driven.ask("goodbye", PATIENCE)["in_flight"] == 0
