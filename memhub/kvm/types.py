"""Types of C as a compiler laid them out: sizes, members, and values of bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

#: What a type is: how its bytes are read. An array of `character` is `characters`.
TypeKind = Literal[
    "integer", "character", "characters", "float", "pointer", "struct", "array", "void"
]
_FLOATS: Final = {4: "f", 8: "d"}


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a structure or union.

    Attributes:
        offset: bytes from its start.
        type: what it is.
        bits: of a bit-field, its first bit counted from the lowest of the type at `offset`, and how
            many; else None.
    """

    offset: int
    type: CType
    bits: tuple[int, int] | None = None

    def decode(self, data: bytes) -> Any:  # noqa: ANN401 - as the type says
        """Its value in the bytes of the whole structure; see `CType.decode`."""
        part = data[self.offset : self.offset + self.type.size]
        if self.bits is None:
            return self.type.decode(part)

        first, count = self.bits
        value = int.from_bytes(part, self.type.order) >> first & (1 << count) - 1
        if self.type.signed and value >> count - 1:
            value -= 1 << count

        return value


@dataclass(frozen=True, slots=True)
class CType:
    """A type of C, as the kernel's compiler laid it out.

    Attributes:
        name: what C calls it.
        kind: how its bytes are read.
        size: bytes.
        order: `little` or `big`.
        signed: whether an integer has a sign.
        members: of a structure or union, by name; those of members without a name are among them.
        element: of an array, what it consists of.
        count: of an array, how many.
        target: of a pointer, the name of what it points to.
    """

    name: str
    kind: TypeKind
    size: int
    order: Literal["little", "big"] = "little"
    signed: bool = False
    members: Mapping[str, Member] = field(default_factory=dict, repr=False)
    element: CType | None = None
    count: int = 0
    target: str = ""

    def offset_of(self, name: str) -> int:
        """Where a member begins; KeyError where there is none of the name."""
        return self.members[name].offset

    def decode(self, data: bytes) -> Any:  # noqa: ANN401 - as the type says
        """A value of this type.

        Args:
            data: its bytes; what is behind them is not looked at.

        Returns:
            an integer (also of a pointer, an enumeration or a character), a float, a dictionary of
            a structure or union, bytes of an array of `char` up to its first NUL, a tuple of
            another array.

        Raises:
            ValueError: there are fewer bytes than the type has.
        """
        if len(data) < self.size:
            raise ValueError(f"{self.name} has {self.size} bytes, and {len(data)} are given")

        if self.kind == "struct":
            return {name: it.decode(data) for name, it in self.members.items()}

        if self.kind == "array":
            assert self.element is not None
            size = self.element.size
            parts = (data[at * size : (at + 1) * size] for at in range(self.count))

            return tuple(self.element.decode(part) for part in parts)

        if self.kind == "characters":
            return data[: self.size].partition(b"\0")[0]

        if self.kind == "float":
            form = _FLOATS.get(self.size)
            if form is None:
                raise ValueError(f"{self.name} has {self.size} bytes, which Python has no float of")

            order = "<" if self.order == "little" else ">"

            return struct.unpack(order + form, data[: self.size])[0]

        return int.from_bytes(data[: self.size], self.order, signed=self.signed)
