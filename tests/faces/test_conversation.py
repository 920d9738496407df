"""Every face answers the same conversation alike, and leaves the same records."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from faces.conversation import MODELS, Heard, converse
from faces.stages import STAGES, embedded

if TYPE_CHECKING:
    from pathlib import Path

    from faces.stages import Stage

#: What the fields of a frame cannot hold is refused by the client: same class and errno, but
#: nothing reaches the hub, so nothing is recorded.
UNSENT = {"records"}

#: Where the service's protocol keeps its two clients from answering as the embedded face does:
#: the step, on each machine that is named, what differs, and why.
WIRE_LIMITS: tuple[tuple[str, tuple[str, ...], set[str], str], ...] = (
    ("open in no mode", tuple(MODELS), UNSENT, "OPEN's flags have two bits"),
    ("pread no offset", tuple(MODELS), UNSENT, "an offset is a u64"),
    ("pread no length", tuple(MODELS), UNSENT, "a length is a u64"),
    ("pwrite no offset", tuple(MODELS), UNSENT, "an offset is a u64"),
    ("flush no length", tuple(MODELS), UNSENT, "a range is two u64"),
    ("ioctl fence nought", ("pat", "old"), UNSENT, "0 stands for no fence"),
    ("ioctl fence nought", ("board",), set(Heard._fields), "0 stands for no fence"),
    ("ioctl wait backwards", tuple(MODELS), UNSENT, "a wait is a u32 of milliseconds"),
    ("set beyond 64 bits", tuple(MODELS), UNSENT, "a descriptor's fields are fixed"),
    ("set with a foreign label", tuple(MODELS), UNSENT, "a label is eight bytes"),
    ("call with a fraction", ("",), UNSENT, "JSON of a call has no fractions"),
    ("call beyond 64 bits", ("",), UNSENT, "a number of a call has 64 bits"),
    ("claim far out", ("",), UNSENT, "a range is two u64"),
    ("claim for no time", ("",), UNSENT, "lease_ms 0 stands for a claim that lasts"),
    ("claim backwards", ("",), UNSENT, "a wait is a u32 of milliseconds"),
    ("wait for another's", ("",), UNSENT, "a wait is a u32 of milliseconds"),
)


def limits() -> dict[str, set[str]]:
    """What may differ over the wire, by step, and must."""
    return {
        f"{machine} {step}".strip(): aspects - {"obstacles"}
        for step, machines, aspects, _ in WIRE_LIMITS
        for machine in machines
    }


def differences(one: dict[str, Heard], other: dict[str, Heard]) -> dict[str, set[str]]:
    """The steps that were answered differently, and in what."""
    assert one.keys() == other.keys()
    found = {
        name: {it for it in Heard._fields if getattr(one[name], it) != getattr(other[name], it)}
        for name in one
    }

    return {name: aspects for name, aspects in found.items() if aspects}


async def hold(stage: Stage) -> dict[str, Heard]:
    """The conversation, which says something of each kind that it is meant to."""
    heard = await converse(stage)
    answers = {name: it.answer for name, it in heard.items()}

    assert answers["pat ioctl seven fenced"] == ("NotSupported", "EOPNOTSUPP", 0)
    assert answers["old ioctl seven fenced"] == ("NotSupported", "EOPNOTSUPP", 0)
    assert answers["board ioctl seven fenced"] == ("NotSupported", "EOPNOTSUPP", 0)
    assert answers["explain unmapped kernel memory"] == ("BadAddress", "EFAULT", 0)
    assert answers["pat set another's"] == ("RangeBusy", "EBUSY", 0)
    assert heard["pat set another's"].obstacles[0]["process"] == "first"
    assert answers["pat set with a stale fence"] == ("StaleClaim", "EBUSY", 0)
    assert answers["call set a private range"] == {"done": 1}
    assert answers["call set another's"] == ("RangeBusy", "EBUSY", 0)
    assert answers["call set one of two"] == ("InvalidArgument", "EINVAL", 1)
    assert answers["call set what was another's"] == {"done": 1}
    assert answers["renew what is lost"] == ("StaleClaim", "EBUSY", 0)
    assert answers["read once closed"] == ("BadHandle", "EBADF", 0)

    return heard


@pytest.mark.parametrize("face", STAGES)
async def test_a_face_converses_as_the_embedded_one(tmp_path: Path, face: str) -> None:
    async with embedded(tmp_path / "embedded") as stage:
        expected = await hold(stage)

    async with STAGES[face](tmp_path / face) as stage:
        found = differences(expected, await converse(stage))

    assert found == ({} if face == "local" else limits())
