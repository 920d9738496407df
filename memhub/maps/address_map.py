"""A machine's physical address space as pieces, each alike in all that a picture shows of it."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Self

from memhub.maps.signs import SIGNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

_RANKS: Final = {name: rank for rank, name in enumerate(SIGNS)}

#: What lies behind addresses. A `hole` is not in the memory map; `untold` is where there is none.
PieceKind = Literal["ram", "rom", "reserved", "acpi", "nvs", "unusable", "device", "hole", "untold"]


class Piece(NamedTuple):
    """A stretch of addresses that are alike.

    Attributes:
        base: first byte.
        end: one past the last byte.
        type: the effective type; None where the machine has none.
        also: further types, where so many stretches alternate that they are not told apart.
        implementation_defined: whether the manual leaves the type to the implementation.
        kind: what lies there.
        device: the device that answers, where one does.
        slots: the slots that cover it, in order.
        busy: who holds it: processes with a claim, or with a commit on its way.
    """

    base: int
    end: int
    type: str | None = None
    also: tuple[str, ...] = ()
    implementation_defined: bool = False
    kind: PieceKind = "untold"
    device: str = ""
    slots: tuple[int, ...] = ()
    busy: tuple[str, ...] = ()

    @property
    def length(self) -> int:
        """Bytes."""
        return self.end - self.base

    @property
    def types(self) -> tuple[str, ...]:
        """Every type that it has."""
        return () if self.type is None else (self.type, *self.also)

    def facts(self) -> dict[str, Any]:
        """The piece as JSON."""
        return {
            "base": self.base,
            "length": self.length,
            "type": self.type,
            "also": list(self.also),
            "implementation_defined": self.implementation_defined,
            "kind": self.kind,
            "device": self.device,
            "slots": list(self.slots),
            "busy": list(self.busy),
        }

    @classmethod
    def of_facts(cls, row: Mapping[str, Any]) -> Self:
        """The piece of a row that `facts` has made."""
        return cls(
            row["base"],
            row["base"] + row["length"],
            row["type"],
            tuple(row["also"]),
            row["implementation_defined"],
            row["kind"],
            row["device"],
            tuple(row["slots"]),
            tuple(row["busy"]),
        )


class MapSlot(NamedTuple):
    """One slot that decides types, or a run of fixed ones that are alike.

    Attributes:
        first: the slot's number.
        last: the last number of a run; `first` where it is one slot.
        base: first byte.
        end: one past the last byte.
        type: the type that it asks for, shortened; `other` where its attribute has none.
        owner: its label.
        fixed: whether its range cannot be moved.
        busy: who holds it.
    """

    first: int
    last: int
    base: int
    end: int
    type: str
    owner: str = ""
    fixed: bool = False
    busy: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """Its number, or those of the run."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def facts(self) -> dict[str, Any]:
        """The slot as JSON."""
        return {
            "slot": self.first,
            "last": self.last,
            "base": self.base,
            "length": self.end - self.base,
            "type": self.type,
            "owner": self.owner,
            "fixed": self.fixed,
            "busy": list(self.busy),
        }

    @classmethod
    def of_facts(cls, row: Mapping[str, Any]) -> Self:
        """The slot of a row that `facts` has made."""
        return cls(
            row["slot"],
            row["last"],
            row["base"],
            row["base"] + row["length"],
            row["type"],
            row["owner"],
            row["fixed"],
            tuple(row["busy"]),
        )


class AddressMap(NamedTuple):
    """The physical address space of one machine at one moment.

    Attributes:
        machine: its name.
        arch: its architecture.
        end: one past the last physical address, a power of two.
        slot_count: how many slots there are.
        pieces: all addresses, in order.
        slots: the slots that decide types, in order.
        notes: what is not known, in words.
        kernel: the name of another kernel than FreeBSD; empty for that.
    """

    machine: str
    arch: str
    end: int
    slot_count: int
    pieces: tuple[Piece, ...]
    slots: tuple[MapSlot, ...] = ()
    notes: tuple[str, ...] = ()
    kernel: str = ""

    def owners(self, piece: Piece) -> tuple[str, ...]:
        """The labels of the slots that cover a piece, each once."""
        labels = [it.owner for it in self.slots_of(piece) if it.owner]

        return tuple(dict.fromkeys(labels))

    def slots_of(self, piece: Piece) -> list[MapSlot]:
        """The slots that cover a piece."""
        wanted = set(piece.slots)

        return [it for it in self.slots if it.first in wanted or it.last in wanted]

    def facts(self) -> dict[str, Any]:
        """The description as JSON."""
        return {
            "machine": self.machine,
            "arch": self.arch,
            "end": self.end,
            "slots": self.slot_count,
            "pieces": [it.facts() for it in self.pieces],
            "ranges": [it.facts() for it in self.slots],
            "notes": list(self.notes),
            **({"kernel": self.kernel} if self.kernel else {}),
        }

    @classmethod
    def of_facts(cls, row: Mapping[str, Any]) -> Self:
        """The description that `facts` has made, as a service sends it."""
        return cls(
            row["machine"],
            row["arch"],
            row["end"],
            row["slots"],
            tuple(map(Piece.of_facts, row["pieces"])),
            tuple(map(MapSlot.of_facts, row["ranges"])),
            tuple(row["notes"]),
            row.get("kernel", ""),
        )


def reduce_pieces(pieces: Iterable[Piece], most: int) -> tuple[list[Piece], int]:
    """As many pieces as a picture has room for.

    Two neighbours become one piece with the types of both: first those that differ in nothing but
    their types, as where masks with holes make a ladder, then the smallest.

    Args:
        pieces: in order, without gaps.
        most: how many may stay, at least one.

    Returns:
        the pieces, and how many there were that are not drawn one by one.
    """
    kept = [(it, 1) for it in pieces]
    while len(kept) > most:
        costs = [_joining_cost(one, other) for (one, _), (other, _) in pairwise(kept)]
        ranked = sorted(range(len(costs)), key=costs.__getitem__)
        excess = len(kept) - most
        chosen: set[int] = set()
        for at in ranked[: max(1, excess // 4)]:
            if not {at - 1, at + 1} & chosen:
                chosen.add(at)

        kept = list(_join_chosen(kept, chosen))

    return [it for it, _ in kept], sum(parts for _, parts in kept if parts > 1)


def _joining_cost(one: Piece, other: Piece) -> tuple[bool, int]:
    alike = (one.slots, one.kind, one.device, one.busy) == (
        other.slots, other.kind, other.device, other.busy,
    )  # fmt: skip

    return not alike, one.length + other.length


def _join_chosen(kept: list[tuple[Piece, int]], chosen: set[int]) -> Iterator[tuple[Piece, int]]:
    for at, (piece, parts) in enumerate(kept):
        if at in chosen:
            other, more = kept[at + 1]
            yield join(piece, other), parts + more
        elif at - 1 not in chosen:
            yield piece, parts


def join(one: Piece, other: Piece) -> Piece:
    """Two neighbours as one piece: with the types, slots and holders of both."""
    large = max(one, other, key=lambda it: it.length)
    types = dict.fromkeys((*one.types, *other.types))
    ranked = sorted(types, key=lambda it: (it != large.type, _RANKS[it]))

    return Piece(
        one.base,
        other.end,
        ranked[0] if ranked else None,
        tuple(ranked[1:]),
        one.implementation_defined or other.implementation_defined,
        large.kind,
        large.device,
        tuple(sorted({*one.slots, *other.slots})),
        tuple(dict.fromkeys((*one.busy, *other.busy))),
    )
