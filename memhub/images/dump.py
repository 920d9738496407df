"""What the RAM of a machine holds at a moment, as a value that is saved to a file."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import orjson

from memhub.abi import PAGE_SIZE
from memhub.arguments import take_integer
from memhub.core.caches.make import capture_caches
from memhub.core.caches.seen import SeenMemory, see_memory
from memhub.core.deciding.loading import NOT_RAM
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.spec import Content, MachineSpec
from memhub.images.failure import ImageError
from memhub.images.writing import write_core, write_lime, write_raw
from memhub.whole_file import open_whole

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    from memhub.core.caches.content import CachesContent
    from memhub.core.caches.seen import DumpView
    from memhub.core.machine import Machine
    from memhub.core.memory.physmap import Extent
    from memhub.core.snapshots import MachineSnapshot

#: The formats that memory is saved in.
DumpFormat = Literal["elf", "lime", "raw"]
#: The formats that `MemoryDump.save` writes.
DUMP_FORMATS: Final[tuple[DumpFormat, ...]] = get_args(DumpFormat)

#: `e_machine` by the first letters of an architecture's name; the longest that fits counts.
_MACHINES: Final = {
    "amd64": 62,
    "i386": 3,
    "k6": 3,
    "arm64": 183,
    "powerpc": 20,
    "powerpc64": 21,
}
_ZEROS: Final = bytes(PAGE_SIZE)


@dataclass(frozen=True, slots=True)
class MemoryDump:
    """The RAM of one machine at a moment.

    Attributes:
        spec: the machine.
        contents: all of its RAM in address order: runs of touched pages, and the zeros between.
        hidden: bytes that a cache or a combining buffer has newer, and that are not in `contents`;
            0 where memory is coherent.
        config: what describes the machine in the note of an ELF core, as JSON text.
    """

    spec: MachineSpec
    contents: tuple[Content, ...] = field(repr=False)
    hidden: int = field(default=0, kw_only=True)
    config: str = field(default="", repr=False, compare=False)

    @property
    def touched(self) -> int:
        """Bytes of the pages that hold something."""
        return sum(len(it.data) for it in self.contents)

    def save(
        self,
        path: str | os.PathLike[str],
        format: DumpFormat = "elf",  # noqa: A002 - as `load_image` calls it
        *,
        base: int | None = None,
        length: int | None = None,
    ) -> None:
        """Write it to a file, which appears whole or not at all.

        Args:
            path: the file; one that is there is replaced.
            format: `elf`, a core that covers all of the RAM and describes the machine; `lime`, with
                the touched pages alone; `raw`, a sparse file.
            base: of a raw file, the physical address of its first byte; None takes the first of
                the RAM.
            length: of a raw file, its bytes; None goes on to the last byte of the RAM.

        Raises:
            ImageError: the machine has no RAM, or no RAM is in the stretch of a raw file.
            OSError: the file cannot be written; EFBIG where the file system holds no file of the
                length.
        """
        path = Path(path)
        if format not in DUMP_FORMATS:
            raise ImageError(path, f"format {format!r} is none of {', '.join(DUMP_FORMATS)}")

        if format != "raw" and not (base is length is None):
            raise ImageError(
                path, f"base and length are of a raw file; {format} says its addresses"
            )

        if not self.contents:
            raise ImageError(path, f"{self.spec.name} has no RAM to save")

        low, size = self._span(path, base, length)
        try:
            with open_whole(path, special="write", mode=0o600) as file:
                if format == "elf":
                    note = orjson.dumps({**_named(self.spec), "config": self.config})
                    write_core(file, self.contents, _machine_number(self.spec.arch), note)
                elif format == "lime":
                    write_lime(file, self.contents)
                else:
                    write_raw(file, self.contents, low, size)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise

            raise OSError(error.errno, error.strerror, str(path)) from None

    def _span(self, path: Path, base: int | None, length: int | None) -> tuple[int, int]:
        low = self.contents[0].base if base is None else take_integer("base", base)
        if length is not None and take_integer("length", length) < 0:
            raise ImageError(path, f"length {length} is below 0")

        high = self.contents[-1].end if length is None else low + take_integer("length", length)
        if (
            high <= low
            or low < 0
            or not any(it.base < high and low < it.end for it in self.contents)
        ):
            what = f"no RAM of {self.spec.name} is in {low:#x}/{high - low:#x}"
            raise ImageError(path, what)

        return low, high - low


def dump_machine(machine: Machine, config: str, view: DumpView = "bus") -> MemoryDump:
    """What the RAM of a machine holds now; nothing of the machine changes.

    Args:
        machine: the machine.
        config: its description as JSON text, for the note of an ELF core.
        view: who sees it, where memory is not coherent.

    Raises:
        BadHandle: EBADF; its memory is closed.
        DeviceError: ENOMEM; the host has no memory left.
    """
    memory = machine.memory
    memory.files.check()
    pages = memory.files.pages() if memory.touched else memory.capture().pages()

    return _dump(machine.spec, memory, pages, capture_caches(machine.caches), config, view)


def dump_snapshot(snapshot: MachineSnapshot, config: str, view: DumpView = "bus") -> MemoryDump:
    """What the RAM of a machine held when a snapshot was taken; arguments as `dump_machine`."""
    spec = snapshot.spec
    memory = PhysicalMemory(spec.cpu.phys_bits, spec.memory)

    return _dump(spec, memory, snapshot.memory.pages(), snapshot.caches, config, view)


def _dump(
    spec: MachineSpec,
    memory: PhysicalMemory,
    pages: Mapping[int, bytes],
    caches: CachesContent | None,
    config: str,
    view: DumpView,
) -> MemoryDump:
    ram = [it for it in memory.extents if it.kind not in NOT_RAM]
    seen = SeenMemory(pages, 0)
    if caches is not None:
        seen = see_memory(spec, ram, pages, caches, view)

    return MemoryDump(spec, tuple(_cover(ram, seen.pages)), config, hidden=seen.hidden)


def _named(spec: MachineSpec) -> dict[str, Any]:
    return {"name": spec.name, "arch": spec.arch}


def _machine_number(arch: str) -> int:
    fitting = [name for name in _MACHINES if arch.startswith(name)]

    return _MACHINES[max(fitting, key=len)] if fitting else 0


def _cover(extents: Sequence[Extent], pages: Mapping[int, bytes]) -> Iterator[Content]:
    """The RAM as contents: each run of pages with the zeros behind it."""
    places = sorted(pages)
    for extent in extents:
        start, data = 0, b""
        for at, found in _runs_in(extent, pages, places):
            if at > start or data:
                yield _content(extent, start, data, at)

            start, data = at, found

        yield _content(extent, start, data, extent.length)


def _content(extent: Extent, start: int, data: bytes, end: int) -> Content:
    return Content(base=extent.base + start, data=data, zeros=end - start - len(data))


def _runs_in(
    extent: Extent, pages: Mapping[int, bytes], places: Sequence[int]
) -> Iterator[tuple[int, bytes]]:
    """The runs of touched pages in an extent: how far from its base, and the bytes."""
    first, last = extent.offset, extent.offset + extent.length
    run: list[bytes] = []
    begin = end = 0
    for at in places[bisect_left(places, first - first % PAGE_SIZE) :]:
        if at >= last:
            break

        low, high = max(at, first), min(at + PAGE_SIZE, last)
        part = pages[at][low - at : high - at]
        if part == _ZEROS[: len(part)]:
            continue  # what the page holds is of a neighbour

        if run and low != end:
            yield begin - first, b"".join(run)
            run = []

        begin = begin if run else low
        run.append(part)
        end = high

    if run:
        yield begin - first, b"".join(run)
