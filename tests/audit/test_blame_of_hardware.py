"""What becomes of the hardware changes types, and so is among the reasons of a type."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub import AuditLog, Hub, Sickness
from memhub.audit.blame import Blame, blame
from memhub.audit.travel import Travel
from memhub.cli.travel_view import print_blame
from shell.kit import ARCHES, MTRR

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

DEF_TYPE = 0x2FF


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


def _at_end(path: Path) -> tuple[Blame, list[tuple[str, object, dict[int, object]]]]:
    """Before the machine is taken away."""
    from memhub.audit import read_records

    last = max(it["seq"] for it in read_records(path) if it["event"].startswith("hardware."))
    (answer,) = blame(Travel(path, ARCHES), 0x100000, at=last)

    return answer, [(it.record["event"], it.types, dict(it.cpus)) for it in answer.steps]
