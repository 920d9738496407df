"""The binary interface of mem(4): layouts, ioctl numbers, flags, pack and unpack.

Everything that depends on bytes lives here and nowhere else. The data model is a parameter:
an i386 kernel speaks ILP32, an amd64 kernel LP64, and both the size of `struct mem_range_op`
and the padding of `struct mem_range_desc` differ between them.

Sources: FreeBSD `sys/sys/memrange.h`, `sys/sys/ioccom.h`, `sys/sys/errno.h`.
"""

from __future__ import annotations

import enum
import errno as host_errno
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    Buffer = bytes | bytearray | memoryview

MDF_UNCACHEABLE: Final = 1 << 0
MDF_WRITECOMBINE: Final = 1 << 1
MDF_WRITETHROUGH: Final = 1 << 2
MDF_WRITEBACK: Final = 1 << 3
MDF_WRITEPROTECT: Final = 1 << 4
MDF_UNKNOWN: Final = 1 << 5
MDF_ATTRMASK: Final = 0x00FFFFFF
MDF_FIXBASE: Final = 1 << 24
MDF_FIXLEN: Final = 1 << 25
MDF_FIRMWARE: Final = 1 << 26
MDF_ACTIVE: Final = 1 << 27
MDF_BOGUS: Final = 1 << 28
MDF_FIXACTIVE: Final = 1 << 29
MDF_BUSY: Final = 1 << 30
MDF_FORCE: Final = 1 << 31

#: The five attributes that a client can ask for.
MDF_SETTABLE: Final = (
    MDF_UNCACHEABLE | MDF_WRITECOMBINE | MDF_WRITETHROUGH | MDF_WRITEBACK | MDF_WRITEPROTECT
)

#: Bits of `mr_flags` that no FreeBSD header defines: a descriptor with one of them is malformed.
MDF_RESERVED: Final = MDF_ATTRMASK & ~(MDF_SETTABLE | MDF_UNKNOWN)

MEMRANGE_SET_UPDATE: Final = 0
MEMRANGE_SET_REMOVE: Final = 1

OWNER_SIZE: Final = 8
U64_MAX: Final = (1 << 64) - 1
PAGE_SIZE: Final = 4096

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

#: The two flags that memcontrol(8) has no word for; memhub's own listings name them.
EXTRA_FLAG_WORDS: Final[tuple[tuple[int, str], ...]] = (
    (MDF_FIXACTIVE, "fixed-active"),
    (MDF_BUSY, "busy"),
)


def flag_words(mr_flags: int, *, extra: bool = True) -> tuple[str, ...]:
    """Name the flags that are set in `mr_flags`.

    Args:
        mr_flags: the flags, as an unsigned 32-bit integer.
        extra: also name `MDF_FIXACTIVE` and `MDF_BUSY`, for which memcontrol(8) has no word.

    Returns:
        the words, in the order in which memcontrol(8) prints them.
    """
    table = FLAG_WORDS + EXTRA_FLAG_WORDS if extra else FLAG_WORDS
    return tuple(word for bit, word in table if mr_flags & bit)


class Errno(enum.IntEnum):
    """The errors memhub answers, with FreeBSD's numbers (`sys/sys/errno.h`).

    Logs, messages and the wire carry the name; `host` is the number that Python callers see.
    """

    EPERM = 1
    ENOENT = 2
    EIO = 5
    ENXIO = 6
    EBADF = 9
    EDEADLK = 11
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    ENODEV = 19
    EINVAL = 22
    ENOTTY = 25
    ENOSPC = 28
    EOPNOTSUPP = 45
    ETIMEDOUT = 60
    ENOSYS = 78
    ECANCELED = 85
    EPROTO = 92

    @property
    def host(self) -> int:
        """The number that this machine's C library uses for the same name."""
        return int(getattr(host_errno, self.name, self.value))


@dataclass(frozen=True, slots=True)
class RangeDesc:
    """One `struct mem_range_desc`, as a value.

    Attributes:
        mr_base: first byte of the range, a physical address (u64).
        mr_len: bytes in the range (u64).
        mr_flags: `MDF_*` bits, as an unsigned 32-bit integer.
        mr_owner: the eight bytes of the label, NUL padded; what follows the first NUL is
            kept, because the drivers leave it behind and MEMRANGE_GET shows it.

    Raises:
        ValueError: a field does not fit its place in the structure.
    """

    mr_base: int
    mr_len: int
    mr_flags: int = 0
    mr_owner: bytes = bytes(OWNER_SIZE)

    def __post_init__(self) -> None:
        if not (
            0 <= self.mr_base <= U64_MAX
            and 0 <= self.mr_len <= U64_MAX
            and 0 <= self.mr_flags <= 0xFFFFFFFF
            and len(self.mr_owner) == OWNER_SIZE
        ):
            self._refuse()

    def _refuse(self) -> None:
        for name in ("mr_base", "mr_len"):
            if not 0 <= getattr(self, name) <= U64_MAX:
                raise ValueError(
                    f"{name} {getattr(self, name):#x} does not fit an unsigned 64-bit field"
                )

        if not 0 <= self.mr_flags <= 0xFFFFFFFF:
            raise ValueError(f"mr_flags {self.mr_flags:#x} does not fit 32 bits")

        raise ValueError(f"mr_owner {self.mr_owner!r} is not {OWNER_SIZE} bytes long")

    @property
    def owner(self) -> str:
        """The label up to its first NUL, each byte as one character (Latin-1)."""
        return self.mr_owner.split(b"\0", 1)[0].decode("latin-1")

    @property
    def mr_end(self) -> int:
        """One past the last byte; may exceed 64 bits, as no sum wraps here."""
        return self.mr_base + self.mr_len

    def __str__(self) -> str:
        words = " ".join(flag_words(self.mr_flags)) or "no flags"

        return f"{self.mr_base:#x}/{self.mr_len:#x} {escape_controls(self.owner) or '-'} {words}"


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


