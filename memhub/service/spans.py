"""A stretch of physical addresses as one mapping of what lies there, page by page.

A service hands out two files: one with the RAM, which is mapped shared, and one with the ROM and
some open bus, which nobody can write and which is mapped privately. What is written to a private
page stays with who wrote it, as the machine swallows writes there.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress

from memhub.abi_layout import PAGE_SIZE
from memhub.service import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap
    from collections.abc import Sequence
    from typing import Final, Protocol

    from memhub.core.replies import SharedMemory
    from memhub.errors import DeviceError

    class MappableFile(Protocol):
        """What hands out the two files, and keeps their descriptors open."""

        def map(self, *, write: bool = False) -> SharedMemory:
            """The one with the RAM."""

        def map_rom(self) -> SharedMemory:
            """The one with the rest."""


#: A mapping of more pieces is refused, as a kernel refuses too many mappings.
_PIECES_MAX: Final = 4096
_MAP_FIXED: Final = 0x10


class MapPiece:
    """A part of a span that lies in one file without a break.

    Attributes:
        fd: the file.
        offset: where the part begins in it, in whole pages.
        length: bytes, in whole pages.
        private: it is mapped privately.
    """

    __slots__ = ("fd", "length", "offset", "private")

    def __init__(self, fd: int, offset: int, length: int, *, private: bool) -> None:
        self.fd = fd
        self.offset = offset
        self.length = length
        self.private = private


def find_pieces(handle: MappableFile, base: int, length: int, *, write: bool) -> list[MapPiece]:
    """Find the pieces of a span, with as few grants as it takes; see `lay_out`."""
    from memhub.errors import NotSupported

    check_span(base, length)
    rom = ram = None
    with suppress(NotSupported):  # an older service
        rom = handle.map_rom()

    if not within(rom, base, length):
        ram = handle.map(write=write)

    return lay_out(ram, rom, base, length)


def within(rows: SharedMemory | None, base: int, length: int) -> bool:
    """Whether a span lies in a table without a gap, so that the other file is not needed."""
    at = base
    for start, size, _, _ in rows.rows if rows is not None else ():
        if start <= at < start + size:
            at = start + size

    return at >= base + length


def lay_out(
    ram: SharedMemory | None, rom: SharedMemory | None, base: int, length: int
) -> list[MapPiece]:
    """Find the pieces of a span.

    Args:
        ram: the file with the RAM; None where the span does not need it.
        rom: the file with the rest; None where the service has none.
        base: first physical byte.
        length: bytes.

    Raises:
        InvalidArgument: EINVAL; the span is empty, does not begin at a page, or ends past the
            physical address width.
        DeviceError: ENODEV; a device model answers there, or the service does not say what is
            there. ENOMEM; the span has too many pieces.
    """
    check_span(base, length)
    found: list[MapPiece] = []
    at, end = base, base + length + -length % PAGE_SIZE
    top = _end_of_tables(ram, rom)
    if rom is not None and end > top:
        raise _make_refusal(
            "EINVAL", f"{base:#x}/{length:#x} ends past the last physical address {top - 1:#x}"
        )

    while at < end:
        stop, piece = _rest_piece(rom, at, end) or _ram_piece(ram, at, end) or (0, None)
        if piece is None:
            raise _make_refusal("ENODEV", f"the service does not say what lies at {at:#x}")

        last = found[-1] if found else None
        if last and last.fd == piece.fd and last.offset + last.length == piece.offset:
            last.length += piece.length
        elif len(found) == _PIECES_MAX:
            raise _make_refusal(
                "ENOMEM", f"{base:#x}/{length:#x} has more than {_PIECES_MAX} pieces"
            )
        else:
            found.append(piece)

        at = stop

    return found


def check_span(base: int, length: int) -> None:
    """Refuse a span that is empty or does not begin at a page (EINVAL)."""
    if length <= 0 or base < 0 or base % PAGE_SIZE:
        raise _make_refusal("EINVAL", f"{base:#x}/{length:#x} is empty or does not begin at a page")


def _rest_piece(rom: SharedMemory | None, at: int, end: int) -> tuple[int, MapPiece] | None:
    """What the file without RAM has at `at`; its table is in whole pages."""
    index = bisect_right(rom.rows, at, key=_row_base) - 1 if rom is not None else -1
    if rom is None or index < 0:
        return None

    base, size, offset, kind = rom.rows[index]
    stop = min(base + size, end)
    if at >= stop:
        return None

    if kind == "device":
        raise _make_refusal("ENODEV", f"a device model answers at {at:#x}, and cannot be mapped")

    if kind == "open":
        stop = min(stop, at + wire.OPEN_BUS_SIZE)
        return stop, MapPiece(rom.fd, 0, stop - at, private=True)

    return stop, MapPiece(rom.fd, offset + at - base, stop - at, private=True)


def _row_base(row: tuple[int, int, int, str]) -> int:
    return row[0]


def _ram_piece(ram: SharedMemory | None, at: int, end: int) -> tuple[int, MapPiece] | None:
    """What the file with the RAM has at `at`; a page that is RAM in part is mapped from it."""
    index = bisect_right(ram.rows, at + PAGE_SIZE - 1, key=_row_base) - 1 if ram is not None else -1
    if ram is None or index < 0:
        return None

    base, size, offset, kind = ram.rows[index]
    stop = min(base + size + -(base + size) % PAGE_SIZE, end)
    if at >= stop:
        return None

    return stop, MapPiece(ram.fd, offset + at - base, stop - at, private=kind == "rom")


def _end_of_tables(ram: SharedMemory | None, rom: SharedMemory | None) -> int:
    """One past the last address of the tables, in whole pages."""
    ends = [it.rows[-1][0] + it.rows[-1][1] for it in (ram, rom) if it is not None and it.rows]
    top = max(ends, default=0)

    return top + -top % PAGE_SIZE


def _make_refusal(name: str, reason: str) -> DeviceError:
    from memhub.abi import Errno
    from memhub.errors import DeviceError, InvalidArgument

    return InvalidArgument(reason) if name == "EINVAL" else DeviceError(reason, code=Errno[name])


def map_pieces(pieces: Sequence[MapPiece], length: int, *, writable: bool) -> mmap.mmap:
    """Map pieces side by side.

    Args:
        pieces: in order.
        length: bytes of the mapping; the last page is mapped as a whole.
        writable: for writing too.

    Raises:
        DeviceError: ENOMEM; the system maps no more.
    """
    import ctypes
    import mmap

    library = ctypes.CDLL(None, use_errno=True)
    library.mmap.restype = ctypes.c_void_p
    library.mmap.argtypes = (
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    )  # fmt: skip
    prot = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    try:
        area = mmap.mmap(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot)
        at = _mapping_address(area)
        for piece in pieces:
            kind = (mmap.MAP_PRIVATE if piece.private else mmap.MAP_SHARED) | _MAP_FIXED
            if library.mmap(at, piece.length, prot, kind, piece.fd, piece.offset) != at:
                area.close()
                raise OSError(ctypes.get_errno(), "mmap")

            at += piece.length
    except (OSError, OverflowError) as error:
        raise _make_refusal(
            "ENOMEM", f"the system cannot map {length:#x} bytes: {error}"
        ) from error

    return area


def _mapping_address(area: mmap.mmap) -> int:
    """Where a mapping lies; `ctypes` itself tells that of writable ones only."""
    import ctypes

    view = (ctypes.c_void_p * 16)()  # a Py_buffer, which begins with the address
    ctypes.pythonapi.PyObject_GetBuffer(ctypes.py_object(area), view, 0)
    try:
        return view[0] or 0
    finally:
        ctypes.pythonapi.PyBuffer_Release(view)
