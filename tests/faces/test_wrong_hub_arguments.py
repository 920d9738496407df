"""What a hub and a client are given beside an open file: one error on every face."""

from __future__ import annotations

import inspect
import math
import re
from typing import TYPE_CHECKING, Any

import pytest

import memhub
from faces.stages import embedded
from memhub import Cpu, Hub
from memhub.audit import read_records
from memhub.errors import InvalidArgument
from memhub.service import wire
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from memhub.service.server import Server
from memhub.service.settings import ServiceConfig
from shell.kit import ARCHES, PAT, lab

if TYPE_CHECKING:
    from pathlib import Path

PROCESSES: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"name": 5}, TypeError, "name 5 is not text"),
    ({"name": 0}, TypeError, "name 0 is not text"),
    ({"name": b"x"}, TypeError, "name b'x' is not text"),
    ({"name": "\ud800"}, ValueError, "name '\\ud800' holds half of a surrogate pair"),
    ({"pid": "1"}, TypeError, "pid '1' is not an integer"),
    ({"uid": 1.5}, TypeError, "uid 1.5 is not an integer"),
    ({"pid": 1 << 64}, ValueError, "pid 0x10000000000000000 does not fit a signed 64-bit number"),
]


@pytest.mark.parametrize(("given", "error", "words"), PROCESSES)
async def test_a_process_has_a_name_and_numbers(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    async with lab(tmp_path, PAT) as rig:
        with pytest.raises(error) as caught:
            rig.hub.process(**given)

        assert str(caught.value) == words
        assert rig.hub.process().principal.id == 1 + ("name" not in given)


async def test_a_pid_that_is_true_is_logged_as_a_number(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        async with rig.hub.process("x", pid=True) as process, await process.open("/dev/mem"):
            pass

        assert {type(it["pid"]) for it in rig.news() if "pid" in it} == {int}


def test_a_local_client_has_a_name() -> None:
    with pytest.raises(TypeError, match="name 5 is not text"):
        LocalClient([PAT], arches=ARCHES, name=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("clock", ["x", "", 0, object()])
def test_a_hub_has_a_clock(clock: Any) -> None:
    with pytest.raises(TypeError, match=f"clock {re.escape(repr(clock))} is not a Clock"):
        Hub([PAT], arches=ARCHES, clock=clock)


@pytest.mark.parametrize("bits", ["x", None, 36.0])
def test_the_width_of_an_address_is_an_integer(bits: Any) -> None:
    with pytest.raises(TypeError, match=f"phys_bits {bits!r} is not an integer"):
        Cpu(phys_bits=bits)


HUB: list[tuple[str, tuple[Any, ...], dict[str, Any], str]] = [
    ("break_claim", (5, 1, "x"), {}, "machine 5 is not text"),
    ("break_claim", ("pat", "1", "x"), {}, "fence '1' is not an integer"),
    ("break_claim", ("pat", 1, 5), {}, "reason 5 is not text"),
    ("claims", (0,), {}, "machine 0 is not text"),
    ("map_device", (1.5, 4096, object()), {}, "base 1.5 is not an integer"),
    ("map_device", (0, "1", object()), {}, "length '1' is not an integer"),
    ("subscribe", (), {"machines": "pat"}, "machines 'pat' is not several names"),
    ("subscribe", (), {"machines": [5]}, "machines 5 is not text"),
]


@pytest.mark.parametrize(("method", "given", "named", "words"), HUB)
async def test_a_method_of_the_hub_names_what_it_refuses(
    tmp_path: Path, method: str, given: tuple[Any, ...], named: dict[str, Any], words: str
) -> None:
    async with lab(tmp_path, PAT) as rig:
        with pytest.raises(TypeError) as caught:
            getattr(rig.hub, method)(*given, **named)

        assert str(caught.value) == words
        assert rig.news() == []


async def test_a_fence_that_no_claim_has_is_refused(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        for fence in (0, 1 << 64):
            with pytest.raises(OSError, match="is not a fencing number"):
                rig.hub.break_claim("pat", fence, "x")


SUBSCRIPTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"machine": 5}, TypeError, "machine 5 is not text"),
    ({"events": "undo"}, TypeError, "events 'undo' is not several names"),
    ({"events": 5}, TypeError, "events 5 is not several names"),
    ({"events": [5]}, TypeError, "events 5 is not text"),
    ({"size": 1.5}, TypeError, "size 1.5 is not an integer"),
    ({"size": 0}, ValueError, "a subscription cannot hold 0 events: 1 to 4294967295"),
    ({"base": 0}, ValueError, "base 0 and length None are given together or not at all"),
    ({"length": 1}, ValueError, "base None and length 1 are given together or not at all"),
    ({"base": "0", "length": 1}, TypeError, "base '0' is not an integer"),
    ({"base": 0, "length": 0}, ValueError, "0x0/0x0 is not a range of 64-bit addresses"),
    ({"base": -1, "length": 1}, ValueError, "-0x1/0x1 is not a range of 64-bit addresses"),
]


@pytest.mark.parametrize(("given", "error", "words"), SUBSCRIPTIONS)
async def test_a_subscription_is_refused_alike_here_and_over_a_service(
    tmp_path: Path, given: dict[str, Any], error: type[Exception], words: str
) -> None:
    async with (
        Hub([PAT], arches=ARCHES) as hub,
        Server(hub, ServiceConfig(socket=tmp_path / "s"), grace=0.1),
        memhub.connect(tmp_path / "s") as remote,
    ):
        for face in (hub, remote):
            with pytest.raises(error) as caught:
                face.subscribe(**given)

            assert str(caught.value) == words


CONNECTIONS: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"address": 5}, TypeError, "expected str, bytes or os.PathLike object, not int"),
    ({"address": b"/x"}, TypeError, "address b'/x' is not text"),
    (
        {"address": "tcp:localhost:99999"},
        ValueError,
        "'tcp:localhost:99999' is not an address: port 99999 is not between 1 and 65535",
    ),
    (
        {"address": "tcp:localhost:0"},
        ValueError,
        "'tcp:localhost:0' is not an address: port 0 is not between 1 and 65535",
    ),
    ({"label": 5}, TypeError, "label 5 is not text"),
    ({"token": b"x"}, TypeError, "token b'x' is not text"),
    ({"label": "\ud800"}, ValueError, "label '\\ud800' holds half of a surrogate pair"),
    ({"timeout": "1"}, TypeError, "timeout '1' is not a number of seconds"),
    ({"timeout": -1}, ValueError, "a timeout of -1 seconds is not a time to come"),
    ({"timeout": math.nan}, ValueError, "a timeout of nan seconds is not a time to come"),
]


