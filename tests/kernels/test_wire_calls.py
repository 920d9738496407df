"""What clients ask of other kernels than FreeBSD over the service, as the pages say it."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest

from memhub.core.spec import MachineSpec
from memhub.errors import InvalidArgument
from memhub.service import wire
from memhub.service.remote_file import RemoteFile
from memhub.service.remote_kernel import call_request
from memhub.service.settings import RightsRule
from service.service_rig import RawClient, lab

MSRS = {0xFE: 0x508, 0x2FF: 0x800}
NETBSD = MachineSpec(name="pc", arch="amd64", msrs=MSRS, kernel="netbsd-7")
LINUX = MachineSpec(name="pc", arch="amd64", msrs=MSRS, kernel="linux-6.18")
LIST = "pc:/sys/kernel/debug/x86/pat_memtype_list"


@pytest.mark.anyio
async def test_the_call_on_the_page_of_the_protocol_is_answered_as_there(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "protocol.md").read_text()
    args, answer = (
        page.partition(f"```json {name}\n")[2].partition("\n```")[0] for name in ("call", "plain")
    )
    async with lab(tmp_path, NETBSD) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        done = await client.ask(wire.Call(0, handle, "set", args.encode()))
        assert isinstance(done, wire.Data)
        assert json.loads(done.data) == json.loads(answer)
        client.close()


HALF = r"\ud800"


@pytest.mark.anyio
async def test_members_that_a_call_does_not_have_are_not_looked_at(tmp_path: Path) -> None:
    async with (
        lab(tmp_path, NETBSD) as it,
        it.connect() as client,
        await client.open("pc:/dev/mem") as memory,
    ):
        assert await memory.call_kernel("set", entries=[], bogus=1) == {"done": 0}


UNHELD = (
    f'{{"bogus":"{HALF}","entries":[]}}',
    f'{{"{HALF}":1}}',
    f'{{"{HALF}":1.5}}',
    f'{{"entries":[["{HALF}",4096,1,4,0]]}}',
    f'{{"entries":["{HALF}"]}}',
    f'{{"entries":{{"{HALF}":1}}}}',
    f'["{HALF}"]',
    f'{{"n":{{"int":"{HALF}"}}}}',
    f'"{HALF}"',
    *('{"bogus":' + "[" * deep + "]" * deep + "}" for deep in (66, 256, 900)),
)


@pytest.mark.anyio
@pytest.mark.parametrize("op", ["set", "get", "bogus"])
async def test_what_no_record_can_hold_refuses_the_call_alone(tmp_path: Path, op: str) -> None:
    async with lab(tmp_path, NETBSD) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        for args in UNHELD:
            answer = await client.ask(wire.Call(0, handle, op, args.encode()))
            assert isinstance(answer, wire.Error)
            assert answer.name == "EINVAL"

        assert isinstance(await client.ask(wire.Call(0, handle, "get", b'{"n":1}')), wire.Data)
        client.close()


def test_an_argument_that_no_record_can_hold_is_not_sent() -> None:
    opened = wire.Opened(1, 1, wire.MODEL_LP64, 0, "amd64", "pc")
    file = RemoteFile(opened, "/dev/mem", wire.Limits())
    endless: list[object] = []
    endless += [endless, endless]
    for args, why in (
        ({"n": "\ud800"}, "holds half of a surrogate pair"),
        ({"\ud800": 1}, "holds half of a surrogate pair"),
        ({"n": endless}, "n is nested too deeply"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            call_request(file, wire.FEATURES, "get", args)


@pytest.mark.anyio
async def test_over_a_service_a_right_takes_the_place_of_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memhub.service.server.rights.peer_of", lambda _: (7, 1234))
    rights = (RightsRule(uid=1234, allow=frozenset({"read-ranges", "set-ranges"})),)
    async with (
        lab(tmp_path, LINUX, rights=rights) as it,
        it.connect() as client,
        await client.open(LIST) as file,
        await client.open("pc:/proc/mtrr", "r+") as mtrr,
    ):
        assert await file.read(4096) == b"PAT memtype list:\n"
        await mtrr.write(b"base=0xd0000000 size=0x1000000 type=write-combining\n")


@pytest.mark.anyio
async def test_a_call_that_changed_nothing_is_no_event(tmp_path: Path) -> None:
    """What the subscriber gets is what the log has with a change."""
    async with lab(tmp_path, NETBSD) as it, it.connect() as hub:
        news = hub.subscribe()
        await hub.ping()
        for entries in ([], [[0xD0000000, 1 << 24, 1, 5, 0]]):
            async with it.connect() as other, await other.open("pc:/dev/mem") as memory:
                await memory.call_kernel("get", n=1)
                await memory.call_kernel("set", entries=entries)

        with anyio.fail_after(20):
            await it.settled(1)

        calls = [row for row in it.records("kernel.call") if row["changed"] is not None]
        assert len([row for row in it.records("kernel.call") if row["op"] == "exit"]) == 2
        for row in calls:
            if row["op"] == "boot":
                continue

            with anyio.fail_after(20):
                event = await news.receive()
                while event["event"] != "kernel.call":
                    event = await news.receive()

            assert (event["seq"], event["op"]) == (row["seq"], row["op"])

        assert calls[-1]["op"] == "exit"
