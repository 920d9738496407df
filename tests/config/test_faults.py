"""The fault rules of a configuration file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from machines import one_machine
from memhub import AuditLog, FaultRule, Hub, Sickness
from memhub.audit import read_records
from memhub.config import ConfigError, load_config
from memhub.errors import InvalidArgument

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.config import HubConfig


def load(folder: Path, faults: str) -> HubConfig:
    path = folder / "lab.toml"
    path.write_text(one_machine("") + faults)

    return load_config(path)


def test_a_file_has_rules_of_every_kind(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        [[faults]]
        action = "errno"
        name = "full"
        machine = "pc"
        op = ["set", "claim"]
        base = "0xd0000000"
        length = "32M"
        process = "Xorg"
        errno = "ENOSPC"
        times = 2

        [[faults]]
        action = "delay"
        delay = 0.5
        probability = 0.25
        seed = 7

        [[faults]]
        action = "short"
        moved = 16
        nth = 3
        """,
    ).faults

    assert found == (
        FaultRule(
            "errno",
            name="full",
            machine="pc",
            op={"set", "claim"},
            base=0xD0000000,
            length=32 << 20,
            process="Xorg",
            errno="ENOSPC",
            times=2,
        ),
        FaultRule("delay", delay=0.5, probability=0.25, seed=7),
        FaultRule("short", moved=16, nth=3),
    )


@pytest.mark.parametrize(
    ("rule", "key", "reason"),
    [
        ('name = "x"', "faults[0].action", "is missing"),
        ('action = "erno"', "faults[0].action", "did you mean 'errno'?"),
        ('action = "errno"\nop = ["sett"]', "faults[0].op[0]", "did you mean 'set'?"),
        ('action = "errno"\nerrno = "ENOTHING"', "faults[0]", "'ENOTHING' is none of EPERM"),
        ('action = "delay"', "faults[0]", "action delay needs delay"),
        ('action = "drop"\nmoved = 1', "faults[0]", "action short needs moved"),
        ('action = "hang"\nop = ["read"]', "faults[0]", "action hang is for set only"),
        ('action = "drop"\nbase = 1', "faults[0]", "base and length go together"),
        ('action = "drop"\nnth = 0', "faults[0].nth", "0 is not between 1"),
        ('action = "drop"\nprobability = 2', "faults[0]", "probability 2.0 is not above 0"),
        ('action = "drop"\nmachine = "no"', "faults[0].machine", "'no' is not a machine"),
        ('action = "drop"\nproces = "x"', "faults[0].proces", "did you mean 'process'?"),
    ],
)
def test_a_wrong_rule_is_refused_by_its_key(
    tmp_path: Path, rule: str, key: str, reason: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        load(tmp_path, f"[[faults]]\n{rule}\n")

    assert [it.key for it in refused.value.problems] == [key]
    assert reason in str(refused.value)


def test_two_rules_do_not_have_one_name(tmp_path: Path) -> None:
    rule = '[[faults]]\naction = "drop"\nname = "a"\n'
    with pytest.raises(ConfigError, match="'a' is the name of an earlier rule"):
        load(tmp_path, rule * 2)


def test_a_file_has_sicknesses_of_every_kind(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """
        [[faults]]
        action = "cpu_out_of_step"
        machine = "pc"
        cpu = 1
        misses_stores = true
        registers = { 0x200 = "0x40000001", "0x201" = 0 }
        [[faults]]
        action = "lost_store"
        slot = 3
        cpu = 0
        times = 2
        [[faults]]
        action = "mask_holes"
        slot = 1
        holes = "0x10000000"
        [[faults]]
        action = "forgetful_resume"
        reinit = true
        [[faults]]
        action = "drop"
        """,
    ).faults

    assert found == (
        Sickness(
            action="cpu_out_of_step",
            machine="pc",
            cpu=1,
            misses_stores=True,
            registers={0x200: 0x40000001, 0x201: 0},
        ),
        Sickness(action="lost_store", slot=3, cpu=0, times=2),
        Sickness(action="mask_holes", slot=1, holes=1 << 28),
        Sickness(action="forgetful_resume", reinit=True),
        FaultRule("drop"),
    )


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ('action = "stuck_slot"', "faults[0]: action stuck_slot needs slot"),
        ('action = "stuck_slot"\nslot = "x"', "faults[0].slot: "),
        ('action = "stuck_slot"\nslot = 1\nop = ["set"]', "faults[0].op: is not a key"),
        ('action = "stuck_slot"\nslot = 1\nmachine = "x"', "faults[0].machine: 'x' is not a"),
        ('action = "firmware_rewrite"\nregisters = { a = 1 }', "faults[0].registers.a: "),
    ],
)
def test_a_wrong_sickness_is_named(tmp_path: Path, row: str, reason: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        load(tmp_path, f"[[faults]]\n{row}\n")

    assert reason in str(refusal.value)


async def test_a_hub_begins_with_its_sicknesses_behind_the_start_of_its_machines(
    tmp_path: Path,
) -> None:
    found = load(tmp_path, '[[faults]]\naction = "stuck_slot"\nslot = 1\n')
    with AuditLog.open(tmp_path / "a.jsonl") as log:
        async with Hub(found.machines.values(), faults=found.faults, log=log) as hub:
            assert [it.sickness.name for it in hub.hardware] == ["pc-sick-1"]

    events = [record["event"] for record in read_records(tmp_path / "a.jsonl")]
    assert events[1:3] == ["device.attach", "hardware.sicken"]


def test_a_sickness_that_its_machine_cannot_have_is_refused_before_anything_begins(
    tmp_path: Path,
) -> None:
    found = load(tmp_path, '[[faults]]\naction = "stuck_slot"\nslot = 999\n')
    with pytest.raises(InvalidArgument, match="none of number 999"):
        Hub(found.machines.values(), faults=found.faults)
