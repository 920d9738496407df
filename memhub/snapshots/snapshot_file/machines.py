"""One machine of a snapshot as JSON, both ways."""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.audit.rows import holdings_in
from memhub.audit.rows.columns import descs_of
from memhub.audit.rows.description import describe_spec, spec_of
from memhub.audit.rows.files import table_columns
from memhub.audit.rows.held import part_row
from memhub.audit.schema import problems
from memhub.core.deciding.restoring import check_health
from memhub.core.drivers.driver import RangeState
from memhub.core.holdings import give_holdings, holdings_of
from memhub.core.instant import Instant
from memhub.core.machine import Machine
from memhub.core.memory.device_states import DeviceState
from memhub.core.memory.pages import memory_size
from memhub.core.ranges.range_table import TableState
from memhub.core.restored import HeldPart
from memhub.core.snapshots import MachineSnapshot
from memhub.core.spec_rules import checked_spec
from memhub.images.packed import pack_contents, unpack_contents
from memhub.snapshots.snapshot_file.caches import caches_in, describe_caches
from memhub.snapshots.snapshot_file.pages import places_in
from memhub.snapshots.snapshot_file.shapes import check_config, check_same

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.core.health.health import Health
    from memhub.core.spec import MachineSpec
    from memhub.snapshots.snapshot_file.pages import PackedPages

_HASH: Final = "0" * 64

#: The moment from which times count.
_START: Final = Instant(0, 0)


def describe_machine(it: MachineSnapshot) -> dict[str, Any]:
    """A machine without its name and its pages, as JSON."""
    spec, table = it.spec, it.table
    state = None if table is None else table.state

    return {
        "arch": spec.arch,
        "config": describe_spec(spec),
        "firmware": [[number, value] for number, value in spec.msrs.items()],
        "contents": [
            [n, b64encode(region.data).decode()]
            for n, region in enumerate(spec.memory)
            if region.data
        ],
        **({"images": b64encode(pack_contents(spec.contents)).decode()} if spec.contents else {}),
        "table": {
            **table_columns(spec.name, spec.arch, spec.cpu.phys_bits, state),
            "generation": 0 if table is None else table.generation,
        },
        "held": [
            part_row(HeldPart(spec.name, spec.arch, _START, part, items))
            for part, items in (
                ("files", it.files),
                ("claims", it.claims),
                ("losses", it.losses),
                ("notes", tuple(it.notes.before.items())),
                ("failed", () if it.failed is None else (it.failed,)),
                ("health", () if it.health is None else (it.health,)),
                ("kernel", () if it.kernel is None else (it.kernel,)),
            )
        ],
        "uareas": [[who, b64encode(held).decode()] for who, held in it.uareas.items()],
        "devices": [
            [base, length, None if data is None else b64encode(data).decode()]
            for base, length, data in it.devices
        ],
        **({} if it.caches is None else {"caches": describe_caches(it.caches)}),
    }


def machine_in(it: Mapping[str, Any], arch: Arch, pages: PackedPages) -> MachineSnapshot:
    """The opposite, with the pages.

    Args:
        it: what a file has, whose types are checked.
        arch: its architecture.
        pages: the pages that are left of the file.

    Raises:
        ValueError: it is not what `describe_machine` makes of any machine; the place is named.
        KeyError: a member is missing.
        DeviceError: the machine's driver cannot make sense of it.
    """
    spec = checked_spec(_spec_in(it), arch)
    machine = Machine.make(spec, arch)
    table = _table_of(machine, it["table"])
    _hold(machine, it["held"])
    held = holdings_of(machine)
    if held.health is not None:
        check_health(machine, held.health)
        _check_sick(held.health, spec.name)

    places = list(places_in(it["pages"], memory_size(machine.memory.extents)))
    found = MachineSnapshot(
        spec,
        table,
        pages.take(places),
        held.files,
        held.claims,
        held.losses,
        machine.notes,
        held.failed,
        held.health,
        {who: _bytes_of("uareas", data) for who, data in it["uareas"]},
        tuple(_device_in(*row) for row in it["devices"]),
        held.kernel,
        None if spec.coherent else caches_in(it["caches"], spec.caches),
    )
    told = {name: value for name, value in it.items() if name not in ("name", "pages")}
    check_same(told, describe_machine(found))

    return found


def _spec_in(it: Mapping[str, Any]) -> MachineSpec:
    config = _json_in("config", it["config"])
    check_config(config)
    try:
        spec = spec_of(it["name"], it["arch"], it["config"], dict(it["firmware"]))
    except (TypeError, AttributeError) as error:
        raise ValueError(f"config: {error}") from error

    memory = list(spec.memory)
    for number, data in it["contents"]:
        if number >= len(memory):
            raise ValueError(f"contents: {number} is not the number of a region")

        memory[number] = replace(memory[number], data=_bytes_of("contents", data))

    contents = unpack_contents(_bytes_of("images", it["images"])) if "images" in it else ()

    return replace(spec, memory=tuple(memory), contents=contents)


def _table_of(machine: Machine, row: Mapping[str, Any]) -> TableState | None:
    """The table of a machine; None where it has no ranges."""
    if machine.table is None:
        return None

    _check_record("table", {**row, "event": "device.attach", "wall_ns": 0, "mono_ns": 0})
    msrs = dict(zip(row["msrs"], row["after_msr"], strict=True))
    state = RangeState(descs_of("after", row), msrs)
    if len(state.slots) != len(machine.table):
        raise ValueError(f"table: {len(state.slots)} slots, where {len(machine.table)} are due")

    machine.table.driver.types(state)  # or its driver cannot make sense of it

    return TableState(state, row["generation"])


def _hold(machine: Machine, rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        where = f"held[{number}]"
        _check_record(where, {**row, "event": "held.part"})
        if _json_in(f"{where}.held", row["held"]):
            give_holdings(machine, holdings_in(row, machine))


def _check_sick(health: Health, name: str) -> None:
    for it in health.sicknesses:
        if it.sickness.machine not in (None, name):
            raise ValueError(f"the sickness {it.sickness.name!r} is of {it.sickness.machine!r}")


def _check_record(where: str, row: dict[str, Any]) -> None:
    """Refuse a row that a log could not have."""
    found = problems({**row, "v": 1, "seq": 1, "prev": _HASH, "hash": _HASH})
    if found:
        raise ValueError(f"{where}: {found[0]}")


def _json_in(where: str, text: str) -> Any:  # noqa: ANN401 - JSON
    """A text as JSON; also an integer that needs more than 64 bits is one."""
    try:
        orjson.loads(text)  # refuses what is too deep

        return json.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"{where} is not JSON: {error}") from error


def _bytes_of(where: str, text: str) -> bytes:
    try:
        return b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"{where}: {text!r:.80} is not base64") from error


def _device_in(base: int, length: int, data: str | None) -> DeviceState:
    return DeviceState(base, length, None if data is None else _bytes_of("devices", data))
