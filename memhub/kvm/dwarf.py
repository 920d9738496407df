"""The types of a kernel by its debug information (DWARF): sizes, members, and values of bytes.

Source: DWARF Debugging Information Format, version 4 and 5, sections 5.1 to 5.9.
"""

from __future__ import annotations

import os
from math import prod
from typing import TYPE_CHECKING, Any, Final, Literal

from memhub.arguments import take_text
from memhub.core.spec_rules import suggest
from memhub.images.elf import check_sections, open_elf, refusing
from memhub.images.failure import ImageError
from memhub.images.sparse import open_regular
from memhub.kvm.types import CType, Member

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.kvm.types import TypeKind

_STRUCTS: Final = {"DW_TAG_structure_type": "struct", "DW_TAG_union_type": "union"}
_THROUGH: Final = frozenset(
    {
        "DW_TAG_typedef",
        "DW_TAG_const_type",
        "DW_TAG_volatile_type",
        "DW_TAG_restrict_type",
        "DW_TAG_atomic_type",
    }
)
_SIGNED: Final = frozenset({5, 6, 13})  # DW_ATE_signed, signed_char, signed_fixed
_FLOAT: Final = 4
_PLUS_UCONST: Final = 0x23  # DW_OP_plus_uconst, with a number in LEB128
#: Types inside one another; more is a circle that the file claims.
_DEEPEST: Final = 64
#: Elements that an array may claim; a larger one is not decoded.
_ARRAY_MAX: Final = 1 << 20


