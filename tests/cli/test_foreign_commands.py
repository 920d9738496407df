"""Whatever names, labels, reasons and files hold: no command writes a control to a terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import anyio
import pytest
import trio

from hostile import HOSTILE, LABEL, NAME, controls
from memhub import AuditLog, Hub
from memhub.abi import MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.cli.commands import COMMANDS
from memhub.clock import SystemClock
from memhub.config import import_dump, load_config, to_toml
from memhub.errors import DeviceError, StaleClaim
from memhub.service.blocking import BlockingClient
from service.served import served
from shell.kit import ARCHES, PAT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from clirun import Run

# Every command


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """An audit log in which everything that others choose is hostile."""
    path = tmp_path / "hostile.jsonl"

    async def main() -> None:
        with AuditLog.open(path) as log:
            async with Hub([PAT], arches=ARCHES, log=log, clock=SystemClock()) as hub:
                mine, theirs = hub.process(NAME), hub.process(NAME + "2")
                one = await mine.open("/dev/mem", "r+")
                two = await theirs.open("/dev/mem", "r+")
                await one.set_range(0x200000, 0x1000, MDF_WRITECOMBINE, owner=LABEL)
                with pytest.raises(DeviceError) as refused:
                    await two.set_range(0x200000, 0x1000, MDF_UNCACHEABLE, owner=LABEL)

                assert controls(str(refused.value)) == []
                mine.close()
                theirs.close()

    anyio.run(main)

    return path


@pytest.fixture
def spoilt(log: Path, tmp_path: Path) -> Path:
    """The same log with records altered, so that what is wrong with it quotes them."""
    lines = log.read_bytes().split(b"\n")
    lines[1] = lines[1].replace(b'"prev":"', b'"prev":"\\u001b[2J', 1)
    path = tmp_path / "spoilt.jsonl"
    path.write_bytes(b"\n".join(lines))

    return path


@pytest.fixture
def socket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A service whose one range has a hostile label and a hostile holder."""
    path = tmp_path / "lab.sock"
    with served(path, PAT):
        monkeypatch.setenv("MEMHUB_SOCKET", str(path))
        with BlockingClient(path, label=NAME) as client:
            handle = client.open("/dev/mem")
            handle.set_range(0x200000, 0x1000, MDF_WRITECOMBINE, owner=LABEL)
            yield path


CONFIGS = {
    "values": '[machines."{0}"]\narch = "{0}"\nwp_writes = "{0}"\nphys_bits = "{0}"\n"{0}" = 1\n',
    "default": 'default = "{0}"\n[machines.pc]\narch = "amd64"\n',
    "import": '[machines.pc]\narch = "amd64"\nimport = "{0}"\n',
    "options": '[machines.pc]\narch = "amd64"\n[machines.pc.options]\n"{0}" = "{0}"\n',
    "registers": '[machines.pc]\narch = "i386"\n[machines.pc.msr]\n"{0}" = "{0}"\n',
    "not toml": "{0}",
    "service": '[machines.pc]\narch = "i386"\n[service]\nowner = "{0}"\n',
}


def toml(template: str) -> str:
    quoted = "".join(f"\\U{ord(c):08x}" if not c.isalnum() else c for c in NAME)

    return template.format(quoted) if template != "{0}" else NAME


DUMPS = {
    "map": f"BIOS-e820: {NAME}\nBIOS-e820: 0 - 1000 ({NAME})\n",
    "type": f"MTRR default type: {NAME}\nMTRR variable ranges enabled:\n0 base {NAME}\n1 disabled",
    "reg": f"reg00: base={NAME}\nreg01: base=0x0 (0MB), size=4MB: write-back, count=1\n",
    "listing": f"0x0/0x1000 {NAME[:6]} write-back active\n0x0/0x1000 {NAME} write-back active\n",
    "nothing": NAME,
}


