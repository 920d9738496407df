"""What a declared architecture says: `memhub.plugin.declared` makes an Arch of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from memhub.abi import (
    FLAG_WORDS,
    LP64,
    MDF_ATTRMASK,
    MDF_SETTABLE,
    PAGE_SIZE,
    DataModel,
    Errno,
)
from memhub.core.drivers.driver import Arch
from memhub.core.kernel import KernelLayout, Releases
from memhub.plugin.declaration_checks import (
    check_addresses,
    check_kind,
    check_latency,
    check_line,
    check_name,
    check_text_map,
    check_texts,
    check_tuple_of,
    check_words,
)
from memhub.plugin.declaration_parts import CpuRule as CpuRule
from memhub.plugin.declaration_parts import FirmwareSlot as FirmwareSlot
from memhub.plugin.declaration_parts import SignatureRule as SignatureRule

Search = Literal["whole table", "first free slot"]
Winner = Literal["slot", "attribute"]
Mixed = Literal["first", "default"]

#: The attributes that a client can ask for, by memcontrol(8)'s words.
BIT_OF_WORD: Final[Mapping[str, int]] = {word: bit for bit, word in FLAG_WORDS}
TYPES: Final = ("UC", "WC", "WT", "WP", "WB")

#: What an UPDATE may be refused for, and the errno of each unless a declaration says another.
ERRNO_OF_CHECK: Final[Mapping[str, str]] = {
    "base": "EINVAL",
    "length": "EINVAL",
    "alignment": "EINVAL",
    "end": "EINVAL",
    "flags": "EOPNOTSUPP",
    "attribute": "EINVAL",
    "same": "EEXIST",
    "busy": "EBUSY",
    "overlap": "EINVAL",
    "full": "ENOSPC",
}
#: Those that look at the request alone; the others look at the table, and come after them.
REQUEST_CHECKS: Final = ("base", "length", "alignment", "end", "flags", "attribute")
_DEFAULT_ORDER: Final = ("base", "length", "alignment", "end", "attribute", "busy", "overlap")
_ANY_KERNEL: Final = KernelLayout(kernel_base=0)
_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "search": ("whole table", "first free slot"),
    "winner": ("slot", "attribute"),
    "mixed": ("first", "default"),
}
_SLOTS_MOST: Final = 65536
_BITS: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class DeclaredArch:
    """One architecture, declared.

    Attributes:
        name: what configuration calls it.
        summary: one line for `memhub arches`.
        slots: how many ranges there are.
        types: attribute words to the effective type of a range that has it; an empty type for an
            attribute that a range may have without effect. The order counts, see `winner`, `mixed`.
        order: what an UPDATE is refused for, in the order of the errors. What is not named is not
            checked: without `same`, an UPDATE of a range that a slot holds takes the slot over;
            without `overlap`, ranges may overlap as they like. `full` is always checked, last.
        errnos: errnos other than those of `ERRNO_OF_CHECK`, by check.
        granule: what bases (`base`) and lengths (`length`) are multiples of; bytes.
        length_least: the shortest length; the granule if None.
        power_of_two: whether lengths are powers of two (`length`).
        address_bits: ranges end below 2**address_bits (`end`); None is the CPU's width.
        flags: words of flags that a request may have beside attributes (`flags`).
        overlaps: the conflict matrix (`overlap`): attribute words to those that a range of that
            attribute may overlap with, beside its own. Each pair needs to stand only once.
        search: `whole table` looks at every slot before one is chosen; `first free slot` looks at
            slots in order and stops at the first free one, as FreeBSD's K6 and PowerPC drivers do.
        winner: which of two overlapping ranges has its type: that of the first `slot`, or the one
            whose `attribute` comes first in `types`.
        mixed: the type of a range with several attributes: that of the `first` in `types`, or
            the `default`.
        default_type: the type where no range is.
        keep_flags: whether a slot keeps every flag of the request, not the attributes alone.
        active: whether MDF_ACTIVE is set on a slot that is written.
        cpus: which CPUs are served; all if None.
        firmware: slots that firmware may have filled, the first slot first.
        model: the kernel's data model, `LP64` or `ILP32`.
        kernel: where kernel addresses lie; a usual layout of the model if None.
        releases: the kernels that the option `release` chooses from, in place of `kernel`.
        commit_latency: seconds from the start of a commit to its effect.
        quirks: rules of the conformance kit that the kernel breaks too; see `Arch`.

    Raises:
        ValueError: a field breaks its rule; the message names the architecture and the field.
    """

    name: str
    summary: str
    slots: int
    types: Mapping[str, str]
    order: tuple[str, ...] = _DEFAULT_ORDER
    errnos: Mapping[str, str] = field(default_factory=dict)
    granule: int = PAGE_SIZE
    length_least: int | None = None
    power_of_two: bool = False
    address_bits: int | None = None
    flags: tuple[str, ...] = ()
    overlaps: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    search: Search = "whole table"
    winner: Winner = "slot"
    mixed: Mixed = "first"
    default_type: str = "WB"
    keep_flags: bool = False
    active: bool = True
    cpus: CpuRule | None = None
    firmware: tuple[FirmwareSlot, ...] = ()
    model: DataModel = LP64
    kernel: KernelLayout | None = None
    releases: Releases | None = None
    commit_latency: float = 0.0
    quirks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        try:
            self._check_kinds()
            self._check_fields()
            Arch(name=self.name, summary=self.summary, kernel=_ANY_KERNEL)
        except ValueError as error:
            raise ValueError(f"architecture {self.name!r}: {error}") from None

    @property
    def attribute_mask(self) -> int:
        """The attributes, as bits."""
        return sum(BIT_OF_WORD[word] for word in self.types)

    @property
    def allowed_flags(self) -> int:
        """All bits that a request may have."""
        return self.attribute_mask | sum(BIT_OF_WORD[word] for word in self.flags)

    def may_overlap(self, one: int, other: int) -> bool:
        """Whether ranges with these attribute bits may overlap."""
        if not (one ^ other) & MDF_ATTRMASK:
            return True

        pairs = {(a, b) for a, row in self.overlaps.items() for b in row}
        words = [[word for word in self.types if BIT_OF_WORD[word] & it] for it in (one, other)]

        return all(a == b or (a, b) in pairs or (b, a) in pairs for a in words[0] for b in words[1])

    def _check_kinds(self) -> None:
        check_name(self.name)
        check_line("summary", self.summary)
        check_latency(self.commit_latency)
        for name in ("types", "errnos"):
            check_text_map(name, getattr(self, name))

        for name in ("order", "flags", "quirks"):
            check_texts(name, getattr(self, name))

        for name in ("power_of_two", "keep_flags", "active"):
            check_kind(name, getattr(self, name), bool, "true or false")

        check_kind("overlaps", self.overlaps, Mapping, "a mapping of words to tuples of words")
        for word, row in self.overlaps.items():
            check_texts(f"overlaps of {word}", row)

        check_tuple_of("firmware", self.firmware, FirmwareSlot)
        check_kind("model", self.model, DataModel, "a data model: LP64 or ILP32")
        for name, kind in (("cpus", CpuRule), ("kernel", KernelLayout), ("releases", Releases)):
            if getattr(self, name) is not None:
                check_kind(name, getattr(self, name), kind, f"a {kind.__name__}")

        if self.kernel is not None:
            check_addresses("kernel", self.kernel)

    def _check_fields(self) -> None:
        if type(self.slots) is not int or not 1 <= self.slots <= _SLOTS_MOST:
            raise ValueError(f"slots {self.slots!r} is not an integer from 1 to {_SLOTS_MOST}")

        check_words("types", self.types)
        for word, name in self.types.items():
            if name and name not in TYPES:
                raise ValueError(f"types: {word} is {name!r}, none of {', '.join(TYPES)} or empty")

        if not self.types:
            raise ValueError("types is empty: an architecture has at least one attribute")

        if self.default_type not in TYPES:
            raise ValueError(f"default_type {self.default_type!r} is none of {', '.join(TYPES)}")

        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} {getattr(self, name)!r} is none of {', '.join(known)}")

        self._check_order()
        self._check_lengths()
        check_words("overlaps", self.overlaps, tuple(self.types))
        for word, row in self.overlaps.items():
            check_words(f"overlaps of {word}", row, tuple(self.types))

        if self.overlaps and "overlap" not in self.order:
            raise ValueError("overlaps is given, but order does not name 'overlap'")

        for word in self.flags:
            if word not in BIT_OF_WORD or BIT_OF_WORD[word] & MDF_SETTABLE:
                raise ValueError(f"flags: {word!r} is no word of a flag beside the attributes")

        for number, it in enumerate(self.firmware):
            check_words(f"firmware[{number}]: attributes", it.attributes, tuple(self.types))

        if len(self.firmware) > self.slots:
            raise ValueError(f"firmware fills {len(self.firmware)} slots; there are {self.slots}")

        if self.kernel is not None and self.releases is not None:
            raise ValueError("kernel and releases exclude each other")

    def _check_order(self) -> None:
        check_words("order", self.order, tuple(ERRNO_OF_CHECK))
        check_words("errnos", self.errnos, tuple(ERRNO_OF_CHECK))
        if len(set(self.order)) != len(self.order):
            raise ValueError(f"order {', '.join(self.order)} names a check twice")

        seen_table = ""
        for check in self.order:
            if check not in REQUEST_CHECKS:
                seen_table = check
            elif seen_table:
                raise ValueError(f"order: {check!r} comes before {seen_table!r}, which needs it")

        for check, name in self.errnos.items():
            if name not in Errno.__members__:
                raise ValueError(f"errnos: {check} is {name!r}, which is no errno of mem(4)")

            if check not in (*self.order, "full"):
                raise ValueError(f"errnos: {check!r} is not checked, as order does not name it")

        if self.search == "first free slot" and (odd := {"overlap", "busy"} & set(self.order)):
            raise ValueError(f"order: {min(odd)!r} needs search 'whole table'")

    def _check_lengths(self) -> None:
        for name in ("granule", "length_least", "address_bits"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} {value!r} is not an integer above 0")

            if value is not None and value > 1 << _BITS - 1:
                raise ValueError(f"{name} {value:#x} is more than an address can be")

        if self.power_of_two and self.granule & (self.granule - 1):
            raise ValueError(f"granule {self.granule:#x} is no power of two, as lengths have to be")

        if self.address_bits is not None and self.address_bits > 64:
            raise ValueError(f"address_bits {self.address_bits} is more than 64")
