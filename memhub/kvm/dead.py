"""Images as `/dev/kmem`: of a machine that is described, or by the addresses that a core says."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import orjson

from memhub.arches import load_arches
from memhub.audit.rows.description import spec_of
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.kvm import kvm_read
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.transfer import Transfer
from memhub.core.ranges.firmware import settle_firmware
from memhub.errors import BadAddress, NotSupported
from memhub.images.elf import load_segments, open_elf, refusing
from memhub.images.failure import ImageError
from memhub.images.sparse import Budget, read_contents
from memhub.images.writing import NOTE_NAME, NOTE_TYPE
from memhub.kvm.page_tables import PAGING, TABLE_FORMATS, PageTables, find_root
from memhub.kvm.stretches import Stretches

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import IO

    from memhub.abi import Buffer
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import Content, MachineSpec
    from memhub.kvm.minidump import DumpedPages, DumpedTables
    from memhub.kvm.page_tables import TableFormat

#: The longest description that a core may have of its machine.
_NOTE_MAX = 1 << 24


class DeadKernel:
    """The kernel memory of a machine as an image has it; `/dev/kmem`'s rules, and no writing.

    Args:
        transfer: the machine's.
        memory: what is behind it.
    """

    def __init__(self, transfer: Transfer, memory: PhysicalMemory) -> None:
        self._transfer = transfer
        self._memory = memory

    def pread(self, length: int, offset: int) -> bytes:
        """Read by the transfer rules of the machine's kernel."""
        return kvm_read(self._transfer, offset, length)

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Refuse: an image is not written."""
        raise NotSupported(f"an image is not written: {len(data)} bytes at {offset:#x}")

    def close(self) -> None:
        """Give the memory back."""
        self._memory.close()


class VirtualCore:
    """A core without a description, read by the virtual addresses of its program headers.

    A read goes on through stretches that touch, and ends short where they end.

    Args:
        contents: by virtual address, in order, none over another.
    """

    def __init__(self, contents: Sequence[Content]) -> None:
        self._stretches = Stretches(contents)

    def pread(self, length: int, offset: int) -> bytes:
        """Read; BadAddress (EFAULT) where no stretch has the first byte."""
        data = self._stretches.read(offset, length)
        if length and not data:
            raise BadAddress(f"kernel address {offset:#x} is in no program header of the core")

        return data

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Refuse: an image is not written."""
        raise NotSupported(f"an image is not written: {len(data)} bytes at {offset:#x}")

    def close(self) -> None:
        """Nothing is open."""


class TranslatedImage:
    """Physical memory of an image, read by virtual addresses that its own page tables translate.

    A read goes on from page to page, and ends short where the next one cannot be read.

    Args:
        tables: the page tables.
        memory: the physical memory.
    """

    def __init__(self, tables: PageTables | DumpedTables, memory: Stretches | DumpedPages) -> None:
        self._tables = tables
        self._memory = memory

    def pread(self, length: int, offset: int) -> bytes:
        """Read; BadAddress (EFAULT) where the first byte is not mapped, or not in the image."""
        parts: list[bytes] = []
        cursor, end = offset, offset + length
        while cursor < end:
            try:
                part = self._read_page(cursor, end - cursor)
            except BadAddress:
                if not parts:
                    raise

                break

            parts.append(part)
            cursor += len(part)

        return b"".join(parts)

    def pwrite(self, data: Buffer, offset: int) -> int:
        """Refuse: an image is not written."""
        raise NotSupported(f"an image is not written: {len(data)} bytes at {offset:#x}")

    def close(self) -> None:
        """Close the file of a minidump."""
        self._memory.close()

    def _read_page(self, address: int, length: int) -> bytes:
        place, rest = self._tables.physical(address)
        data = self._memory.read(place, min(rest, length))
        if not data:
            raise BadAddress(
                f"kernel address {address:#x} is the physical address {place:#x}, which is not in "
                "the image"
            )

        return data


