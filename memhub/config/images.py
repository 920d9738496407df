"""The `images` of a machine's table, as contents of its memory."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from memhub.config.values import choice, hex_bytes, integer, length_above_zero, text, u64
from memhub.core.memory.contents import fill_regions
from memhub.core.memory.kmem import KernelMemory
from memhub.core.memory.physical import PhysicalMemory
from memhub.core.memory.regions import sorted_regions
from memhub.core.ranges.firmware import settle_firmware
from memhub.core.spec import Content
from memhub.images.failure import ExtraMissing, ImageError
from memhub.images.patterns import address_words, fill, repeat
from memhub.images.reading import FORMATS, load_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from memhub.config.reader import Table
    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec

#: What an image is made of: each names one, and a row has one of them.
_SOURCES: Final = ("path", "hex", "fill", "pattern", "address_words")
_FORMAT: Final = choice({word: word for word in FORMATS}, "a format")


def read_images(table: Table) -> tuple[Content, ...]:
    """Read the images of one machine; what does not fit together is reported."""
    found: list[Content] = []
    for row in table.tables("images"):
        contents = _read_image(row)
        row.finish()
        if row.sound:
            found += contents

    return tuple(found)


def check_images(table: Table, spec: MachineSpec) -> None:
    """Report the images of a machine that its memory cannot hold."""
    try:
        fill_regions(
            sorted_regions(spec.memory, spec.cpu.phys_bits), spec.contents, spec.cpu.phys_bits
        )
    except ValueError as error:
        table.wrong("images", str(error))


def check_memory(table: Table, spec: MachineSpec, arch: Arch) -> None:
    """Report a memory map that no machine of an architecture can have.

    Args:
        table: the machine's table.
        spec: what was read of it.
        arch: its architecture, whose options are right.
    """
    spec, kernel = settle_firmware(spec, arch), arch.kernel_of(spec.options)
    what = "memory"
    try:
        memory = PhysicalMemory(spec.cpu.phys_bits, spec.memory, spec.contents)
        KernelMemory.make(replace(spec, kmem=(), kmem_entries=None), kernel, memory)
        what = "kmem"
        KernelMemory.make(spec, kernel, memory)
    except ValueError as error:
        table.wrong(what, str(error))


def _read_image(row: Table) -> tuple[Content, ...]:
    given = [name for name in _SOURCES if name in row]
    if len(given) != 1:
        known, said = ", ".join(_SOURCES), " and ".join(given) or "none"
        row.wrong("", f"has one of {known}; {said} given")
        for name in (*_SOURCES, "base", "length", "format", "offset"):
            row.take(name, lambda value: value, None)

        return ()

    if given == ["path"]:
        return _read_file(row)

    return _read_pattern(row, given[0])


def _read_file(row: Table) -> tuple[Content, ...]:
    name = row.take("path", text, "")
    kind = row.take("format", _FORMAT, None)
    base, offset = row.take("base", u64, None), row.take("offset", u64, 0)
    if not row.sound:
        return ()

    try:
        return load_image(row.folder / name, format=kind, base=base, offset=offset, shown=name)
    except (ImageError, ExtraMissing) as error:
        row.wrong("path", str(error))
    except OSError as error:
        row.wrong("path", f"{name!r} cannot be read: {error.strerror}")

    return ()


def _read_pattern(row: Table, kind: str) -> tuple[Content, ...]:
    base = row.need("base", u64, 0)
    if kind == "hex":
        data = row.take("hex", hex_bytes, b"")
        length = row.take("length", length_above_zero, len(data))
        if length < len(data):
            row.wrong("hex", f"holds {len(data):#x} bytes, more than the length {length:#x}")

        return (Content(base=base, data=data, zeros=max(length - len(data), 0)),)

    length = row.need("length", length_above_zero, 1)
    try:
        return (_make_pattern(row, kind, base, length),)
    except ValueError as error:
        row.wrong(kind, str(error))
        return ()


def _make_pattern(row: Table, kind: str, base: int, length: int) -> Content:
    if kind == "fill":
        return fill(base, length, row.take("fill", integer(0, 0xFF), 0))

    if kind == "pattern":
        return repeat(base, length, row.take("pattern", hex_bytes, b"\0"))

    width = row.take("address_words", integer(4, 8, shown=str), 8)

    return address_words(base, length, width)


def image_lines(contents: Iterable[Content], value: Any) -> Iterator[str]:  # noqa: ANN401
    """Contents as TOML that is read back to equal ones.

    Args:
        contents: the contents.
        value: what writes one value.
    """
    rows = list(contents)
    if not rows:
        return

    yield "images = ["
    for it in rows:
        what = f"hex = {value(it.data.hex())}" if it.data else "fill = 0"
        length = it.end - it.base
        sized = f", length = {length:#x}" if it.zeros else ""
        source = f"  # {value(it.source)}" if it.source else ""
        yield f"    {{ base = {value(it.base)}, {what}{sized} }},{source}"

    yield "]"
