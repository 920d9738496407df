"""`memhub audit diff` of machines with another kernel: its ranges and what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kernels.linux_kit import LINUX, SCREEN
from memhub import AuditLog, Hub, MachineSpec, Sickness
from memhub.arches import load_arches
from memhub.audit import state_at
from memhub.audit.history.diff import diff_states
from memhub.cli.audit.travel_view import print_diff

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    import pytest

ARCHES = load_arches()
NETBSD = MachineSpec(name="pc", arch="amd64", kernel="netbsd-7", msrs={0xFE: 0x508, 0x2FF: 0x800})


def diff(path: Path, first: int, last: int) -> dict[str, Any]:
    (found,) = diff_states(
        state_at(path, first, arches=ARCHES), state_at(path, last, arches=ARCHES)
    )["machines"]

    return {str(name): part for name, part in found.items()}


def kept(found: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    return {it["name"]: (it["before"], it["after"]) for it in found["kernel"]}


async def test_a_range_of_linux_its_count_and_a_reservation_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([LINUX], log=log) as hub:
            call = hub.kernels.call
            call("add", base=SCREEN, size=16 << 20, type=1)
            first = log.seq
            call("add", base=SCREEN, size=16 << 20, type=1)
            counted = log.seq
            call("memtype_reserve", start=0xE0000000, end=0xE0001000, want="WC")
            call("add", base=0xE0000000, size=1 << 20, type=6)
            last = log.seq

    found = diff(path, first, counted)
    assert (found["slots"], found["msrs"]) == ([], [])
    assert kept(found) == {"own.counts[1]": (1, 2)}
    ((register),) = found["registers"]
    assert (register["register"], register["before"]["uses"], register["after"]["uses"]) == (
        1,
        1,
        2,
    )
    found = diff(path, counted, last)
    assert [it["register"] for it in found["registers"]] == [2]
    names = kept(found)
    assert names["own.memtype.reservations"] == (None, ["0xe0000000", "0xe0001000", "WC"])
    assert names["own.mtrr.variable[2][0]"] == ("0x0", "0xe0000006")
    print_diff(
        diff_states(state_at(path, first, arches=ARCHES), state_at(path, last, arches=ARCHES))
    )
    shown = capsys.readouterr().out
    assert "register 2: empty -> " in shown
    assert "kernel own.counts[1]: 1 -> 2" in shown


async def test_private_ranges_of_netbsd_and_the_cpus_that_are_out_of_step_differ(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([NETBSD], log=log) as hub, await hub.open("pc:/dev/mem") as file:
            first = log.seq
            await file.call_kernel("set", entries=[[SCREEN, 1 << 24, 1, 5, 0]])
            hub.hardware.add(Sickness(action="cpu_out_of_step", cpu=1, registers={0x2FF: 0x806}))
            last = log.seq

    found = diff(path, first, last)
    (register,) = found["registers"]
    assert register["before"] is None
    assert register["after"]["owner"].startswith("process ")
    names = kept(found)
    assert names["cpus.1.0x2ff"] == (None, "0x806")
