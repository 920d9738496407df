"""Values of requests that are out of their bounds are refused in the same way everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub.abi import LP64, MDF_UNCACHEABLE
from memhub.service import wire
from memhub.service.settings import Limits
from service.service_rig import MIB, WINDOW, RawClient, get, lab, machine

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TOP = (1 << 64) - 4096

#: Requests that name a range.
SPANS: dict[str, Callable[[int, int, int], wire.Message]] = {
    "claim": lambda handle, base, length: wire.Claim(0, handle, 0, 0, base, length),
    "release": lambda handle, base, length: wire.Release(0, handle, base, length, 0),
    "wait": lambda handle, base, length: wire.Wait(0, handle, base, length, 0),
    "break": lambda handle, base, length: wire.Break(0, handle, base, length, 0, "why"),
    "break one": lambda handle, base, length: wire.Break(0, handle, base, length or TOP, 1, "why"),
    "subscribe": lambda _, base, length: wire.Subscribe(0, 0, base, length or TOP, ""),
}


async def name_of(client: RawClient, asked: wire.Message) -> str:
    answer: Any = await client.ask(asked)

    return str(getattr(answer, "name", answer.NAME))


@pytest.mark.parametrize("ask", SPANS.values(), ids=SPANS)
async def test_what_is_no_range_is_einval(
    tmp_path: Path, ask: Callable[[int, int, int], wire.Message]
) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for base, length in ((8192, 0), (TOP, 8192), (2, (1 << 64) - 1)):
            assert await name_of(client, ask(handle, base, length)) == "EINVAL"

        client.close()


async def test_a_renewal_of_what_is_no_range_is_einval(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        claimed: Any = await client.ask(wire.Claim(0, handle, 60_000, 0, WINDOW, MIB))
        for base, length in ((TOP, 8192), (2, (1 << 64) - 1)):
            asked = wire.Renew(0, handle, base, length, claimed.fence, 60_000)
            assert await name_of(client, asked) == "EINVAL"

        client.close()


async def test_a_break_by_fence_has_to_touch_the_range_that_it_names(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        here = await it.hub.open("/dev/mem")
        client = await RawClient.dial(it.address)
        handle = await client.open()
        for base, length, wanted in (
            (0, MIB, "ENOENT"),
            (WINDOW - 4096, 4096, "ENOENT"),
            (WINDOW + MIB - 1, 1, "DONE"),
            (0, 0, "DONE"),
        ):
            claim = await here.claim(WINDOW, MIB)
            asked = wire.Break(0, handle, base, length, claim.fence, "why")
            assert await name_of(client, asked) == wanted
            if wanted == "ENOENT":
                it.hub.break_claim("pc", claim.fence, "next")

        here.close()
        client.close()


async def test_a_renewal_without_a_range_is_by_its_fence_alone(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        claimed: Any = await client.ask(wire.Claim(0, handle, 60_000, 0, WINDOW, MIB))
        asked = wire.Renew(0, handle, 0, 0, claimed.fence, 60_000)
        assert await name_of(client, asked) == "CLAIMED"
        client.close()


@pytest.mark.parametrize("size", [1 << 31, (1 << 63), (1 << 64) - 1])
async def test_no_transfer_is_longer_than_31_bits(tmp_path: Path, size: int) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        assert await name_of(client, wire.Pread(0, handle, 0, size)) == "EINVAL"
        assert await name_of(client, wire.Read(0, handle, size)) == "EINVAL"
        for asked in (wire.Pwrite(70, handle, 0, size, b"x"), wire.Write(71, handle, size, b"")):
            client.send(asked.encode(), wire.Data(asked.request, True, b"").encode())
            client.protocol._flight[asked.request] = asked.TYPE
            (answer,) = await client.receive()
            assert (answer.request, getattr(answer, "name", "")) == (asked.request, "EINVAL")

        assert await name_of(client, wire.Pread(0, handle, 0, 1)) == "DATA"
        client.close()


@pytest.mark.parametrize("what", [",", "claims,", ",claims", "claims,,waits"])
async def test_a_report_has_no_part_without_a_name(tmp_path: Path, what: str) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        answer: Any = await client.ask(wire.Report(0, what, ""))
        assert (answer.name, repr(what) in answer.reason) == ("EINVAL", True)
        client.close()


async def test_a_table_that_no_answer_can_hold_is_refused_by_max_body(tmp_path: Path) -> None:
    spec = machine(options={"slots": 200})
    async with lab(tmp_path, spec, limits=Limits(frame_size=4096)) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        answer: Any = await client.ask(get(handle, 200))
        assert answer.name == "EFAULT"
        assert "an answer of max_body 4096 bytes holds no more" in answer.reason
        asked = get(handle, 200)
        asked.room = 64
        answer = await client.ask(asked)
        assert (answer.name, "max_body" in answer.reason) == ("EFAULT", False)
        client.close()


async def test_a_count_below_0_asks_for_the_number_of_slots(tmp_path: Path) -> None:
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address)
        handle = await client.open()
        answers: list[Any] = [await client.ask(get(handle, count)) for count in (0, -1)]
        assert answers[0].op[:8] == answers[1].op[:8]
        assert LP64.op.unpack(answers[0].op)[1] == LP64.op.unpack(answers[1].op)[1] > 0
        assert answers[1].desc == b""
        client.close()


async def test_a_label_of_8_bytes_is_cut_to_7(tmp_path: Path) -> None:
    """As the kernel does: the last byte is made a NUL."""
    async with lab(tmp_path) as it:
        client = await RawClient.dial(it.address, features=wire.FEATURES)
        handle = await client.open()
        desc = bytearray(LP64.desc.pack(WINDOW, MIB, MDF_UNCACHEABLE, b"12345678"))
        desc[20:28] = b"12345678"
        assert await name_of(client, wire.Set(0, handle, 0, 0, 0, 0, bytes(desc))) == "SET_DONE"
        answer: Any = await client.ask(get(handle))
        assert b"1234567\0" in answer.desc
        client.close()
