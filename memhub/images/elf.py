"""ELF: kernels, boot images and memory dumps, by the physical addresses of their program headers.

A core of QEMU's `dump-guest-memory`, of FreeBSD's full dumps (`debug.minidump=0`), and of
`MemoryDump.save` has one PT_LOAD for each stretch of RAM. Where `p_memsz` is more than `p_filesz`,
the rest is zeros. A kernel that was linked with `p_paddr` equal to `p_vaddr` is placed by an
`offset`, which counts modulo 2^64.

Source: System V ABI, "Program Header"; FreeBSD `sys/kern/kern_dump.c`, QEMU `dump/dump.c`.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, Literal, NamedTuple

from memhub.images.failure import ImageError, import_extra, place_text, words_of
from memhub.images.sparse import read_contents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.spec import Content
    from memhub.images.sparse import Budget

MAGIC: Final = b"\x7fELF"
_U64: Final = (1 << 64) - 1
_ORDERS: Final[Mapping[int, Literal["little", "big"]]] = {1: "little", 2: "big"}
#: Bytes that a compressed section may expand to.
_EXPANDED_MAX: Final = 1 << 30
#: What the library raises for a file that is not sound, beside its own errors.
_UNSOUND: Final = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,  # NotImplementedError, RecursionError
)


class _Header(NamedTuple):
    """The ELF header of one class.

    Attributes:
        whole: its bytes.
        row: bytes of a program header.
        row_at: where e_phentsize is; e_phnum follows.
        table: the bytes that are e_shoff.
        section: bytes of a section header.
        info_at: where sh_info is in that.
    """

    whole: int
    row: int
    row_at: int
    table: slice
    section: int
    info_at: int


_HEADERS: Final = {
    1: _Header(52, 32, 42, slice(32, 36), 40, 28),
    2: _Header(64, 56, 54, slice(40, 48), 64, 44),
}
#: What e_phnum is where section 0 has the number of program headers, in sh_info.
_PN_XNUM: Final = 0xFFFF


class Load(NamedTuple):
    """One PT_LOAD: where it is in the file and in memory.

    Attributes:
        place: first byte in the file.
        size: bytes in the file.
        total: bytes in memory; the rest is zeros.
        physical: first physical address.
        virtual: first virtual address.
        header: where its program header is in the file.
    """

    place: int
    size: int
    total: int
    physical: int
    virtual: int
    header: int


def open_elf(file: IO[bytes], shown: str) -> Any:  # noqa: ANN401 - the library has no types
    """The file as pyelftools reads it.

    Raises:
        ImageError: it is no ELF file, or its headers contradict it.
        ExtraMissing: pyelftools is not installed.
    """
    elffile: Any = import_extra("elftools.elf.elffile", f"{shown} (ELF)")
    _check_header(file, shown)
    with refusing(shown):
        return elffile.ELFFile(file)


def _check_header(file: IO[bytes], shown: str) -> None:
    """Refuse a header that is cut, or of a class, byte order or row size that there is not."""
    file.seek(0)
    head = file.read(_HEADERS[2].whole)
    file.seek(0)
    kind = head[4] if len(head) > 4 else 1
    if kind not in _HEADERS:
        raise ImageError(shown, f"EI_CLASS {kind} is neither 1 (32 bits) nor 2 (64)", offset=4)

    form = _HEADERS[kind]
    if len(head) < form.whole:
        what = f"is truncated: {len(head)} of the {form.whole} bytes of an ELF header"
        raise ImageError(shown, what)

    if head[5] not in _ORDERS:
        what = f"EI_DATA {head[5]} is neither 1 (little-endian) nor 2 (big-endian)"
        raise ImageError(shown, what, offset=5)

    at, order = form.row_at, _ORDERS[head[5]]
    size, count = (int.from_bytes(head[it : it + 2], order) for it in (at, at + 2))
    if count and size < form.row:
        what = f"e_phentsize {size}: a program header of this class has {form.row} bytes"
        raise ImageError(shown, what, offset=at)

    if count == _PN_XNUM:
        _check_section_zero(file, shown, form, int.from_bytes(head[form.table], order))


def _check_section_zero(file: IO[bytes], shown: str, form: _Header, table: int) -> None:
    """Refuse a file whose section 0 does not have the number of program headers that it should."""
    end = os.fstat(file.fileno()).st_size
    what = ""
    if not table:
        what = "e_shoff is 0: there is no section 0"
    elif table + form.section > end:
        what = f"section 0, {table:#x}/{form.section:#x}, ends past the file's {end:#x} bytes"
    else:
        place = table + form.info_at
        if not any(os.pread(file.fileno(), 4, place)):
            what = f"the sh_info of section 0, at {place:#x}, is 0"

    if what:
        claim = f"e_phnum {_PN_XNUM:#x}: section 0 has the number of program headers, and "
        raise ImageError(shown, claim + what, offset=form.row_at + 2)


@contextmanager
def refusing(shown: str) -> Iterator[None]:
    """Let what pyelftools raises for an unsound file be an ImageError.

    Its own errors alone have words about the file.
    """
    exceptions: Any = import_extra("elftools.common.exceptions", f"{shown} (ELF)")
    construct: Any = import_extra("elftools.construct", f"{shown} (ELF)")
    own = (exceptions.ELFError, exceptions.DWARFError)
    try:
        yield
    except ImageError:
        raise
    except OSError as error:
        if error.errno != errno.EINVAL:  # of a seek to where no file has a byte
            raise

        raise ImageError(shown, "is no sound ELF file: an offset is not one of a file") from None
    except (*own, construct.ConstructError, *_UNSOUND) as error:
        what = "a header or table is cut or contradicts another"
        # where `construct` has failed they repeat its words, which name neither place nor value
        if isinstance(error, own) and not isinstance(error.__context__, construct.ConstructError):
            what = words_of(error)

        raise ImageError(shown, f"is no sound ELF file: {what}") from None


def check_sections(elf: Any, shown: str, size: int) -> None:  # noqa: ANN401
    """Refuse sections that are not in the file, or claim to be more than that when expanded.

    pyelftools would make as many bytes as they claim.

    Args:
        elf: of `open_elf`.
        shown: the file's name, for messages.
        size: bytes of the file.
    """
    with refusing(shown):
        for section in elf.iter_sections():
            place, claimed = section["sh_offset"], section["sh_size"]
            if section["sh_type"] == "SHT_NULL":
                continue

            if section["sh_type"] == "SHT_NOBITS":
                if section.name.startswith((".debug", ".zdebug", ".symtab", ".strtab")):
                    raise ImageError(shown, f"{section.name} has no bytes in the file")

                continue

            if place + claimed > size:
                what = f"section {section.name!r:.40} is truncated: {place:#x}/{claimed:#x} ends "
                raise ImageError(shown, f"{what}past the file's {size:#x} bytes", offset=place)

            if section.data_size > _EXPANDED_MAX:
                what = f"section {section.name!r:.40} claims {section.data_size:#x} bytes expanded"
                raise ImageError(shown, f"{what}, more than {_EXPANDED_MAX:#x}", offset=place)


def load_segments(elf: Any, file: IO[bytes], shown: str) -> Iterator[Load]:  # noqa: ANN401
    """The PT_LOADs of a file that have a byte in memory.

    Raises:
        ImageError: one is truncated, or holds more in the file than in memory.
    """
    end = os.fstat(file.fileno()).st_size
    with refusing(shown):
        count, first = elf.num_segments(), elf["e_phoff"]
        step = elf["e_phentsize"]

    if first + count * step > end:
        what = f"is truncated: {count} program headers of {step} bytes end past {end:#x}"
        raise ImageError(shown, what, offset=first)

    for number in range(count):
        with refusing(shown):
            header = elf.get_segment(number).header
            if header["p_type"] != "PT_LOAD":
                continue

            found = Load(
                header["p_offset"],
                header["p_filesz"],
                header["p_memsz"],
                header["p_paddr"],
                header["p_vaddr"],
                first + number * step,
            )

        _check_load(found, end, shown)
        if found.total:
            yield found


def _check_load(it: Load, end: int, shown: str) -> None:
    what = f"PT_LOAD at {it.physical:#x}: "
    if it.size > it.total:
        what += f"{it.size:#x} bytes in the file are more than {it.total:#x} in memory"
        raise ImageError(shown, what, offset=it.header)

    if it.place + it.size > end:
        what += f"is truncated: {it.place:#x}/{it.size:#x} ends past the file's {end:#x} bytes"
        raise ImageError(shown, what, offset=it.header)


def read_elf(file: IO[bytes], shown: str, budget: Budget, offset: int = 0) -> list[Content]:
    """The contents of an ELF file, by physical address.

    Args:
        file: the file, open without a buffer.
        shown: its name, for messages.
        budget: what it may bring.
        offset: added to each address, modulo 2^64.

    Raises:
        ImageError: it is no sound ELF file, is truncated, or has nothing to load.
        ExtraMissing: pyelftools is not installed.
    """
    found: list[Content] = []
    for it in load_segments(open_elf(file, shown), file, shown):
        budget.begin(offset=it.header)
        base = it.physical + offset & _U64
        source = place_text(shown, offset=it.place if it.size else it.header)
        found += read_contents(
            file, it.place, it.size, base, source, budget, zeros=it.total - it.size
        )

    if not found:
        raise ImageError(shown, "has no program header PT_LOAD, so nothing to load")

    return found
