"""Whom `memhub audit blame` names where sick hardware has changed a type under another kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from memhub import AuditLog, Hub, MachineSpec, Sickness
from memhub.arches import load_arches
from memhub.audit.history.blame import blame
from memhub.audit.history.travel import Travel
from memhub.cli.audit.travel_view import print_blame
from memhub.plugin import Cpu

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.audit.history.blame_steps import Blame

ARCHES = load_arches()
SCREEN = 0xD0000000
WRITE_BACK = {0x2FF: 0xC06}
every_kernel = pytest.mark.parametrize("kernel", ["linux-6.18", "linux-2.6.32", "netbsd-7"])


def begin(log: AuditLog, kernel: str, **fields: Any) -> Hub:
    """A hub in use, whose machine has another kernel than FreeBSD."""
    hub = Hub([MachineSpec(name="pc", arch="amd64", kernel=kernel, **fields)], log=log)
    hub.begin()

    return hub


def told(path: Path, address: int, capsys: pytest.CaptureFixture[str]) -> tuple[Blame, str]:
    """Why an address has its type at the end of a log, and as people are shown it."""
    (answer,) = blame(Travel(path, ARCHES), address)
    print_blame(answer)

    return answer, capsys.readouterr().out


@every_kernel
@pytest.mark.parametrize("moment", ["now", "resume"])
def test_firmware_is_blamed_by_its_sickness_and_no_driver(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kernel: str, moment: str
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = begin(log, kernel)
        hub.hardware.add(
            Sickness(action="firmware_rewrite", registers=WRITE_BACK, moment="now", name="smm")
        )
        if moment == "resume":
            hub.hardware.remove("smm")
            hub.hardware.suspend()
            hub.hardware.resume()

    answer, shown = told(path, SCREEN, capsys)
    assert "hardware firmware smm: UC -> WB" in shown
    assert "driver" not in shown
    (step,) = [it for it in answer.facts()["steps"] if it["op"] == "firmware"]
    assert step["sickness"] == ["smm"]
    assert ("hardware resume: WB -> UC" in shown) == (moment == "resume")


@every_kernel
def test_a_forgetful_resume_is_blamed_by_its_sickness(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kernel: str
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = begin(log, kernel)
        hub.hardware.add(Sickness(action="forgetful_resume", name="bios"))
        hub.hardware.suspend()
        hub.hardware.resume()
        hub.hardware.remove("bios")
        hub.hardware.reinit()

    _, shown = told(path, 1 << 21, capsys)
    assert "hardware resume bios: WB -> UC" in shown
    assert "hardware reinit: UC -> WB" in shown


@every_kernel
def test_firmware_that_follows_a_store_is_blamed_and_a_later_driver_is_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kernel: str
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = begin(log, kernel)
        rewrite = Sickness(
            action="firmware_rewrite", registers=WRITE_BACK, moment="set", times=1, name="smm"
        )
        hub.hardware.add(rewrite)
        for type_ in (0, 1):
            base = SCREEN + (type_ << 24)
            if kernel == "netbsd-7":
                hub.kernels.call("kernel_set", entries=[[base, 1 << 24, type_, 4, 0]])
            else:
                hub.kernels.call("add", base=base, size=1 << 24, type=type_)

    _, shown = told(path, SCREEN + (1 << 24), capsys)
    assert "hardware firmware smm: UC -> WB" in shown
    assert "a driver " in shown


@every_kernel
def test_a_restore_is_blamed_for_what_it_ends_and_no_later_call(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kernel: str
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = begin(log, kernel, cpu=Cpu(count=2))
        taken = hub.snapshot()
        hub.hardware.add(
            Sickness(action="firmware_rewrite", registers=WRITE_BACK, cpu=1, name="smm")
        )
        hub.restore(taken)
        restored = log.seq
        hub.kernels.call("table")

    (answer,) = blame(Travel(path, ARCHES), SCREEN, at=restored)
    assert answer.cpus == {}
    later, shown = told(path, SCREEN, capsys)
    assert [it.record["seq"] for it in later.steps] == [it.record["seq"] for it in answer.steps]
    assert "the machine goes back to a snapshot: UC -> UC\n        CPU 1: WB -> UC" in shown
