"""The recorded machines, and how a test makes, loads and shows one."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.arches import load_arches
from memhub.config import Imported, import_dump, load_config

if TYPE_CHECKING:
    from memhub.abi import RangeDesc
    from memhub.core.spec import MachineSpec

ARCHES = load_arches()
DATA = Path(__file__).parent / "data"
MACHINES: list[dict[str, Any]] = [
    json.loads(line) for line in (DATA / "machines.open.jsonl").read_text().splitlines()
]
DMESG = [machine for machine in MACHINES if machine["format"] == "dmesg"]


def imported(machine: dict[str, Any]) -> Imported:
    """A recorded machine, imported with the address width that is recorded for it."""
    return import_dump(machine["text"], phys_bits=machine["phys_bits"])


def table_of(spec: MachineSpec) -> list[RangeDesc]:
    """What FreeBSD's driver shows once it has attached to the machine."""
    driver = ARCHES["amd64-mtrr"].driver
    assert driver is not None

    return list(driver(spec.cpu, {}).attach(spec.msrs).slots)


def rows(table: list[RangeDesc]) -> list[list[Any]]:
    """A table in the form in which it is recorded."""
    return [[desc.mr_base, desc.mr_len, desc.mr_flags, desc.owner] for desc in table]


def loaded(toml: str, name: str = "imported") -> MachineSpec:
    """The machine of a configuration file's text."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "machine.toml"
        path.write_text(toml, encoding="utf-8")

        return load_config(path).machines[name]


def one_machine(toml: str, *, arch: str = "amd64-mtrr") -> str:
    """A file with one machine `pc`, whose further keys are `toml`."""
    return f'[machines.pc]\narch = "{arch}"\n{toml}\n'