_IOC_OUT: Final = 0x40000000
_IOC_IN: Final = 0x80000000
_IOC_LEN_SHIFT: Final = 16
_GROUP: Final = ord("m") << 8


@dataclass(frozen=True, slots=True)
class DataModel:
    """How one C data model lays out the structures and numbers the requests.

    Attributes:
        name: `LP64` or `ILP32`.
        desc: `struct mem_range_desc`; 32 bytes on LP64, 28 on ILP32 (u64 aligns to 4 there).
        op: `struct mem_range_op`: `mo_desc`, `mo_arg[0]`, `mo_arg[1]`.
        get: the number of MEMRANGE_GET.
        set: the numbers of MEMRANGE_SET: FreeBSD's, then what `_IOW` makes on Linux.
    """

    name: str
    desc: struct.Struct
    op: struct.Struct
    get: int = field(init=False)
    set: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        size = self.op.size << _IOC_LEN_SHIFT
        object.__setattr__(self, "get", _IOC_IN | _IOC_OUT | size | _GROUP | 50)
        object.__setattr__(
            self, "set", (_IOC_IN | size | _GROUP | 51, _IOC_OUT | size | _GROUP | 51)
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return data_model, (self.name,)  # a struct cannot be copied or pickled

    def pack(self, desc: RangeDesc) -> bytes:
        """Lay out one descriptor: `desc.size` bytes, little-endian, padding zero."""
        return self.desc.pack(desc.mr_base, desc.mr_len, desc.mr_flags, desc.mr_owner)

    def unpack(self, data: Buffer) -> RangeDesc:
        """Read one descriptor.

        Args:
            data: exactly `desc.size` bytes.

        Raises:
            ValueError: the buffer has another length.
        """
        if len(data) != self.desc.size:
            raise ValueError(
                f"a {self.name} mem_range_desc is {self.desc.size} bytes, not {len(data)}"
            )

        return RangeDesc(*self.desc.unpack(data))

    def pack_table(self, table: Sequence[RangeDesc]) -> bytes:
        """Lay out a whole table: `len(table) * desc.size` bytes, in slot order."""
        pack = self.desc.pack

        return b"".join([pack(d.mr_base, d.mr_len, d.mr_flags, d.mr_owner) for d in table])

    def unpack_table(self, data: Buffer) -> tuple[RangeDesc, ...]:
        """Read a whole table.

        Args:
            data: a multiple of `desc.size` bytes.

        Raises:
            ValueError: the buffer ends inside a descriptor.
        """
        if len(data) % self.desc.size:
            raise ValueError(
                f"{len(data)} bytes are not a whole number of {self.name} descriptors "
                f"of {self.desc.size} bytes"
            )

        return tuple(RangeDesc(*fields) for fields in self.desc.iter_unpack(data))

    def dtype(self) -> np.dtype[np.void]:
        """The numpy structured type of one descriptor: same fields, offsets and size as in C."""
        import numpy as np

        return np.dtype(
            {
                "names": ["mr_base", "mr_len", "mr_flags", "mr_owner"],
                "formats": ["<u8", "<u8", "<u4", "V8"],
                "offsets": [0, 8, 16, 20],
                "itemsize": self.desc.size,
            }
        )

    def array(self, data: Buffer) -> npt.NDArray[np.void]:
        """View a packed table as a structured array, without a copy.

        Args:
            data: a multiple of `desc.size` bytes.

        Returns:
            an array of shape `(slots,)`; writable only if `data` is.

        Raises:
            ValueError: the buffer ends inside a descriptor.
        """
        import numpy as np

        if len(data) % self.desc.size:
            raise ValueError(f"{len(data)} bytes end inside a {self.name} descriptor")

        return np.frombuffer(data, dtype=self.dtype())

    def from_array(self, array: npt.NDArray[Any]) -> bytes:
        """Lay out a structured array that has the fields of `dtype`, in any order or padding."""
        import numpy as np

        packed = np.zeros(array.shape, dtype=self.dtype())
        for name in ("mr_base", "mr_len", "mr_flags", "mr_owner"):
            packed[name] = array[name]

        return packed.tobytes()


LP64: Final = DataModel("LP64", struct.Struct("<QQI8s4x"), struct.Struct("<Qii"))
ILP32: Final = DataModel("ILP32", struct.Struct("<QQI8s"), struct.Struct("<Iii"))

DATA_MODELS: Final[tuple[DataModel, ...]] = (LP64, ILP32)


def data_model(name: str) -> DataModel:
    """The data model of a name.

    Raises:
        KeyError: it is not `LP64` or `ILP32`.
    """
    return {model.name: model for model in DATA_MODELS}[name]


def descs(rows: Iterable[Sequence[Any]]) -> tuple[RangeDesc, ...]:
    """Make descriptors of `(base, length, flags, owner)` rows, the owner as text or bytes."""
    return tuple(
        RangeDesc(base, length, flags, owner_bytes(who)) for base, length, flags, who in rows
    )
