"""The numbers and layouts of mem(4): what a client needs to speak it, and no more.

`memhub.abi` offers all of this with the types on top. This module imports neither `typing` nor
`dataclasses` nor `enum`, which cost a one-shot client more than the interpreter itself.

Sources: FreeBSD `sys/sys/memrange.h`, `sys/sys/ioccom.h`.
"""

from __future__ import annotations

from collections import namedtuple
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final, NamedTuple

    Buffer = bytes | bytearray | memoryview

#: The region is not cached.
MDF_UNCACHEABLE: Final = 1 << 0
#: Writes to it are combined.
MDF_WRITECOMBINE: Final = 1 << 1
#: Reads are cached, writes go through to memory.
MDF_WRITETHROUGH: Final = 1 << 2
#: It is cached.
MDF_WRITEBACK: Final = 1 << 3
#: It is cached for reading and cannot be written.
MDF_WRITEPROTECT: Final = 1 << 4
#: Its attribute has no word in mem(4).
MDF_UNKNOWN: Final = 1 << 5
#: The bits that say what kind of memory it is.
MDF_ATTRMASK: Final = 0x00FFFFFF
#: Its base cannot be changed.
MDF_FIXBASE: Final = 1 << 24
#: Its length cannot be changed.
MDF_FIXLEN: Final = 1 << 25
#: Firmware has set it.
MDF_FIRMWARE: Final = 1 << 26
#: It is in effect.
MDF_ACTIVE: Final = 1 << 27
#: The hardware holds something that is not a region.
MDF_BOGUS: Final = 1 << 28
#: Whether it is in effect cannot be changed.
MDF_FIXACTIVE: Final = 1 << 29
#: Somebody else holds a claim on it.
MDF_BUSY: Final = 1 << 30
#: Asks for a change that takes effect where the driver would refuse it.
MDF_FORCE: Final = 1 << 31

#: The five attributes that a client can ask for.
MDF_SETTABLE: Final = (
    MDF_UNCACHEABLE | MDF_WRITECOMBINE | MDF_WRITETHROUGH | MDF_WRITEBACK | MDF_WRITEPROTECT
)

#: Bits of `mr_flags` that no FreeBSD header defines: a descriptor with one of them is malformed.
MDF_RESERVED: Final = MDF_ATTRMASK & ~(MDF_SETTABLE | MDF_UNKNOWN)

#: `mo_arg[0]` of MEMRANGE_SET: add or change a range.
MEMRANGE_SET_UPDATE: Final = 0
#: `mo_arg[0]` of MEMRANGE_SET: remove a range.
MEMRANGE_SET_REMOVE: Final = 1

#: Bytes of `mr_owner`, a zero at its end included.
OWNER_SIZE: Final = 8
#: The highest physical address.
U64_MAX: Final = (1 << 64) - 1
#: Bytes of a page, on every architecture that FreeBSD's mem(4) knows.
PAGE_SIZE: Final = 4096

#: `_IOWR('m', 52, struct mem_extract)`, the same in every data model, and on Linux; FreeBSD 13.
MEM_EXTRACT_PADDR: Final = 0xC0406D34
#: `struct mem_extract`: `me_vaddr`, `me_paddr`, `me_domain`, `me_state`, padding.
MEM_EXTRACT: Final = Struct("<QQii40s")
#: `me_state`: the virtual address is invalid.
ME_STATE_INVALID: Final = 0
#: `me_state`: it is valid, and no page is there.
ME_STATE_VALID: Final = 1
#: `me_state`: a page is there, and `me_paddr` and `me_domain` are valid.
ME_STATE_MAPPED: Final = 2

#: More slots than any machine has: INT_MAX in `mo_arg[0]`.
EVERY_SLOT: Final = 0x7FFFFFFF

#: Flag bit and the word that memcontrol(8) prints for it, in memcontrol's order.
FLAG_WORDS: Final[tuple[tuple[int, str], ...]] = (
    (MDF_UNCACHEABLE, "uncacheable"),
    (MDF_WRITECOMBINE, "write-combine"),
    (MDF_WRITETHROUGH, "write-through"),
    (MDF_WRITEBACK, "write-back"),
    (MDF_WRITEPROTECT, "write-protect"),
    (MDF_FORCE, "force"),
    (MDF_UNKNOWN, "unknown"),
    (MDF_FIXBASE, "fixed-base"),
    (MDF_FIXLEN, "fixed-length"),
    (MDF_FIRMWARE, "set-by-firmware"),
    (MDF_ACTIVE, "active"),
    (MDF_BOGUS, "bogus"),
)

#: The attributes that are memory types, and their short names.
TYPE_OF_FLAG: Final[Mapping[int, str]] = {
    MDF_UNCACHEABLE: "UC",
    MDF_WRITECOMBINE: "WC",
    MDF_WRITETHROUGH: "WT",
    MDF_WRITEPROTECT: "WP",
    MDF_WRITEBACK: "WB",
}
#: The same the other way.
FLAG_OF_TYPE: Final[Mapping[str, int]] = {name: flag for flag, name in TYPE_OF_FLAG.items()}

#: The two flags that memcontrol(8) has no word for; memhub's own listings name them.
EXTRA_FLAG_WORDS: Final[tuple[tuple[int, str], ...]] = (
    (MDF_FIXACTIVE, "fixed-active"),
    (MDF_BUSY, "busy"),
)


