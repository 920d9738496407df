"""What the protocol has gained since its first version, for those who ask for it."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from memhub.abi import MDF_ACTIVE, MDF_UNCACHEABLE, MDF_WRITECOMBINE, RangeDesc
from memhub.errors import NotSupported, RangeBusy
from memhub.hub.hub import Hub
from memhub.plugin import Arch, KernelLayout
from memhub.plugin.software import SoftwareRangeDriver
from memhub.service import wire
from memhub.service.blocking import BlockingClient
from memhub.service.client.events import record_of
from memhub.service.server import Server
from memhub.service.settings import Limits, ServiceConfig
from service.service_rig import MIB, WINDOW, RawClient, lab, machine

if TYPE_CHECKING:
    from pathlib import Path

TOP = (1 << 64) - 4096


async def test_the_outcome_of_a_set_comes_back(tmp_path: Path) -> None:
    """Slots, descriptors, registers, claim and fence, as from an embedded handle."""
    async with lab(tmp_path, machine("a"), machine("b"), machine("c")) as it, it.connect() as hub:
        here, there = await it.hub.open("a:/dev/mem"), await hub.open("b:/dev/mem")

        def script() -> list[Any]:
            with BlockingClient(it.address) as client, client.open("c:/dev/mem", "r+") as file:
                return [
                    file.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="Xörg"),
                    file.remove_range(WINDOW, MIB),
                    file.set_range(0, 1 << 20, MDF_UNCACHEABLE),
                    file.set_range(WINDOW, MIB, MDF_WRITECOMBINE, lease=60),
                ]

        async def steps(handle: Any) -> list[Any]:
            return [
                await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="Xörg"),
                await handle.remove_range(WINDOW, MIB),
                await handle.set_range(0, 1 << 20, MDF_UNCACHEABLE),
                await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, lease=60),
            ]

        outcomes = [await anyio.to_thread.run_sync(script), await steps(here), await steps(there)]
        assert outcomes[0] == outcomes[1] == outcomes[2]
        assert outcomes[0][0].fence > 0
        assert it.hub.claims("b")[-1].expires_ns is not None
        here.close()


async def test_an_outcome_longer_than_a_frame_is_left_out(tmp_path: Path) -> None:
    on = {0xFE: 0x508, 0x2FF: 0xC06}
    old, limits = machine(arch="amd64-mtrr", msrs=on), Limits(frame_size=4096)
    async with lab(tmp_path, old, limits=limits) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")

        assert await handle.set_range(0, MIB, MDF_UNCACHEABLE) is None
        assert len([d for d in await handle.ranges() if d.mr_flags & MDF_UNCACHEABLE]) > 80


async def test_a_set_is_answered_when_its_commit_ends(tmp_path: Path) -> None:
    async with lab(tmp_path, machine(commit_latency=0.01)) as it, it.connect() as hub:
        handle = await hub.open("/dev/mem")
        outcome = await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)

        assert outcome is not None
        assert outcome.after[0].mr_base == WINDOW


async def test_a_malformed_set_is_an_error(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        names = []
        for arg, desc in ((0, bytes(31)), (7, bytes(32)), (0xFFFFFFFF, bytes(32))):
            answer = await client.ask(wire.Set(0, handle, arg, 0, 0, 0, desc))
            assert isinstance(answer, wire.Error)
            names.append(answer.name)

        assert names == ["EFAULT", "EOPNOTSUPP", "EOPNOTSUPP"]
        client.close()


async def test_refused_requests_reach_a_subscriber_that_asks_for_them(tmp_path: Path) -> None:
    async with lab(tmp_path) as it, it.connect() as hub, it.connect() as other:
        handle, rival = await hub.open("/dev/mem"), await other.open("/dev/mem")
        await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE)
        with (
            hub.subscribe(failures=True) as all_news,
            hub.subscribe() as changes,
            it.hub.subscribe(failures=True) as embedded,
            anyio.fail_after(20),
        ):
            await hub.ping()
            with pytest.raises(RangeBusy):
                await rival.set_range(WINDOW, MIB, MDF_UNCACHEABLE)

            await rival.set_range(0, MIB, MDF_UNCACHEABLE)
            refused = await all_news.receive()
            assert (refused["event"], refused["errno"]) == ("request.set", "EBUSY")
            assert refused == json.loads(json.dumps(await embedded.receive()))
            assert (await changes.receive())["errno"] is None


async def test_options_need_their_feature(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        answer = await client.ask(wire.Subscribe(0, 0, 0, 0, "", 1))
        assert isinstance(answer, wire.Error)
        assert answer.name == "EINVAL"
        client.close()


async def test_a_client_of_this_version_works_with_a_service_of_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "FEATURES", 0)
    async with lab(tmp_path) as it:
        monkeypatch.undo()
        async with it.connect() as hub:
            monkeypatch.setattr(wire, "FEATURES", 0)
            await hub.ping()

        async with it.connect() as hub:
            handle = await hub.open("/dev/mem")
            assert await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE) is None
            assert (await handle.ranges())[-1].mr_len >= 0
            with pytest.raises(NotSupported, match="without a lease"):
                await handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, lease=5)

            with pytest.raises(NotSupported, match="sends no refused requests"):
                hub.subscribe(failures=True)


async def test_numbers_of_64_bits_are_strings_for_those_who_ask(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        for features, kind in ((wire.FEATURE_STRINGS, str), (0, int)):
            client = await RawClient.dial(it.address, features=features)
            handle = await client.open()
            await client.ask(wire.Subscribe(0, 0, 0, 0, ""))
            await client.ask(wire.Claim(0, handle, 0, 0, TOP, 4096))
            answers: list[Any] = [
                await client.ask(wire.Explain(0, handle, 1 << 35)),
                await client.ask(wire.Report(0, "claims", "")),
            ]
            explained, reported = (json.loads(answer.data) for answer in answers)
            assert type(explained["address"]) is kind
            assert int(explained["address"]) == 1 << 35
            (claim,) = reported["machines"][0]["claims"]
            assert (type(claim["base"]), int(claim["base"])) == (kind, TOP)
            client.close()
            await it.settled(0)


def test_a_record_is_the_same_however_its_numbers_came() -> None:
    row = {"seq": 5, "base": TOP, "before_base": [TOP, 0], "errno": None, "fence": None}
    for detail in (
        json.dumps(row),
        json.dumps({**row, "seq": "5", "base": str(TOP), "before_base": [str(TOP), "0"]}),
    ):
        assert record_of(wire.Event(0, 1, 0, 5, TOP, 1, "x", detail.encode())) == row


async def test_the_file_without_ram_needs_its_feature(tmp_path: Path) -> None:
    """MAP_ROM came after MAP, which is answered without a feature too."""
    async with lab(tmp_path) as it:
        for features in (0, wire.FEATURE_MAP, wire.FEATURES):
            client = await RawClient.dial(it.address, features=features)
            handle = await client.open()
            answer = await client.ask(wire.Map(0, handle, wire.MAP_ROM))
            assert isinstance(answer, wire.Error)
            assert (answer.name, answer.kind) == ("EOPNOTSUPP", "NotSupported")
            assert isinstance(await client.ask(wire.Map(0, handle, wire.MAP_READ)), wire.Mapped)
            client.socket.close()

        client = await RawClient.dial(it.address, features=wire.FEATURE_MAP_ROM)
        handle = await client.open()
        assert isinstance(await client.ask(wire.Map(0, handle, wire.MAP_ROM)), wire.Mapped)
        client.socket.close()


class WideDriver(SoftwareRangeDriver):
    """More slots than a small frame holds."""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        return RangeDesc(desc.mr_base, desc.mr_len, desc.mr_flags | MDF_ACTIVE, desc.mr_owner)

    def type_of(self, desc: RangeDesc) -> str:
        return "UC"


async def test_a_table_longer_than_a_frame_is_had_in_part(tmp_path: Path) -> None:
    """All of it is EFAULT; fewer descriptors come."""
    wide = Arch(
        name="wide",
        summary="200 ranges",
        kernel=KernelLayout(kernel_base=0xF0000000),
        driver=lambda cpu, options: WideDriver(slots=200),
        attributes=MDF_UNCACHEABLE,
        slots="200 ranges",
    )
    settings = ServiceConfig(socket=tmp_path / "s", limits=Limits(frame_size=4096))
    async with (
        Hub([machine(arch="wide")], arches={"wide": wide}) as hub,
        Server(hub, settings) as server,
    ):
        client = await RawClient.dial(server.addresses[0])
        handle = await client.open()
        for count, code in ((0, 0), (100, 0), (127, 0), (128, 14), (200, 14)):
            op = struct.pack("<Qii", 1, count, 0)
            answer = await client.ask(wire.Ioctl(0, handle, 0xC0106D32, op, room=count * 32))
            if code:
                assert isinstance(answer, wire.Error)
                assert answer.code == code
            else:
                assert isinstance(answer, wire.IoctlDone)
                assert len(answer.desc) == count * 32

        client.socket.close()