def driven(
    tmp_path: Path, log: Path, spoilt: Path, socket: Path, lab: Path
) -> Iterator[tuple[str, ...]]:
    """Command lines, each with something hostile in what it reads or is told."""
    nowhere = str(tmp_path / HOSTILE.replace("/", ""))
    for index, template in enumerate(CONFIGS.values()):
        path = tmp_path / f"{index}.toml"
        path.write_text(toml(template), encoding="utf-8")
        yield "explain", "--config", str(path), "0"
        yield "serve", str(path), "--socket", nowhere + "x" * 200
        yield "top", "--once", "--config", str(path)
        yield "exec", "--config", str(path), "true"

    for index, dump in enumerate(DUMPS.values()):
        path = tmp_path / f"{index}.txt"
        path.write_text(dump, encoding="utf-8")
        yield "import", str(path)
        yield "import", str(path), "--json"
        yield "replay", str(path)

    trace = tmp_path / "trace.jsonl"
    trace.write_text(json.dumps({"id": NAME, "scenario": NAME, "arch": NAME, "steps": [{}]}))
    yield "replay", str(trace)
    yield "replay", str(trace), "--json"
    yield "replay", str(trace), "--arch", HOSTILE
    yield "import", nowhere, "--name", HOSTILE
    yield "import", "--arch", HOSTILE, nowhere
    for file in (log, spoilt, nowhere, trace):
        yield "audit", "show", str(file)
        yield "audit", "summary", str(file)
        yield "audit", "summary", str(file), "--json"
        yield "audit", "verify", str(file)
        yield "audit", "verify", str(file), "--json", "--head", HOSTILE

    script = tmp_path / "script"
    script.write_bytes(
        f"list\n{NAME}\nset -b '{NAME}' -l 1 '{NAME}'\nlist '\n".encode() + b"\x1b\x9b"
    )
    for words in (
        ("list",), ("list", "--json"), ("--script", str(script)), (HOSTILE,), ("help", HOSTILE),
        ("set", "-b", HOSTILE, "-l", HOSTILE, "-o", HOSTILE, HOSTILE), ("set", "-\x1b"),
        ("set", "-b", "0x200000", "-l", "0x1000", "uncacheable"),
        ("clear", "-o", HOSTILE), ("clear", "-b", "0x200000", "-l", "0x1000"),
        ("--machine", NAME, "list"), ("--script", nowhere), ("--connect", nowhere, "list"),
    ):  # fmt: skip
        yield "memcontrol", *words

    for command in ("read", "hexdump", "write"):
        more = ("--hex", HOSTILE) if command == "write" else ("-n", HOSTILE)
        yield command, *more, HOSTILE
        yield command, *more, "0"
        yield command, "--connect", f"tcp:{HOSTILE}", *more[:1], "00", "0"
        yield command, "--config", nowhere, "0"

    yield "write", "--hex", "00", "0xffffffffff", "--machine", NAME
    yield "write", "--file", nowhere, "0"
    yield "hexdump", "--token-file", nowhere, "0"
    yield "hexdump", "--ca", nowhere, "--connect", "tcp:localhost:1", "0"
    yield "top", "--once"
    yield "top", "--once", "--json"
    yield "top", "--once", "--machine", HOSTILE
    yield "top", "--interval", HOSTILE
    yield "explain", "--config", str(lab), HOSTILE
    yield "explain", "--config", str(lab), "--machine", HOSTILE, "0"
    yield "demo", "--seed", HOSTILE
    yield "demo", "--log", str(log)
    yield "demo", "--log", nowhere + "/x"
    yield "arches", HOSTILE
    yield HOSTILE, HOSTILE
    for command in COMMANDS:
        yield command, f"--{HOSTILE}"
        yield command, "--help"


def test_no_command_lets_a_control_through(
    run: Run, tmp_path: Path, log: Path, spoilt: Path, socket: Path, lab: Path
) -> None:
    seen: dict[str, int] = {}
    for words in driven(tmp_path, log, spoilt, socket, lab):
        done = run(*words)
        assert (words, controls(done.out), controls(done.err)) == (words, [], [])
        seen[words[0]] = seen.get(words[0], 0) + 1

    assert {*seen} >= {*COMMANDS}


def test_json_keeps_the_characters(run: Run, socket: Path, log: Path) -> None:
    (machine,) = json.loads(run("top", "--once", "--json").out)["machines"]
    (row,) = json.loads(run("memcontrol", "list", "--json").out)
    counts = json.loads(run("audit", "summary", log, "--json").out)

    assert row["owner"] == machine["claims"][0]["owners"][0] == LABEL
    assert NAME in counts["processes"]


def test_a_listing_shows_a_hostile_label_as_escapes(run: Run, socket: Path) -> None:
    assert run("memcontrol", "list").out == (
        "0x200000/0x1000 \\x1b[2J\\x9b\\x7f write-combine active \n"
    )


def test_a_broken_claim_tells_its_reason_without_controls(tmp_path: Path) -> None:
    async def main() -> None:
        async with Hub([PAT], arches=ARCHES) as hub:
            process = hub.process("victim")
            handle = await process.open("/dev/mem", "r+")
            claim = await handle.claim(0x200000, 0x1000)
            hub.break_claim("pat", claim.fence, reason=NAME)  # the log holds no surrogate
            with pytest.raises(StaleClaim) as lost:
                await handle.set_range(0x200000, 0x1000, MDF_WRITECOMBINE)

            assert NAME in lost.value.reason
            assert controls(str(lost.value)) == []

    trio.run(main)


def test_an_imported_machine_is_written_without_controls_and_loads(tmp_path: Path) -> None:
    imported = import_dump(
        f"BIOS-e820: 0 - 1000 (usable)\nBIOS-e820: 1000 - 2000 ({NAME.replace(chr(13), '')})\n"
    )
    shown = to_toml(imported)
    path = tmp_path / "x.toml"
    path.write_text(shown, encoding="utf-8")

    assert controls(shown) == []
    assert load_config(path).machines["imported"] == imported.spec
