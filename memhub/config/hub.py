"""The whole file: machines, the default one, the audit log, the service."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memhub.config.audit import AuditConfig as AuditConfig
from memhub.config.audit import read_audit
from memhub.config.errors import ConfigError, Problem
from memhub.config.faults import read_faults
from memhub.config.machine import read_machine
from memhub.config.reader import Problems, Table
from memhub.config.service import ServiceConfig, read_service
from memhub.config.values import suggest, text
from memhub.core.spec_rules import machine_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.core.faults.fault_rules import FaultRule
    from memhub.core.health.sickness import Sickness
    from memhub.core.spec import MachineSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class HubConfig:
    """A configuration file, checked.

    Attributes:
        path: the file.
        machines: the machines by name, in the file's order.
        default: the machine that a device name without one means: the only machine, or the one that
            the file names, or None.
        audit: the audit log, or None for no log.
        service: how the service runs.
        faults: the fault rules and sicknesses that the hub begins with.
        oddities: what imported dumps hold that is faulty or had to be assumed, by machine.
    """

    path: Path
    machines: Mapping[str, MachineSpec]
    default: str | None = None
    audit: AuditConfig | None = None
    service: ServiceConfig = field(default_factory=ServiceConfig)
    faults: tuple[FaultRule | Sickness, ...] = ()
    oddities: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load_config(path: Path | str, *, arches: Mapping[str, Arch] | None = None) -> HubConfig:
    """Read and check a configuration file.

    Args:
        path: the TOML file; data files that it names are relative to it.
        arches: the installed architectures (`load_arches()`); with them, architecture names
            and their options are checked too.

    Returns:
        the configuration.

    Raises:
        ConfigError: the file cannot be read or holds mistakes; all of them are named.
    """
    path = Path(path)
    problems = Problems(path.parent)
    config = _read_tables(path, Table(_parse_toml(path), "", problems), arches)
    if problems.found:
        raise ConfigError(path, problems.found)

    return config


def _parse_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode())
    except OSError as error:
        raise ConfigError(path, [Problem("", f"cannot be read: {error.strerror}")]) from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, [Problem("", f"is not UTF-8: {error.reason}")]) from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(path, [Problem("", f"is not TOML: {error}")]) from error


def _read_tables(path: Path, table: Table, arches: Mapping[str, Arch] | None) -> HubConfig:
    machines, oddities = _read_machines(table, arches)
    audit, service = table.table("audit"), table.table("service")
    config = HubConfig(
        path=path,
        machines=machines,
        default=_read_default(table, machines),
        audit=None if audit is None else read_audit(audit),
        service=ServiceConfig() if service is None else read_service(service, machines),
        faults=read_faults(table, machines),
        oddities=oddities,
    )
    table.finish()

    return config


def _read_machines(
    table: Table, arches: Mapping[str, Arch] | None
) -> tuple[dict[str, MachineSpec], dict[str, tuple[str, ...]]]:
    machines: dict[str, MachineSpec] = {}
    oddities: dict[str, tuple[str, ...]] = {}
    rows = table.table("machines")
    if rows is None or not list(rows):
        table.wrong("machines", "is missing: a hub has at least one machine")
        return machines, oddities

    folded: dict[str, str] = {}
    for name in rows:
        _check_name(rows, name, folded)
        row = rows.table(name)
        if row is not None:
            machines[name], found = read_machine(row, name, arches)
            if found:
                oddities[name] = found

    return machines, oddities


def _check_name(rows: Table, name: str, folded: dict[str, str]) -> None:
    try:
        machine_name(name, folded)
    except ValueError as error:
        rows.wrong(name, str(error))


def _read_default(table: Table, machines: Mapping[str, MachineSpec]) -> str | None:
    default = table.take("default", text, None)
    if default is None:
        return next(iter(machines)) if len(machines) == 1 else None

    if default not in machines:
        known = ", ".join(machines) or "none"
        hint = suggest(default, machines)
        table.wrong("default", f"{default!r} is not a machine of this file ({known}){hint}")

    return default
