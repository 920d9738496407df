"""What the log's own commands make of a machine with Linux."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from kernels.linux_kit import LINE, LINUX, SCREEN
from kernels.linux_traffic import SPEC, LinuxTraffic
from memhub import AuditLog, Hub
from memhub.arches import load_arches
from memhub.audit.history.blame import blame
from memhub.audit.history.travel import Travel
from memhub.cli import main
from memhub.core.files import Principal
from memhub.core.requests import Open, Write
from memhub.engine.lifecycle import open_file
from memhub.errors import InvalidArgument
from memhub.rig.log_replay import replay_log

if TYPE_CHECKING:
    from pathlib import Path

ARCHES = load_arches()


def run(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What a command prints."""
    capfd.readouterr()
    assert main(list(arguments)) == 0

    return capfd.readouterr().out


@pytest.mark.parametrize("seed", range(3))
def test_a_log_is_put_again_and_answered_alike(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = LinuxTraffic(seed, log)
        for _ in range(120):
            traffic.step()

        traffic.hub.end()

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []
    assert done.steps > 60


def test_an_altered_answer_of_a_log_is_a_difference(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], log=log)
        hub.begin()
        file = open_file(hub.engine, Open(Principal(1, "X"), "/proc/mtrr", "r+"))
        hub.engine.submit(Write(file, LINE))

    lines = path.read_bytes().replace(b'"answer":"52"', b'"answer":"51"')
    path.write_bytes(lines)
    done = replay_log(path, arches=ARCHES, verified=False)
    assert [it.what for it in done.differences] == ["answer"]


def test_blame_names_the_call_that_gave_an_address_its_type(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], log=log)
        hub.begin()
        file = open_file(hub.engine, Open(Principal(1, "X"), "/proc/mtrr", "r+"))
        hub.engine.submit(Write(file, LINE))
        hub.kernels.call("del", reg=1, base=0, size=0)

    (answer,) = blame(Travel(path, ARCHES), SCREEN)
    told = [(it.record["event"], it.record.get("op"), *it.types) for it in answer.steps]
    assert told == [
        ("device.attach", None, None, "UC"),
        ("kernel.call", "write", "UC", "WC"),
        ("kernel.call", "del", "WC", "UC"),
    ]
    shown = run(capfd, "audit", "blame", str(path), hex(SCREEN))
    assert "X (id 1) write: UC -> WC" in shown
    assert "a driver del 0xd0000000+16M: WC -> UC" in shown


def test_the_state_of_a_log_shows_the_registers_of_then(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([SPEC], log=log)
        hub.begin()
        hub.kernels.call("add", base=SCREEN, size=1 << 24, type=1)

    shown = run(capfd, "audit", "state", str(path), "--json")
    (machine,) = orjson.loads(shown)["machines"]
    assert machine["msrs"]["0x208"] == SCREEN | 1


def test_exec_gives_a_program_the_file_of_a_machine_in_a_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "m.toml"
    config.write_text('[machines.pc]\narch = "amd64"\nkernel = "linux-6.18"\n')
    shown = run(capfd, "exec", "--config", str(config), "cat", "/proc/mtrr")
    assert shown == "reg00: base=0x000000000 (    0MB), size= 1024MB, count=1: write-back\n"


@pytest.mark.anyio
@pytest.mark.parametrize("kernel", ["linux-6.18", "netbsd-7"])
async def test_system_calls_of_a_log_are_put_again(tmp_path: Path, kernel: str) -> None:
    """Also those that are refused: Linux has none, not even the words of its file."""
    path, spec = tmp_path / "a.jsonl", replace(LINUX, kernel=kernel)
    screen = [SCREEN, 1 << 24, 1, 5, 0]
    with AuditLog.open(path) as log:
        async with Hub([spec], log=log) as hub, hub.process("a") as one:
            paths = ["/dev/mem"] + ["/proc/mtrr"] * (kernel != "netbsd-7")
            calls: list[tuple[str, dict[str, Any]]] = [
                ("set", {"entries": [screen]}),
                ("get", {"n": 104}),
                ("read", {"length": 10}),
                ("set", {"entries": [{1: 2}]}),
                ("exit", {}),
            ]
            for name in paths:
                async with await one.open(name) as file:
                    for op, args in calls:
                        with suppress(InvalidArgument):
                            await file.call_kernel(op, **args)

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []
    assert done.steps > 4


def test_commands_say_which_kernel_it_is_and_what_it_printed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path, config = tmp_path / "a.jsonl", tmp_path / "pc.toml"
    config.write_text('[machines.pc]\narch = "amd64"\nkernel = "linux-6.18"\n')
    with AuditLog.open(path) as log:
        hub = Hub([LINUX], log=log)
        hub.begin()

    shown = run(capfd, "audit", "show", "--event", "kernel.call", str(path))
    assert "\n                       info: MTRR map: " in shown
    state = run(capfd, "audit", "state", str(path), "--at", "3")
    assert "pc  amd64, linux-6.18, generation " in state
    facts = orjson.loads(run(capfd, "audit", "state", str(path), "--at", "3", "--json"))
    assert facts["machines"][0]["kernel_name"] == "linux-6.18"
    assert "pc  amd64, linux-6.18, 36 address" in run(capfd, "map", "--config", str(config))
    top = run(capfd, "top", "--config", str(config), "--once")
    assert "amd64 linux-6.18" in top
