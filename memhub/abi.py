"""The binary interface of mem(4): layouts, ioctl numbers, flags, pack and unpack.

Everything that depends on bytes lives here and in `abi_layout`, which holds the numbers and
layouts that a client needs before anything else. The data model is a parameter: an i386 kernel
speaks ILP32, an amd64 kernel LP64, and both the size of `struct mem_range_op` and the padding
of `struct mem_range_desc` differ between them.

Sources: FreeBSD `sys/sys/memrange.h`, `sys/sys/ioccom.h`, `sys/sys/errno.h`.
"""

from __future__ import annotations

import enum
import errno as host_errno
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from memhub.abi_layout import EVERY_SLOT as EVERY_SLOT
from memhub.abi_layout import EXTRA_FLAG_WORDS as EXTRA_FLAG_WORDS
from memhub.abi_layout import FLAG_OF_TYPE as FLAG_OF_TYPE
from memhub.abi_layout import FLAG_WORDS as FLAG_WORDS
from memhub.abi_layout import ILP32_LAYOUT, LP64_LAYOUT, misfit
from memhub.abi_layout import MDF_ACTIVE as MDF_ACTIVE
from memhub.abi_layout import MDF_ATTRMASK as MDF_ATTRMASK
from memhub.abi_layout import MDF_BOGUS as MDF_BOGUS
from memhub.abi_layout import MDF_BUSY as MDF_BUSY
from memhub.abi_layout import MDF_FIRMWARE as MDF_FIRMWARE
from memhub.abi_layout import MDF_FIXACTIVE as MDF_FIXACTIVE
from memhub.abi_layout import MDF_FIXBASE as MDF_FIXBASE
from memhub.abi_layout import MDF_FIXLEN as MDF_FIXLEN
from memhub.abi_layout import MDF_FORCE as MDF_FORCE
from memhub.abi_layout import MDF_RESERVED as MDF_RESERVED
from memhub.abi_layout import MDF_SETTABLE as MDF_SETTABLE
from memhub.abi_layout import MDF_UNCACHEABLE as MDF_UNCACHEABLE
from memhub.abi_layout import MDF_UNKNOWN as MDF_UNKNOWN
from memhub.abi_layout import MDF_WRITEBACK as MDF_WRITEBACK
from memhub.abi_layout import MDF_WRITECOMBINE as MDF_WRITECOMBINE
from memhub.abi_layout import MDF_WRITEPROTECT as MDF_WRITEPROTECT
from memhub.abi_layout import MDF_WRITETHROUGH as MDF_WRITETHROUGH
from memhub.abi_layout import ME_STATE_INVALID as ME_STATE_INVALID
from memhub.abi_layout import ME_STATE_MAPPED as ME_STATE_MAPPED
from memhub.abi_layout import ME_STATE_VALID as ME_STATE_VALID
from memhub.abi_layout import MEM_EXTRACT as MEM_EXTRACT
from memhub.abi_layout import MEM_EXTRACT_PADDR as MEM_EXTRACT_PADDR
from memhub.abi_layout import MEMRANGE_SET_REMOVE as MEMRANGE_SET_REMOVE
from memhub.abi_layout import MEMRANGE_SET_UPDATE as MEMRANGE_SET_UPDATE
from memhub.abi_layout import OWNER_SIZE as OWNER_SIZE
from memhub.abi_layout import PAGE_SIZE as PAGE_SIZE
from memhub.abi_layout import TYPE_OF_FLAG as TYPE_OF_FLAG
from memhub.abi_layout import U64_MAX as U64_MAX
from memhub.abi_layout import IoctlReply as IoctlReply
from memhub.abi_layout import flags_of_words as flags_of_words
from memhub.abi_layout import owner_bytes as _owner_bytes
from memhub.abi_layout import owner_field as _owner_field
from memhub.arguments import take_integers
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from struct import Struct

    import numpy as np
    import numpy.typing as npt

    from memhub.abi_layout import Buffer as Buffer
    from memhub.abi_layout import Layout


