"""The other answers."""

# ruff: noqa: D102 - an override keeps the docstring of layout.Message
from __future__ import annotations

from struct import Struct

from memhub.service.wire.greeting import check_model
from memhub.service.wire.layout import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import ClassVar, Final

    from memhub.service.wire.layout import rest, text, u16, u32, u64

#: One row of MAPPED's table: physical base, length, offset in the file, kind, 0.
MAP_ROW: Final = Struct("<QQQII")

#: What lies in a row of MAPPED's table, by its kind number.
MAP_KINDS: Final = ("ram", "rom", "acpi", "nvs", "open", "device")

#: The file that answers MAP_ROM begins with so many bytes 0xff.
OPEN_BUS_SIZE: Final = 1 << 20


class Opened(Message):
    """A device is open.

    Attributes:
        handle: its number, valid on this connection only.
        model: the data model of its ioctls: 1 LP64, 2 ILP32.
        reserved: 0.
        arch: the architecture's name.
        machine: the machine's name.
    """

    TYPE: ClassVar[int] = 0x81

    handle: u32
    model: u16
    reserved: u16
    arch: text
    machine: text

    def check(self) -> None:
        check_model(self.NAME, self.model)
        if not self.model or self.reserved:
            raise ProtocolError(
                f"OPENED has model {self.model} and {self.reserved} in its reserved field"
            )


class Claimed(Message):
    """A range is claimed.

    Attributes:
        lease_ms: milliseconds from now until it must be renewed; 0 is never.
        fence: the claim's fencing number; it rises with every change of owner.
        base: first byte of what is claimed, which may be wider than what was asked.
        length: bytes of it.
    """

    TYPE: ClassVar[int] = 0x83

    lease_ms: u32
    fence: u64
    base: u64
    length: u64


class Mapped(Message):
    """What a file holds; its descriptor is sent with this frame (SCM_RIGHTS).

    Attributes:
        rights: what was granted: MAP_READ 1, MAP_WRITE 2, MAP_ROM 4.
        table: rows of 32 bytes: u64 base, u64 length, u64 offset, u32 kind, u32 0.
    """

    TYPE: ClassVar[int] = 0x84

    rights: u32
    table: rest

    def check(self) -> None:
        if len(self.table) % MAP_ROW.size:
            raise ProtocolError(f"MAPPED table of {len(self.table)} bytes is not rows of 32")

        for base, length, _offset, kind, zero in MAP_ROW.iter_unpack(self.table):
            if kind >= len(MAP_KINDS) or zero or base + length > 1 << 64:
                raise ProtocolError(
                    f"MAPPED row {base:#x}/{length:#x} kind {kind} reserved {zero} is malformed"
                )

    @property
    def rows(self) -> list[tuple[int, int, int, str]]:
        """The table: physical base, length, offset in the file, and kind by name."""
        return [
            (base, length, offset, MAP_KINDS[kind])
            for base, length, offset, kind, _zero in MAP_ROW.iter_unpack(self.table)
        ]


def map_table(rows: Iterable[tuple[int, int, int, str]]) -> bytes:
    """Lay out MAPPED's table.

    Args:
        rows: physical base, length, offset in the file, and a kind of `MAP_KINDS`.
    """
    return b"".join(
        MAP_ROW.pack(base, length, offset, MAP_KINDS.index(kind), 0)
        for base, length, offset, kind in rows
    )


class Error(Message):
    """A request was refused or failed.

    Attributes:
        code: FreeBSD's errno number.
        moved: bytes that a transfer had moved before it failed; those of a read have come as DATA.
        name: the errno's name, such as `EBUSY`.
        kind: memhub's name for the error, such as `RangeBusy`; it tells two meanings of one
            errno apart.
        reason: what was wrong, with the offending values.
        obstacles: what stood in the way, as a JSON list of objects, or empty.
    """

    TYPE: ClassVar[int] = 0xFF

    code: u32
    moved: u64
    name: text
    kind: text
    reason: text
    obstacles: rest
