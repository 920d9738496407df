"""`memhub audit restore` and `memhub serve --restore`, as processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import anyio

from memhub import Hub
from memhub.abi import MDF_WRITECOMBINE
from memhub.audit import AuditLog, read_records, verify
from memhub.audit.seals.note_keys import SigningKey
from memhub.config import load_config
from memhub.service.blocking import BlockingClient
from service.process_rig import Lines, Served
from service.service_rig import MIB, WINDOW

if TYPE_CHECKING:
    from pathlib import Path


def leave_a_log(folder: Path) -> Path:
    """The log of a service that was killed while a client had a range."""
    with Served(folder) as service:
        service.ready()
        client = BlockingClient(f"unix:{service.socket}")
        handle = client.open("/dev/mem", "r+")
        handle.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="kept")
        service.process.kill()
        service.ended()
        client.close()
        service.socket.unlink()

    return service.log


def ranges(socket: Path) -> list[tuple[int, bool]]:
    with BlockingClient(f"unix:{socket}") as client, client.open("/dev/mem", "r+") as handle:
        found = [(it.mr_base, it.owner == "kept") for it in handle.ranges() if it.mr_len]
        handle.remove_range(WINDOW, MIB)

    return found


def test_a_log_alone_is_served_as_it_ended(tmp_path: Path) -> None:
    log, socket = leave_a_log(tmp_path), tmp_path / "r"
    command = [
        *(sys.executable, "-m", "memhub", "audit", "restore", str(log)),
        *("--socket", str(socket), "--log", str(tmp_path / "new.jsonl")),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = Lines(process.stdout.fileno())
        assert lines.next().startswith("memhub: machines as after record ")
        assert lines.next().startswith("memhub: ready on ")
        found = ranges(socket)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0

    assert (WINDOW, True) in found
    assert verify(tmp_path / "new.jsonl").ok


def test_a_service_goes_on_where_its_own_log_ended(tmp_path: Path) -> None:
    log = leave_a_log(tmp_path)
    with Served(tmp_path, "--restore", str(log)) as service:
        service.ready()
        assert (WINDOW, True) in ranges(service.socket)
        assert service.stop()[0] == 0

    records = list(read_records(log))
    again = [it for it in records if it["event"] == "device.attach" and it["machine"] == "pc"]
    assert [it["generation"] for it in again] == [0, 1]
    assert verify(log).ok


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    log = leave_a_log(tmp_path)
    config = tmp_path / "lab.toml"
    text = config.read_text()
    for before, after, why in (
        ("machines.old", "machines.new", "it has no machine 'new' (pc, old)"),
        ("phys_bits = 36", "phys_bits = 40", "had phys_bits 36 there, and has 40 now"),
        ('"amd64"', '"amd64-mtrr"', "had architecture amd64 there, and has amd64-mtrr now"),
    ):
        config.write_text(text.replace(before, after))
        with Served(tmp_path, "--restore", str(log)) as service:
            code, said = service.ended()
            assert code == 2
            assert why in " ".join(said.split())

    config.write_text(text)
    log.write_bytes(log.read_bytes().replace(b'"op":"update"', b'"op":"remove"', 1))
    with Served(tmp_path, "--restore", str(log)) as service:
        assert service.ended()[0] == 1


async def fill_sealed(config: Path, log: Path, key: SigningKey) -> None:
    """A sealed log of the same machines, in which a range is set."""
    machines = load_config(config).machines.values()
    with AuditLog.open(log, key=key) as kept:
        async with Hub(machines, log=kept, default="pc") as hub:
            file = await hub.open("/dev/mem", "r+")
            await file.set_range(WINDOW, MIB, MDF_WRITECOMBINE, owner="kept")


def test_a_log_that_is_restored_has_to_bear_the_seals_of_the_keys(tmp_path: Path) -> None:
    log, key = leave_a_log(tmp_path), SigningKey.generate("lab.example/bench")
    public, sealed = key.verifier().text(), tmp_path / "sealed.jsonl"
    with Served(tmp_path, "--restore", str(log), "--key", public) as service:
        code, said = service.ended()
        assert code == 1
        assert "not sealed with that key" in " ".join(said.split())

    anyio.run(fill_sealed, tmp_path / "lab.toml", sealed, key)
    with Served(tmp_path, "--restore", str(sealed), "--key", public) as service:
        service.ready()
        assert (WINDOW, True) in ranges(service.socket)

    with Served(tmp_path, "--key", public) as service:
        code, said = service.ended()
        assert code == 2
        assert "--key checks the log of --restore, which is not given" in " ".join(said.split())