def owner_bytes(label: str | bytes) -> bytes:
    """Render an owner label as the eight bytes of `mr_owner`.

    Args:
        label: the text (Latin-1) or bytes; cut at seven bytes, as mem(4) does (`memioctl`
            forces byte 7 to NUL before the driver sees it).

    Returns:
        eight bytes, NUL padded.

    Raises:
        ValueError: the text has a character outside Latin-1.
    """
    if isinstance(label, str):
        try:
            label = label.encode("latin-1")
        except UnicodeEncodeError as error:
            raise ValueError(
                f"owner {label!r} has a character that one byte cannot hold"
            ) from error

    return label[: OWNER_SIZE - 1].ljust(OWNER_SIZE, b"\0")


def owner_field(label: str | bytes) -> bytes:
    """`owner_bytes` of a label that somebody chose: text is not cut, as what is lost misleads.

    Args:
        label: text (Latin-1) of at most seven characters, or bytes, which are cut at seven.

    Raises:
        ValueError: the text does not fit, or has a NUL, which ends a label.
    """
    if isinstance(label, str) and "\0" in label:
        raise ValueError(f"owner {label!r:.80} has a NUL, which ends a label")

    if isinstance(label, str) and len(label) >= OWNER_SIZE:
        raise ValueError(
            f"owner {label!r:.80} has {len(label)} characters; a descriptor holds "
            f"{OWNER_SIZE - 1} (bytes are cut, as mem(4) cuts them)"
        )

    return owner_bytes(label)


def flags_of_words(words: str) -> int:
    """The flags that memcontrol(8)'s words stand for.

    Args:
        words: one word of `FLAG_WORDS`, or several with spaces between: `write-combine`.

    Raises:
        ValueError: it names no flag.
    """
    bits = {word: bit for bit, word in FLAG_WORDS}
    flags = 0
    for word in words.split():
        if word not in bits:
            raise ValueError(_unknown_word(word, bits))

        flags |= bits[word]

    if not flags:
        raise ValueError(f"attribute {words!r} names no flag, such as 'write-combine'")

    return flags


def _unknown_word(word: str, bits: dict[str, int]) -> str:
    """Why a word is refused; those that a request cannot set are not offered."""
    from difflib import get_close_matches  # here, since few words are wrong

    offered = [it for it, bit in bits.items() if bit & (MDF_SETTABLE | MDF_FORCE)]
    short = {"uc": 0, "wc": 1, "wt": 2, "wb": 3, "wp": 4}.get(word.lower())
    near = get_close_matches(word.lower(), offered, n=1) if short is None else [offered[short]]
    hint = f"; did you mean {near[0]!r}?" if near else ""

    return f"attribute {word!r:.80} is none of {', '.join(offered)}{hint}"


def misfit(mr_base: int, mr_len: int, mr_flags: int) -> str:
    """Which field of a descriptor does not fit its place, in words; empty if all do."""
    for name, value in (("mr_base", mr_base), ("mr_len", mr_len)):
        if not 0 <= value <= U64_MAX:
            return f"{name} {value:#x} does not fit an unsigned 64-bit field"

    if not 0 <= mr_flags <= 0xFFFFFFFF:
        return f"mr_flags {mr_flags:#x} does not fit 32 bits"

    return ""


_IOC_OUT: Final = 0x40000000
_IOC_IN: Final = 0x80000000
_IOC_LEN_SHIFT: Final = 16
_GROUP: Final = ord("m") << 8


class Layout:
    """How one C data model lays out the structures, and the numbers of the requests.

    Args:
        name: `LP64` or `ILP32`.
        op: the format of `struct mem_range_op`, little-endian.
        desc: the format of `struct mem_range_desc`, little-endian.
        pointer: bytes of a pointer, and so of `mo_desc`.

    Attributes:
        desc: `struct mem_range_desc`; 32 bytes on LP64, 28 on ILP32 (u64 aligns to 4 there).
        op: `struct mem_range_op`: `mo_desc`, `mo_arg[0]`, `mo_arg[1]`.
        get: the number of MEMRANGE_GET.
        set: the numbers of MEMRANGE_SET: FreeBSD's, then what `_IOW` makes on Linux.
    """

    __slots__ = ("desc", "get", "name", "op", "pointer", "set")

    def __init__(self, name: str, op: str, desc: str, pointer: int) -> None:
        self.name = name
        self.op = Struct(op)
        self.desc = Struct(desc)
        self.pointer = pointer
        size = self.op.size << _IOC_LEN_SHIFT
        self.get = _IOC_IN | _IOC_OUT | size | _GROUP | 50
        self.set = (_IOC_IN | size | _GROUP | 51, _IOC_OUT | size | _GROUP | 51)

    def __repr__(self) -> str:
        return f"<Layout {self.name}>"


LP64_LAYOUT: Final = Layout("LP64", "<Qii", "<QQI8s4x", 8)
ILP32_LAYOUT: Final = Layout("ILP32", "<Iii", "<QQI8s", 4)

if TYPE_CHECKING:

    class IoctlReply(NamedTuple):
        """What an ioctl leaves behind.

        Attributes:
            op: `struct mem_range_op` as it is now.
            descs: the descriptors that `mo_desc` points to now; empty if none were written.
        """

        op: bytes
        descs: bytes

else:
    IoctlReply = namedtuple("IoctlReply", "op descs")
    IoctlReply.__doc__ = "What an ioctl leaves behind: `struct mem_range_op`, and descriptors."