@pytest.mark.parametrize(("given", "error", "words"), CONNECTIONS)
def test_a_connection_is_refused_alike_before_it_is_made(
    given: dict[str, Any], error: type[Exception], words: str
) -> None:
    for connect in (memhub.connect, BlockingClient):
        with pytest.raises(error) as caught:
            connect(**{"address": "/nowhere/s", **given})

        assert str(caught.value) == words


def test_a_model_that_is_none_is_refused_before_the_connection_is_made() -> None:
    with pytest.raises(TypeError, match="model 5 is not a data model"):
        memhub.connect("/nowhere/s", model=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("timeout", [None, math.inf, 1e300])
async def test_a_timeout_without_end_is_no_limit(tmp_path: Path, timeout: float | None) -> None:
    async with (
        Hub([PAT], arches=ARCHES) as hub,
        Server(hub, ServiceConfig(socket=tmp_path / "s"), grace=0.1),
        memhub.connect(tmp_path / "s", timeout=timeout) as remote,
    ):
        await remote.ping()
        for given in ((5, ""), ("machines", 5)):
            with pytest.raises(TypeError, match="5 is not text"):
                await remote.report(*given)


async def test_a_break_of_a_service_names_what_it_refuses(tmp_path: Path) -> None:
    async with (
        Hub([PAT], arches=ARCHES) as hub,
        Server(hub, ServiceConfig(socket=tmp_path / "s"), grace=0.1),
        memhub.connect(tmp_path / "s") as remote,
        await remote.open("pat:/dev/mem") as file,
    ):
        for given, words in (
            ((1.5, 1, "x"), "base 1.5 is not an integer"),
            ((0, 1, 5), "reason 5 is not text"),
        ):
            with pytest.raises(TypeError) as caught:
                await file.break_claims(*given)

            assert str(caught.value) == words


async def test_undo_is_logged_as_true_or_false(tmp_path: Path) -> None:
    async with embedded(tmp_path / "log") as stage:
        file = stage.openers["first"]("/dev/mem", undo=[1])
        file = await file if inspect.isawaitable(file) else file
        await file.aclose()

    records = list(read_records(tmp_path / "log" / "audit.jsonl"))
    assert [it["undo"] for it in records if "undo" in it] == [True]


async def test_a_frame_with_no_range_is_refused_and_the_connection_goes_on(tmp_path: Path) -> None:
    async with (
        Hub([PAT], arches=ARCHES) as hub,
        Server(hub, ServiceConfig(socket=tmp_path / "s"), grace=0.1),
        memhub.connect(tmp_path / "s") as remote,
    ):
        far = wire.Subscribe(0, 8, (1 << 64) - 1, 2, "")
        with pytest.raises(InvalidArgument, match="is not a range of 64-bit addresses"):
            await remote._greeted().ask(far)

        await remote.ping()