class KernelTypes:
    """The types of a kernel's ELF file with debug information.

    Args:
        path: the file; it is read whole.

    Raises:
        ImageError: it has no debug information, or is not sound.
        ExtraMissing: the extra `memhub[images]` is not installed.
        OSError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._shown = str(path)
        with open_regular(path, self._shown) as file:
            elf = open_elf(file, self._shown)
            check_sections(elf, self._shown, os.fstat(file.fileno()).st_size)
            with refusing(self._shown):
                if not elf.has_dwarf_info():
                    raise ImageError(self._shown, "has no debug information (DWARF)")

                self._order: Literal["little", "big"] = "little" if elf.little_endian else "big"
                self._pointer = elf.elfclass // 8
                self._found = self._name_types(elf.get_dwarf_info())

    def __contains__(self, name: str) -> bool:
        return name in self._found

    def __getitem__(self, name: str) -> CType:
        """A type by its name in C: `struct proc`, `union u`, `enum state`, `pid_t`, `int`.

        Raises:
            KeyError: the file has no such type; says which it may be.
        """
        found = self._found.get(take_text("name", name))
        if found is None:
            raise KeyError(f"{self._shown} has no type {name!r}{self._hint(name)}")

        return found

    def _hint(self, name: str) -> str:
        tagged = [it for it in self._found if it.partition(" ")[2] == name]

        return f": did you mean {tagged[0]!r}?" if tagged else suggest(name, self._found)

    def _name_types(self, dwarf: Any) -> dict[str, CType]:  # noqa: ANN401 - the library's
        reader = _Reader(self._shown, self._order, self._pointer)
        found: dict[str, CType] = {}
        for unit in dwarf.iter_CUs():
            for entry in unit.get_top_DIE().iter_children():
                name = reader.name_of(entry)
                if name and "DW_AT_declaration" not in entry.attributes:
                    found.setdefault(name, reader.read(entry))

        return found


class _Reader:
    """Makes types of debugging entries."""

    def __init__(self, shown: str, order: Literal["little", "big"], pointer: int) -> None:
        self._shown = shown
        self._order = order
        self._pointer = pointer
        self._made: dict[int, CType] = {}
        self._depth = 0
        self._readers: dict[str, Callable[[Any, str], CType]] = {
            "DW_TAG_structure_type": self._read_struct,
            "DW_TAG_union_type": self._read_struct,
            "DW_TAG_base_type": self._read_base,
            "DW_TAG_enumeration_type": self._read_enum,
            "DW_TAG_pointer_type": self._read_pointer,
            "DW_TAG_array_type": self._read_array,
        }

    def name_of(self, entry: Any) -> str:  # noqa: ANN401
        """What C calls a type; empty for what has no name, or is no type."""
        given = entry.attributes.get("DW_AT_name")
        tag = entry.tag
        if given is None or (tag not in self._readers and tag not in _THROUGH):
            return ""

        name: str = given.value.decode("utf-8", "replace")
        if tag == "DW_TAG_enumeration_type":
            return f"enum {name}"

        return f"{_STRUCTS[tag]} {name}" if tag in _STRUCTS else name

    def read(self, entry: Any) -> CType:  # noqa: ANN401
        """The type of an entry."""
        made = self._made.get(entry.offset)
        if made is not None:
            return made

        self._depth += 1
        if self._depth > _DEEPEST:
            what = f"its types are more than {_DEEPEST} inside one another"
            raise ImageError(self._shown, what, offset=entry.offset)

        name = self.name_of(entry)
        read = self._readers.get(entry.tag)
        if read is not None:
            made = read(entry, name)
        elif entry.tag in _THROUGH:
            made = self._target(entry)
        else:
            made = CType(name or "void", "void", _size_of(entry))

        self._depth -= 1
        self._made[entry.offset] = made

        return made

    def _target(self, entry: Any) -> CType:  # noqa: ANN401
        """What an entry is of; void where it says nothing."""
        if "DW_AT_type" not in entry.attributes:
            return CType("void", "void", 0)

        return self.read(entry.get_DIE_from_attribute("DW_AT_type"))

    def _read_base(self, entry: Any, name: str) -> CType:  # noqa: ANN401
        encoding = entry.attributes["DW_AT_encoding"].value
        kind: TypeKind = "float" if encoding == _FLOAT else "integer"
        if name == "char":
            kind = "character"

        return CType(name, kind, _size_of(entry), self._order, encoding in _SIGNED)

    def _read_enum(self, entry: Any, name: str) -> CType:  # noqa: ANN401
        return CType(name or "enum", "integer", _size_of(entry), self._order)

    def _read_pointer(self, entry: Any, _name: str) -> CType:  # noqa: ANN401
        target = ""
        if "DW_AT_type" in entry.attributes:
            target = self.name_of(entry.get_DIE_from_attribute("DW_AT_type"))

        size = _size_of(entry) or self._pointer

        return CType(f"{target or 'void'} *", "pointer", size, self._order, target=target)

    def _read_array(self, entry: Any, name: str) -> CType:  # noqa: ANN401
        made = self._target(entry)
        bounds = [
            _count_of(child)
            for child in entry.iter_children()
            if child.tag == "DW_TAG_subrange_type"
        ]
        if min(bounds, default=0) < 0 or prod(bounds) > _ARRAY_MAX:
            what = f"an array of {prod(bounds)} elements is more than {_ARRAY_MAX}"
            raise ImageError(self._shown, what, offset=entry.offset)

        for count in reversed(bounds):
            kind: TypeKind = "characters" if made.kind == "character" else "array"
            size = made.size * count
            made = CType(
                f"{made.name}[{count}]", kind, size, self._order, element=made, count=count
            )

        return made

    def _read_struct(self, entry: Any, name: str) -> CType:  # noqa: ANN401
        members: dict[str, Member] = {}
        size = _size_of(entry)
        for child in entry.iter_children():
            if child.tag != "DW_TAG_member":
                continue

            it, given = self._read_member(child), child.attributes.get("DW_AT_name")
            first, count = it.bits or (0, 0)
            fits = 0 <= first <= first + count <= 8 * it.type.size
            if not fits or not 0 <= it.offset <= it.offset + it.type.size <= size:
                what = f"a member of {name or 'a structure'} is not inside its {size} bytes"
                raise ImageError(self._shown, what, offset=child.offset)

            if given is not None:
                members[given.value.decode("utf-8", "replace")] = it
                continue

            for inner, held in it.type.members.items():
                members[inner] = Member(it.offset + held.offset, held.type, held.bits)

        return CType(name or "struct", "struct", size, self._order, members=members)

    def _read_member(self, entry: Any) -> Member:  # noqa: ANN401
        made = self._target(entry)
        attributes = entry.attributes
        offset = _number(attributes.get("DW_AT_data_member_location"))
        count = attributes.get("DW_AT_bit_size")
        if count is None:
            return Member(offset, made)

        if "DW_AT_data_bit_offset" in attributes:  # version 5, and 4 of some compilers
            place, first = divmod(attributes["DW_AT_data_bit_offset"].value, 8)
            place, first = place - place % made.size, first + 8 * (place % made.size)

            return Member(place, made, (first, count.value))

        high = attributes["DW_AT_bit_offset"].value  # counted from the highest bit

        return Member(offset, made, (8 * made.size - high - count.value, count.value))


def _size_of(entry: Any) -> int:  # noqa: ANN401
    return _number(entry.attributes.get("DW_AT_byte_size"))


def _number(attribute: Any) -> int:  # noqa: ANN401
    if attribute is None:
        return 0

    value = attribute.value
    if isinstance(value, list) and value[:1] == [_PLUS_UCONST]:  # how version 2 says a number
        return sum((byte & 0x7F) << 7 * at for at, byte in enumerate(value[1:]))

    if not isinstance(value, int):
        raise TypeError(f"{attribute.name} is computed, and not a number")

    return value


def _count_of(entry: Any) -> int:  # noqa: ANN401
    """Elements of a dimension; one without a bound has none."""
    if "DW_AT_count" in entry.attributes:
        return _number(entry.attributes["DW_AT_count"])

    bound = entry.attributes.get("DW_AT_upper_bound")

    return 0 if bound is None else _number(bound) + 1
