"""A wrong argument gets one error on every face, and never reaches the log as what it was."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

import anyio
import numpy as np
import pytest

from faces.stages import STAGES, embedded
from faces.wrong_arguments import RIGHT, wrong_calls
from memhub.cli import main
from memhub.errors import DeviceError
from shell.kit import check_log

if TYPE_CHECKING:
    from pathlib import Path

    from faces.stages import Stage
    from faces.wrong_arguments import Call

FACES = {"embedded": embedded, **STAGES}

every_face = pytest.mark.parametrize("face", FACES)


async def finish(found: Any) -> Any:
    """An answer, waited for where the face waits."""
    return await found if inspect.isawaitable(found) else found


async def open_file(stage: Stage, mode: str = "r+") -> Any:
    return await finish(stage.openers["first"]("pat:/dev/mem", mode))


async def close_file(file: Any) -> None:
    await finish(getattr(file, "aclose", file.close)())


async def ask(stage: Stage, file: Any, call: Call) -> tuple[str, str]:
    """Make a call: the class and the message of its error, or its answer."""
    method = stage.openers["first"] if call.method == "open" else getattr(file, call.method)
    try:
        with anyio.fail_after(20):
            answer = await finish(method(*call.given, **call.named))
    except DeviceError as error:
        return type(error).__name__, error.reason
    except (TypeError, ValueError) as error:
        return type(error).__name__, str(error)

    return "no error", repr(answer)


@every_face
async def test_a_wrong_argument_gets_the_same_error_everywhere(tmp_path: Path, face: str) -> None:
    calls = list(wrong_calls())
    async with FACES[face](tmp_path / "log") as stage:
        file = await open_file(stage)
        await finish(file.claim(0, 1))
        for call in calls:
            assert await ask(stage, file, call) == (call.error, call.words), call.method

        await finish(file.release(0, 1))
        with pytest.raises(DeviceError, match="holds no claim"):
            await finish(file.release(0, 1 << 40))

        assert all(not it.mr_len for it in await finish(file.ranges()))
        await close_file(file)

    check_log(tmp_path / "log" / "audit.jsonl")


@pytest.mark.parametrize("face", STAGES)
async def test_a_type_is_looked_at_before_or_after_a_closed_handle_alike(
    tmp_path: Path, face: str
) -> None:
    calls = [call for call in wrong_calls() if call.method != "open"]
    async with embedded(tmp_path / "embedded") as stage, STAGES[face](tmp_path / face) as other:
        closed, there = await open_file(stage), await open_file(other)
        await close_file(closed)
        await close_file(there)
        for call in calls:
            one, two = await ask(stage, closed, call), await ask(other, there, call)
            assert one[0] == two[0], call
            assert re.sub(r"\d+", "N", one[1]) == re.sub(r"\d+", "N", two[1]), call


@every_face
@pytest.mark.parametrize("mode", ["r", "w"])
async def test_no_span_at_all_comes_before_what_the_file_is_open_for(
    tmp_path: Path, face: str, mode: str
) -> None:
    methods = ("read", "pread", "pwrite")
    calls = [call for call in wrong_calls() if call.method in methods]
    async with FACES[face](tmp_path / "log") as stage:
        file = await open_file(stage, mode)
        for call in calls:
            assert await ask(stage, file, call) == (call.error, call.words)

        await close_file(file)


@every_face
async def test_what_only_looks_unusual_is_taken_and_logged_as_it_is_meant(
    tmp_path: Path, face: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with FACES[face](tmp_path / "log") as stage:
        opened = await finish(stage.openers["second"]("pat:/dev/mem", undo="yes"))
        await close_file(opened)
        file = await open_file(stage)
        stage.records()
        for method, given, named, answer in RIGHT:
            found = await finish(getattr(file, method)(*given, **named))
            if isinstance(found, np.ndarray):
                found = found.tolist()
            elif method == "claim":
                found = (found.base, found.end)

            assert answer is None or found == answer, (method, given)

        numbers = [
            (name, value)
            for record in stage.records()
            for name, value in record.items()
            if name in ("base", "length", "fence", "flags", "moved") and value is not None
        ]
        assert numbers
        assert {type(value) for _, value in numbers} == {int}
        await close_file(file)

    path = tmp_path / "log" / "audit.jsonl"
    check_log(path)
    for command in ("verify", "summary", "show"):
        assert main(["audit", command, str(path)]) == 0, capsys.readouterr().err


@every_face
async def test_a_write_of_a_number_writes_nothing(tmp_path: Path, face: str) -> None:
    async with FACES[face](tmp_path / "log") as stage:
        file = await open_file(stage)
        await finish(file.pwrite(b"before", 0))
        for data in (5, [1, 2]):
            with pytest.raises(TypeError, match="is not a buffer of bytes"):
                await finish(file.pwrite(data, 0))

        assert await finish(file.pread(6, 0)) == b"before"
        await close_file(file)
