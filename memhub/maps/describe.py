"""The address map of a machine, piece by piece."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Generic, NamedTuple, TypeVar

from memhub.arches import load_arches
from memhub.core.effective.typemap import MARK, TYPE_OF_CODE
from memhub.core.machine import Machine
from memhub.core.neighbours import join_neighbours
from memhub.errors import DeviceError
from memhub.maps.address_map import AddressMap, MapSlot, Piece
from memhub.maps.map_slots import active_slots, merge_slots, register_slot

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from memhub.core.drivers.driver import Arch
    from memhub.core.effective.typemap import TypeMap
    from memhub.core.spec import MachineSpec, Region
    from memhub.maps.address_map import PieceKind

    Extent = tuple[int, int]

T = TypeVar("T")

#: Stretches of types between two borders of ranges that are told apart. One mask with holes can
#: make a hundred million.
_STRETCHES: Final = 64

_UNKNOWN: Final = "types and slots are not known"

#: Characters of the name of a device.
_NAME_MAX: Final = 40


class _Ground(NamedTuple):
    """What a description is made of: immutable parts of a machine as it was."""

    end: int
    types: TypeMap | None
    slot_count: int
    slots: tuple[MapSlot, ...]
    regions: Sequence[Region]
    devices: Sequence[tuple[int, int, str]]
    held: Sequence[tuple[int, int, str]]
    notes: tuple[str, ...]


def describe_map(machine: Machine, notes: Iterable[str] = ()) -> AddressMap:
    """The address map of a machine as it is.

    Args:
        machine: the machine. Of one whose driver fails no types and slots are shown, and a note
            says so.
        notes: what is not known of it.
    """
    ground = _ground_of(machine)

    return AddressMap(
        machine.name,
        machine.arch.name,
        ground.end,
        ground.slot_count,
        tuple(_pieces(ground)),
        tuple(merge_slots(ground.slots)),
        (*notes, *ground.notes),
        "" if machine.served is None else machine.spec.kernel_name,
    )


def map_at_start(spec: MachineSpec, arches: Mapping[str, Arch] | None = None) -> AddressMap:
    """The address map of a machine as its firmware leaves it.

    Args:
        spec: the machine's description.
        arches: architectures by name; None loads those that are installed.

    Raises:
        ArchNotInstalled: no plugin provides its architecture.
        ValueError: a device, or the memory map, contradicts itself.
        OptionError: an option of the architecture is wrong.
    """
    found = load_arches() if arches is None else arches
    if spec.devices:
        from memhub.engine.startup import make_machine  # loads the event loops

        machine = make_machine(spec, found[spec.arch])
    else:
        machine = Machine.make(spec, found[spec.arch])

    try:
        return describe_map(machine)
    finally:
        machine.close()


def view_map(machine: Machine) -> dict[str, Any]:
    """The same as `AddressMap.facts`, for a report.

    Returns:
        the members beside those that a report has of every machine, with a `map` in place of each
        list: its rows are of what there was when this was called.
    """
    ground = _ground_of(machine)

    return {
        "end": ground.end,
        "pieces": map(Piece.facts, _pieces(ground)),
        "ranges": map(MapSlot.facts, merge_slots(ground.slots)),
        "notes": list(ground.notes),
    }


def _ground_of(machine: Machine) -> _Ground:
    held = list(_holders(machine))
    registers = None if machine.served is None else machine.served.ranges()
    count = 0 if machine.table is None else len(machine.table)
    types: TypeMap | None = None
    slots: tuple[MapSlot, ...] = ()
    notes: tuple[str, ...] = ()
    try:
        if machine.failed is not None:  # its driver is not asked any more
            notes = (f"{_UNKNOWN}: {machine.failed.reason}",)
        elif machine.table is not None:
            types, slots = machine.table.types, tuple(active_slots(machine, held))
    except DeviceError as error:
        types, notes = None, (f"{_UNKNOWN}: {error.reason}",)

    if machine.served is not None and (dead := machine.served.why_dead()):
        notes = (*notes, dead)

    if registers is not None:
        held = [(base, end, who, None) for base, end, who, _ in held]
        count, slots = registers.total, tuple(map(register_slot, registers.used))

    devices, untold = _devices_of(machine)

    return _Ground(
        machine.memory.top,
        types,
        count,
        slots,
        machine.spec.memory,
        devices,
        [(base, end, who) for base, end, who, slot in held if slot is None],
        (*notes, *untold),
    )


def _devices_of(machine: Machine) -> tuple[list[tuple[int, int, str]], tuple[str, ...]]:
    """The bounds and the name of each device, and what is not known of them.

    A machine that a log's records make again has no models; where its devices are is told by their
    kinds.
    """
    placed, notes = machine.devices, ()
    if machine.spec.devices and not placed:
        from memhub.device_kinds import place_devices

        try:
            _, placed = place_devices(machine.spec)
        except ValueError as error:
            return [], (f"devices are not shown: {error}",)

    mapped = [it for it in machine.memory.windows if it.placed is None]

    return [
        *((it.base, it.end, it.name) for it in placed),
        *((it.base, it.end, _device_name(it.device)) for it in mapped),
    ], notes


def _holders(machine: Machine) -> Iterator[tuple[int, int, str, int | None]]:
    """Each stretch or slot that a process holds: bounds, who, and the slot."""
    for claim in machine.claims.claims.values():
        if claim.kind == "range" or not claim.slots:
            yield claim.base, claim.end, claim.process.name, None

        for slot, (base, end) in claim.slots.items():
            yield base, end, claim.process.name, slot

    for commit in machine.commits:
        desc, who = commit.request.desc, commit.caller.process.name
        yield desc.mr_base, desc.mr_end, who, None
        for slot in commit.wrote:
            yield desc.mr_base, desc.mr_end, who, slot


# Pieces


def _pieces(ground: _Ground) -> Iterator[Piece]:
    """All pieces in order; neighbours that are alike are one."""
    fixed = {it.first: (it.owner, it.type) for it in ground.slots if it.fixed}

    def join(last: Piece, piece: Piece) -> Piece | None:
        if _look(last, fixed) != _look(piece, fixed):
            return None

        return last._replace(end=piece.end, slots=tuple(sorted({*last.slots, *piece.slots})))

    return join_neighbours(_cut_pieces(ground), join)


def _look(piece: Piece, fixed: dict[int, tuple[str, str]]) -> tuple[object, ...]:
    """What a picture tells of a piece; fixed ranges that are alike are not told apart."""
    slots = dict.fromkeys(fixed.get(slot, slot) for slot in piece.slots)

    return (
        piece.types, piece.implementation_defined, piece.kind, piece.device, tuple(slots),
        piece.busy,
    )  # fmt: skip


def _cut_pieces(ground: _Ground) -> Iterator[Piece]:
    """Pieces between all borders of ranges, of the memory map, of devices and of claims."""
    layers = (
        _Sweep((it.base, it.end, it) for it in ground.slots),
        _Sweep((it.base, it.base + it.length, it) for it in ground.regions),
        _Sweep(ground.devices),
        _Sweep(ground.held),
    )
    slots, regions, devices, held = layers
    borders = {0, ground.end, *(it for layer in layers for it in layer.borders)}
    ordered = sorted(it for it in borders if it <= ground.end)
    beside: PieceKind = "hole" if ground.regions else "untold"
    for base, end in pairwise(ordered):
        covering = slots.at(base)
        region, device = regions.at(base), devices.at(base)
        busy = [who for it in covering for who in it.busy]
        whole = Piece(
            base,
            end,
            kind="device" if device else region[0].kind if region else beside,
            device=device[0] if device else "",
            slots=tuple(it.first for it in covering),
            busy=tuple(dict.fromkeys((*busy, *held.at(base)))),
        )
        yield from [whole] if ground.types is None else _typed(whole, ground.types)


def _typed(whole: Piece, types: TypeMap) -> Iterator[Piece]:
    """A piece cut where the type changes; whole, with all its types, where that is too often."""
    found: list[Piece] = []
    at = whole.base
    for _ in range(_STRETCHES):
        code, border = types.stretch(at)
        border = min(border, whole.end)
        found.append(
            whole._replace( base=at, end=border, type=TYPE_OF_CODE[code & ~MARK],
                implementation_defined=bool(code & MARK),
            )
        )  # fmt: skip
        at = border
        if at >= whole.end:
            yield from found
            return

    names = [it.type for it in found if it.type is not None]
    ranked = sorted(dict.fromkeys(names), key=lambda it: -names.count(it))
    marked = any(it.implementation_defined for it in found)
    yield whole._replace(type=ranked[0], also=tuple(ranked[1:]), implementation_defined=marked)


class _Sweep(Generic[T]):
    """Stretches that may overlap, asked for from low to high addresses.

    Args:
        rows: bounds and value of each; empty ones are left out.

    Attributes:
        borders: where one begins or ends.
    """

    def __init__(self, rows: Iterable[tuple[int, int, T]]) -> None:
        kept = [it for it in rows if it[0] < it[1]]
        self.borders = {edge for it in kept for edge in it[:2]}
        self._coming = sorted(enumerate(kept), key=lambda it: -it[1][0])
        self._live: list[tuple[int, tuple[int, int, T]]] = []

    def at(self, address: int) -> list[T]:
        """The values of the stretches that hold an address, in the order of the rows."""
        self._live = [it for it in self._live if it[1][1] > address]
        while self._coming and self._coming[-1][1][0] <= address:
            row = self._coming.pop()
            if row[1][1] > address:
                self._live.append(row)

        return [it[1][2] for it in sorted(self._live, key=lambda it: it[0])]


def _device_name(device: object) -> str:
    """What a device model calls itself, or the name of its class."""
    name = getattr(device, "name", None)

    return (name if isinstance(name, str) and name else type(device).__name__)[:_NAME_MAX]
