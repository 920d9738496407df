"""What becomes of the hardware changes types, and so is among the reasons of a type."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from memhub import AuditLog, Hub, MachineSpec, Sickness
from memhub.audit.history.blame import Blame, blame
from memhub.audit.history.travel import Travel
from memhub.cli.audit.travel_view import print_blame
from memhub.errors import DeviceError
from memhub.plugin import Cpu
from shell.kit import ARCHES, MTRR

if TYPE_CHECKING:
    from pathlib import Path

DEF_TYPE = 0x2FF
SCREEN = 0xD0000000
WRITE_COMBINING = {0xFE: 0x508, 0x2FF: 0x800, 0x200: SCREEN | 1, 0x201: 0xFFF000800}
KERNELS = [
    MachineSpec(name=name, arch=arch, kernel=kernel, cpu=Cpu(phys_bits=36), msrs=WRITE_COMBINING)
    for name, arch, kernel in (
        ("pc", "amd64", "linux-6.18"),
        ("bsd", "amd64", "netbsd-7"),
        ("open", "openbsd-amd64", None),
    )
]


def test_firmware_that_rewrites_a_register_is_blamed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([MTRR], arches=ARCHES, log=log)
        hub.begin()
        first = hub.machines["mtrr"].require_table().types.at(0x100000)
        register = hub.machines["mtrr"].require_table().state.msrs[DEF_TYPE]
        other = register & ~0xFF | (0x00 if first != "UC" else 0x06)
        rewrite = {DEF_TYPE: other}
        hub.hardware.add(Sickness(action="firmware_rewrite", registers=rewrite, name="smm"))
        now = hub.machines["mtrr"].require_table().types.at(0x100000)
        hub.hardware.reinit()
        hub.end()

    assert now != first
    answer, steps = _at_end(path)
    assert ("hardware.sicken", (first, now), {}) in steps
    print_blame(answer)
    assert f"hardware sicken smm: {first} -> {now}" in capsys.readouterr().out
    assert answer.facts()["steps"][1]["sickness"] == ["smm"]


def test_a_cpu_out_of_step_is_blamed_with_its_own_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub([MTRR], arches=ARCHES, log=log)
        hub.begin()
        table = hub.machines["mtrr"].require_table()
        first, register = table.types.at(0x100000), table.state.msrs[DEF_TYPE]
        strange = {DEF_TYPE: register & ~0xFF | (0x00 if first != "UC" else 0x06)}
        late = Sickness(action="cpu_out_of_step", cpu=1, registers=strange, name="late")
        hub.hardware.add(late)
        sick = log.seq
        hub.hardware.reinit()
        hub.end()

    (answer,) = blame(Travel(path, ARCHES), 0x100000, at=sick)
    (cpu, type_) = next(iter(answer.cpus.items()))
    assert (answer.type, cpu) == (first, 1)
    assert type_ != first
    assert answer.steps[-1].cpus == {1: (first, type_)}
    print_blame(answer)
    out = capsys.readouterr().out
    assert f"CPU 1 is out of step, and has {type_}" in out
    assert "hardware sicken late" in out
    assert f"CPU 1: {first} -> {type_}" in out
    healed, steps = _at_end(path)
    assert healed.cpus == {}
    assert ("hardware.reinit", (first, first), {1: (type_, first)}) in steps


@pytest.mark.parametrize("machine", ["pc", "bsd", "open"])
def test_a_restore_is_blamed_for_what_becomes_of_other_cpus(tmp_path: Path, machine: str) -> None:
    """What CPUs hold follows the record of a restore, and is told as part of it."""
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        hub = Hub(KERNELS, log=log)
        hub.begin()
        well = hub.snapshot()
        lost = Sickness(machine=machine, action="firmware_rewrite", registers={0x201: 0}, cpu=1)
        hub.hardware.add(lost)
        sick = hub.snapshot()
        hub.restore(well)
        hub.restore(sick)
        last = log.seq
        hub.end()

    (answer,) = blame(Travel(path), SCREEN, at=last, machine=machine)
    steps = [(it.record["event"], it.types, dict(it.cpus)) for it in answer.steps]
    assert steps[-2:] == [
        ("device.restore", ("WC", "WC"), {1: ("UC", "WC")}),
        ("device.restore", ("WC", "WC"), {1: ("WC", "UC")}),
    ]
    assert (answer.type, answer.cpus) == ("WC", {1: "UC"})


def test_what_another_kernel_refused_is_among_the_steps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """NetBSD sets one range after the other, and what it did before an error stays."""
    path, gone = tmp_path / "a.jsonl", [SCREEN, 1 << 24, 1, 0, 0]
    with AuditLog.open(path) as log:
        hub = Hub(KERNELS, log=log)
        hub.begin()
        for entries in ([[SCREEN, 1 << 25, 1, 4, 0]], [gone, [1, 1, 1, 4, 0]]):
            with pytest.raises(DeviceError):
                hub.kernels.call("kernel_set", machine="bsd", entries=entries)

        with pytest.raises(DeviceError):
            hub.kernels.call("add", machine="pc", base=SCREEN, size=1 << 24, type=6)

        last = log.seq
        hub.end()

    (answer,) = blame(Travel(path), SCREEN, at=last, machine="bsd")
    steps = [(it.record["errno"], it.types) for it in answer.steps if it.record.get("errno")]
    assert steps == [("EBUSY", (None, None)), ("EINVAL", ("WC", "UC"))]
    assert answer.type == "UC"
    print_blame(answer)
    assert "WC -> UC" in capsys.readouterr().out
    (answer,) = blame(Travel(path), SCREEN, at=last, machine="pc")
    assert answer.steps[-1].record["errno"] == "EINVAL"
    assert answer.type == "WC"


def _at_end(path: Path) -> tuple[Blame, list[tuple[str, object, dict[int, object]]]]:
    """Before the machine is taken away."""
    from memhub.audit import read_records

    last = max(it["seq"] for it in read_records(path) if it["event"].startswith("hardware."))
    (answer,) = blame(Travel(path, ARCHES), 0x100000, at=last)

    return answer, [(it.record["event"], it.types, dict(it.cpus)) for it in answer.steps]
