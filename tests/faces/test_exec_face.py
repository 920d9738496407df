"""A C program's ioctls, through the backend of `memhub exec`, are those of a handle."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from faces.conversation import conversation
from memhub.abi import LP64
from memhub.errors import BadAddress, DeviceError
from memhub.exec.over_client import ClientBackend
from memhub.service.blocking import BlockingClient
from memhub.service.local import LocalClient
from service.served import served
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from pathlib import Path

    from faces.conversation import Step

PLACE = 0x7000


class ProgramMemory:
    """What a program has behind `mo_desc`."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def fetch(self, address: int, size: int) -> bytes:
        if address != PLACE or size > len(self.data):
            raise BadAddress(f"{address:#x}/{size:#x} is not mapped")

        return bytes(self.data[:size])

    def store(self, address: int, data: bytes) -> None:
        if address != PLACE:
            raise BadAddress(f"{address:#x} is not mapped")

        self.data[: len(data)] = data


def steps() -> list[Step]:
    """The ioctls of the conversation that a C program can make.

    That is without a wait or a fence, with an argument of the size that the number declares
    (which is what the supervisor reads), and without saying how much room is behind `mo_desc`.
    """
    return [
        step
        for step in conversation()
        if step.name.startswith("pat ioctl")
        and not step.named
        and step.name != "pat ioctl get into too little"
        and len(step.given[1]) == LP64.op.size
        and step.given[0] < 1 << 32
    ]


def through_a_handle(client: Any) -> list[Any]:
    def left_behind(step: Step) -> bytes:
        memory = bytearray(step.given[2] if len(step.given) > 2 else b"")
        found = handle.ioctl(*step.given).descs
        memory[: len(found)] = found

        return bytes(memory)

    with client.open("/dev/mem", "r+", model=LP64) as handle:
        return [_answer(partial(left_behind, step)) for step in steps()]


def through_exec(client: Any) -> list[Any]:
    session = ClientBackend(client, {"/dev/mem": "/dev/mem"}).open("/dev/mem", os.O_RDWR)
    found = []
    for step in steps():
        request, op, *descs = step.given
        memory = ProgramMemory(descs[0] if descs else b"")
        pointed = PLACE.to_bytes(8, "little") + op[8:]
        found.append(_answer(partial(_made, session, request, pointed, memory)))

    session.close()

    return found


def _made(session: Any, request: int, op: bytes, memory: ProgramMemory) -> bytes:
    session.ioctl(request, op, memory)

    return bytes(memory.data)


def _answer(call: Any) -> Any:
    try:
        return call()
    except DeviceError as error:
        # Not the reason: of a descriptor that a program has half of, the supervisor reads nothing.
        return type(error).__name__, error.code.name


@pytest.mark.parametrize("face", ["local", "service"])
def test_a_programs_ioctls_are_answered_as_a_handles(tmp_path: Path, face: str) -> None:
    def answers(through: Any, name: str) -> list[Any]:
        if face == "local":
            with LocalClient((PAT,), arches=ARCHES) as client:
                return through(client)  # type: ignore[no-any-return]

        with served(tmp_path / name, PAT), BlockingClient(tmp_path / name) as remote:
            return through(remote)  # type: ignore[no-any-return]

    expected, found = answers(through_a_handle, "handle"), answers(through_exec, "exec")

    assert len(found) > 8
    for step, one, other in zip(steps(), expected, found, strict=True):
        if step.name == "pat ioctl with half a descriptor":
            # What a program has there is read whole or not at all, so only the reason differs.
            assert (other[:2], one[:2]) == (("BadAddress", "EFAULT"),) * 2
        else:
            assert other == one, step.name