#: `abi_layout.owner_bytes`; the last results are kept, since a program repeats its label.
owner_bytes: Final = lru_cache(maxsize=64)(_owner_bytes)
#: `abi_layout.owner_field`; the last results are kept.
owner_field: Final = lru_cache(maxsize=64)(_owner_field)


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
    ENOMEM = 12
    EACCES = 13
    EFAULT = 14
    EBUSY = 16
    EEXIST = 17
    ENODEV = 19
    EINVAL = 22
    ENOTTY = 25
    ENOSPC = 28
    ESPIPE = 29
    EAGAIN = 35
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
        if not (type(self.mr_base) is type(self.mr_len) is type(self.mr_flags) is int):
            take_integers(self, ("mr_base", "mr_len", "mr_flags"))

        if not (
            0 <= self.mr_base <= U64_MAX
            and 0 <= self.mr_len <= U64_MAX
            and 0 <= self.mr_flags <= 0xFFFFFFFF
            and len(self.mr_owner) == OWNER_SIZE
        ):
            self._refuse_field()

    def _refuse_field(self) -> None:
        words = misfit(self.mr_base, self.mr_len, self.mr_flags)
        if words:
            raise ValueError(words)

        raise ValueError(
            f"mr_owner {self.mr_owner!r} is not {OWNER_SIZE} bytes long (owner_bytes pads a label)"
        )

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

    def __repr__(self) -> str:
        """All that equality looks at: addresses in hexadecimal, flags with their words."""
        words = "".join(f" {word}" for word in flag_words(self.mr_flags))
        owner = self.mr_owner.rstrip(b"\0")

        return (
            f"RangeDesc({self.mr_base:#x}/{self.mr_len:#x}, {self.mr_flags:#x}{words}, {owner!r})"
        )


def fitting_descs(rows: Iterable[tuple[Any, ...]]) -> tuple[RangeDesc, ...]:
    """Descriptors of fields that fit, as a structure's do: unchecked, in 0.4 of the time."""
    made, new = [], object.__new__
    set_base, set_len, set_flags, set_owner = _DESC_SETTERS
    for mr_base, mr_len, mr_flags, mr_owner in rows:
        desc = new(RangeDesc)
        set_base(desc, mr_base)
        set_len(desc, mr_len)
        set_flags(desc, mr_flags)
        set_owner(desc, mr_owner)
        made.append(desc)

    return tuple(made)


#: What fills the slots of a frozen descriptor.
_DESC_SETTERS: Final = tuple(getattr(RangeDesc, name).__set__ for name in RangeDesc.__slots__)


@dataclass(frozen=True, slots=True)
class DataModel:
    """A C data model: a layout, with descriptors as values and tables as arrays.

    Attributes:
        layout: the structures and the numbers; the other attributes are its own.
        name: `LP64` or `ILP32`.
        desc: `struct mem_range_desc`.
        op: `struct mem_range_op`.
        get: the number of MEMRANGE_GET.
        set: the numbers of MEMRANGE_SET: FreeBSD's, then what `_IOW` makes on Linux.
    """

    layout: Layout = field(repr=False)
    name: str = field(init=False)
    desc: Struct = field(init=False, compare=False, repr=False)
    op: Struct = field(init=False, compare=False, repr=False)
    get: int = field(init=False)
    set: tuple[int, int] = field(init=False)

    def __post_init__(self) -> None:
        for name in ("name", "desc", "op", "get", "set"):
            object.__setattr__(self, name, getattr(self.layout, name))

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

        return fitting_descs(self.desc.iter_unpack(data))

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


#: 64-bit kernels: `struct mem_range_op` has 16 bytes, a descriptor 32.
LP64: Final = DataModel(LP64_LAYOUT)
#: i386 and powerpc: 12 bytes, and 28.
ILP32: Final = DataModel(ILP32_LAYOUT)

#: The data models that a kernel may have.
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