def translated_image(
    contents: Iterable[Content],
    shown: str,
    format: TableFormat,  # noqa: A002 - as the caller says it
    symbols: Mapping[str, int],
    cr3: int | None,
) -> TranslatedImage:
    """An image by the page tables in it.

    Args:
        contents: what the image holds, by physical address.
        shown: the file's name, for messages.
        format: of the page tables.
        symbols: the kernel's.
        cr3: where the top table is; None reads it of the kernel's variable.

    Raises:
        ImageError: the format is none, or the image does not say where the top table is.
    """
    paging = PAGING.get(format)
    if paging is None:
        raise ImageError(shown, f"tables {format!r} is none of {', '.join(TABLE_FORMATS)}")

    memory = Stretches(sorted(contents, key=lambda it: it.base))
    try:
        root = find_root(paging, memory, symbols, cr3)
    except ValueError as error:
        raise ImageError(shown, f"has no page tables to walk: {error}") from None

    return TranslatedImage(PageTables(paging, root, memory), memory)


def dead_machine(
    spec: MachineSpec,
    contents: Iterable[Content],
    shown: str,
    arches: Mapping[str, Arch] | None = None,
) -> DeadKernel:
    """The kernel memory of a described machine over an image.

    Args:
        spec: the machine; what it says of the content of its RAM does not count.
        contents: what the image holds.
        shown: the file's name, for messages.
        arches: architectures by name; None loads those that are installed.

    Raises:
        ImageError: the architecture is not installed, or the image does not fit the machine.
    """
    known = load_arches() if arches is None else arches
    arch = dict(known).get(spec.arch)
    if arch is None:
        raise ImageError(shown, f"is of the architecture {spec.arch!r}, which is not installed")

    try:
        spec = settle_firmware(spec, arch)
        regions = [it if it.kind == "rom" else replace(it, data=b"") for it in spec.memory]
        memory = PhysicalMemory(spec.cpu.phys_bits, regions, contents)
        kernel = arch.kernel_of(spec.options)
        space = KernelMemory.make(spec, kernel, memory)
    except ValueError as error:
        raise ImageError(shown, f"does not fit the machine {spec.name!r}: {error}") from None

    return DeadKernel(Transfer(memory, space, kernel.rules, spec.wp_writes), memory)


def described_machine(file: IO[bytes], shown: str) -> MachineSpec | None:
    """The machine that an ELF core of memhub describes in its note; None where it has none.

    Raises:
        ImageError: the file or the note is not sound.
    """
    elf = open_elf(file, shown)
    with refusing(shown):
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_NOTE":
                text = _note_in(segment, shown)
                if text is not None:
                    return _machine_in(text, shown, segment["p_offset"])

    return None


def _note_in(segment: Any, shown: str) -> bytes | None:  # noqa: ANN401 - the library has no types
    if segment["p_filesz"] > _NOTE_MAX:
        what = f"has a note of {segment['p_filesz']:#x} bytes, more than {_NOTE_MAX:#x}"
        raise ImageError(shown, what, offset=segment["p_offset"])

    packed = segment.data()
    size, length, kind = (int.from_bytes(packed[at : at + 4], "little") for at in (0, 4, 8))
    place = 12 + -(-size // 4) * 4
    if packed[12 : 12 + size] != NOTE_NAME or kind != NOTE_TYPE:
        return None

    text: bytes = packed[place : place + length]

    return text


def _machine_in(text: bytes, shown: str, place: int) -> MachineSpec:
    try:
        found = orjson.loads(text)

        return spec_of(found["name"], found["arch"], found["config"], {})
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        what = f"describes no machine: {type(error).__name__} {error}"
        raise ImageError(shown, what, offset=place) from None


def virtual_core(file: IO[bytes], shown: str, limit: int) -> VirtualCore:
    """A core by its virtual addresses.

    Raises:
        ImageError: it says none, or two stretches share one.
    """
    found: list[Content] = []
    budget = Budget(shown, limit)
    for it in load_segments(open_elf(file, shown), file, shown):
        found += read_contents(
            file, it.place, it.size, it.virtual, shown, budget, zeros=it.total - it.size
        )

    found.sort(key=lambda it: it.base)
    if not any(it.base for it in found):
        what = "says no virtual addresses, nor which machine it is of: give the machine"
        raise ImageError(shown, what)

    for low, high in pairwise(found):
        if low.end > high.base:
            what = f"has the virtual address {high.base:#x} twice: give the machine"
            raise ImageError(shown, what)

    return VirtualCore(found)
