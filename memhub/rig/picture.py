"""What a failing test shows of its machines: the table, the map of types, and the last records."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.history.rebuild import rebuild
from memhub.core.effective.strip import LETTERS, strip_cells
from memhub.core.ranges.slot_extents import used_slots
from memhub.escape import escape_controls, say_error
from memhub.rig.hazard_view import show_hazards
from memhub.shipping.sentence import extent, record_sentence, register_text, size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from memhub.core.caches.hazards import Hazard
    from memhub.core.drivers.driver import Arch
    from memhub.core.drivers.served_kernel import KernelRanges
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.machine import Machine
    from memhub.core.ranges.range_table import RangeTable
    from memhub.hub.hub import Hub
    from memhub.rig.log_view import LogView
    from memhub.rig.service_process import ServiceProcess

_CELLS: Final = 64
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30

#: Records, active ranges and claims that are shown at most.
_RECORDS: Final = 15
_RANGES: Final = 24
_CLAIMS: Final = 24

#: Columns of a picture.
_WIDTH: Final = 80


def draw_hub(hub: Hub) -> Iterator[str]:
    """Each machine of a hub: ranges, claims and waits, and the map of effective types."""
    for machine in hub.machines.values():
        yield from _draw_machine(machine, hub.hazards)


def draw_service(service: ServiceProcess, arches: Mapping[str, Arch]) -> Iterator[str]:
    """Each machine of a service, as its log tells it, and how the service ended."""
    if service.errors:
        yield "the service wrote on standard error:"
        yield from (f"  {escape_controls(line)}" for line in service.errors.splitlines()[-10:])

    if service.exit_code is not None:
        yield f"the service has ended with {service.exit_code}"

    hazards = service.read_hazards if service.exit_code is None else None
    for machine in rebuild(service.read_log(), arches).values():
        yield from _draw_machine(machine, hazards)


def draw_records(face: str, log: LogView) -> Iterator[str]:
    """The last records of the log of a `hub` or a `service`."""
    records = log.records
    yield f"the log of the {face}: the last {min(len(records), _RECORDS)} of {len(records)} records"
    for it in records[-_RECORDS:]:
        yield escape_controls(f"  #{it['seq']} {record_sentence(it)}")


def _draw_machine(
    machine: Machine, hazards: Callable[[str], Sequence[Hazard]] | None
) -> Iterator[str]:
    firmware = ", ordinary firmware" if machine.spec.firmware == "ordinary" else ""
    kernel = "" if machine.served is None else f", {machine.spec.kernel_name}"
    yield escape_controls(f"machine {machine.name}, {machine.arch.name}{kernel}{firmware}")
    if machine.caches is not None:
        yield f"  not coherent, {machine.spec.bus} bus; hazards:"
        shown = ["not known: the service has ended"]
        if hazards is not None:
            shown = show_hazards(hazards(machine.name))

        yield from (f"    {line}" for line in shown)

    table = machine.table
    slots = () if table is None else table.state.slots
    registers = None if machine.served is None else machine.served.ranges()
    if registers is not None:
        yield from _draw_registers(registers)
    elif table is not None and slots:
        holders = {slot: claim.process.name for slot, claim in machine.claims.by_slot.items()}
        yield from _draw_ranges(table, holders)
    else:
        yield "  no ranges"

    yield from _draw_claims(machine)
    yield from _draw_waits(machine)
    if table is not None and slots:
        yield from draw_map(table.types, _strip_ends(table))


def _draw_ranges(table: RangeTable, holders: Mapping[int, str]) -> Iterator[str]:
    slots, used = table.state.slots, used_slots(table)
    large = [(slot, slots[slot]) for slot in used if slots[slot].mr_end > _MIB]
    low = len(used) - len(large)
    yield f"  ranges in {len(slots)} slots" + (f", beside {low} below 1 MiB" if low else "")
    for slot, row in large[:_RANGES]:
        by = f" claimed by {holders[slot]}" if slot in holders else ""
        yield escape_controls(f"    {slot:>3} {row}{by}")

    if len(large) > _RANGES:
        yield f"    … and {len(large) - _RANGES} more"


def _draw_registers(registers: KernelRanges) -> Iterator[str]:
    """The ranges of another kernel than FreeBSD, by the numbers that it has for them."""
    large = [it for it in registers.used if not it.fixed]
    low = len(registers.used) - len(large)
    yield f"  ranges in {registers.total} registers" + (f", beside {low} fixed ones" if low else "")
    for it in large[:_RANGES]:
        yield escape_controls(f"    {it.register:>3} {register_text(it)}")

    if len(large) > _RANGES:
        yield f"    … and {len(large) - _RANGES} more"


def _draw_claims(machine: Machine) -> Iterator[str]:
    """Claims of addresses; those of slots alone stand at the ranges."""
    claims = [it for it in machine.claims.claims.values() if it.kind == "range" or not it.slots]
    if claims:
        yield "  claims of addresses"

    for claim in claims[:_CLAIMS]:
        where = extent(claim.base, claim.end - claim.base)
        lease = "" if claim.expires_ns is None else ", with a lease"
        yield escape_controls(f"    {where} of {claim.process.name}, fence {claim.fence}{lease}")

    if len(claims) > _CLAIMS:
        yield f"    … and {len(claims) - _CLAIMS} more"


def _draw_waits(machine: Machine) -> Iterator[str]:
    for commit in machine.commits.commits.values():
        desc, who = commit.request.desc, commit.caller.process.name
        where = extent(desc.mr_base, desc.mr_len)
        yield escape_controls(f"  commit in flight of {who} for {where}")

    for wait in machine.waits.waits.values():
        where = extent(wait.base, wait.end - wait.base)
        yield escape_controls(f"  {wait.caller.process.name} waits for {where}")


def _strip_ends(table: RangeTable) -> list[int]:
    """Where the strips end: 1 MiB where the low ranges are fixed, 4 GiB, and what lies above."""
    slots = table.state.slots
    ends = [_MIB] if any(0 < row.mr_len < _MIB and row.mr_base < _MIB for row in slots) else []
    ends.append(4 * _GIB)
    top = max((slots[it].mr_end for it in used_slots(table)), default=0)
    if top > 4 * _GIB:
        ends.append(1 << (top - 1).bit_length())

    return ends


def draw_map(types: TypeMap, ends: Sequence[int]) -> Iterator[str]:
    """Strips of effective types, each from address 0 to one of `ends`, and what letters mean."""
    yield "  effective types"
    for end in ends:
        strip = "".join(letter for letter, _ in strip_cells(types, end, _CELLS))
        yield f"    0 to {size(end):<5} {strip}"

    legend = ", ".join(f"{letter} {kind}" for kind, letter in LETTERS.items())
    yield f"    {legend}; lower case: a smaller part of the cell"


def picture_text(parts: Sequence[Iterator[str]]) -> str:
    """Parts of a picture as one text; a part that fails says so and spoils no other."""
    lines: list[str] = []
    for part in parts:
        try:
            for line in part:
                lines += _fold(line)
        except Exception as error:  # noqa: BLE001 - the test has failed, and its error matters
            lines += _fold(escape_controls(f"not shown: {say_error(error)}"))

    return "\n".join(lines)


def _fold(line: str) -> list[str]:
    """A line as several of 80 columns, the further ones indented by four more."""
    if len(line) <= _WIDTH:
        return [line]

    indent = " " * (len(line) - len(line.lstrip()) + 4)

    return wrap(line, _WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def seed_line(seed: Any) -> Iterator[str]:  # noqa: ANN401 - whatever the marker holds
    """The seed of a test, to repeat it."""
    yield f"seed {seed}"
