"""Foreign code that raises what is no Exception is named as any other that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from devices.strange import BASE, Good, Stop, book, device, kind_of, machine
from memhub import Hub
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.anyio

ERRORS = (GeneratorExit, SystemExit, Stop)


def raising(error: type[BaseException], method: str) -> Any:
    """A kind whose one method raises."""

    def fails(self: object, *_: object) -> None:
        raise error

    class Odd(Good):
        def __init__(self, options: Mapping[str, Any]) -> None:
            super().__init__({"step": 1})

    setattr(Odd, method, fails)

    return Odd


@pytest.mark.parametrize("error", ERRORS)
async def test_a_kind_that_cannot_be_made(error: type[BaseException]) -> None:
    kinds = book(kind_of(raising(error, "__init__")))
    with pytest.raises(ValueError, match=rf"machine 'pc': .*odd of .* failed: {error.__name__}"):
        Hub([machine(device("odd"))], device_kinds=kinds)


@pytest.mark.parametrize("error", ERRORS)
async def test_a_model_that_cannot_say_what_it_keeps(error: type[BaseException]) -> None:
    made = raising(error, "save_state")
    made.load_state = lambda self, data: None
    with pytest.raises(Exception, match=rf"Odd failed: {error.__name__}"):
        Hub([machine(device("odd"))], device_kinds=book(kind_of(made)))


@pytest.mark.parametrize("error", ERRORS)
async def test_a_model_that_cannot_be_copied(error: type[BaseException]) -> None:
    made = raising(error, "__deepcopy__")
    async with Hub([machine(device("odd"))], device_kinds=book(kind_of(made))) as hub:
        with pytest.raises(DeviceError, match=rf"Odd failed: {error.__name__}"):
            hub.fork()


@pytest.mark.parametrize("error", ERRORS)
async def test_a_model_that_cannot_be_shown(error: type[BaseException]) -> None:
    made = raising(error, "show")
    made.content = b""
    async with Hub([machine(device("odd"))], device_kinds=book(kind_of(made))) as hub:
        with pytest.raises(DeviceError, match=rf"failed to show it: {error.__name__}"):
            hub.show("it")

        async with await hub.open("/dev/mem") as mem:
            assert await mem.pread(4, BASE) == bytes(4)
