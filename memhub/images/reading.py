"""A file as contents of physical memory, whatever its format."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, get_args

from memhub.abi import U64_MAX
from memhub.arguments import take_integer
from memhub.core.memory.contents import overlaps_in, sorted_contents
from memhub.images import elf, lime
from memhub.images.failure import ImageError
from memhub.images.records import read_ihex, read_srec
from memhub.images.sparse import DATA_MAX, Budget, open_regular, read_contents

if TYPE_CHECKING:
    from memhub.core.spec import Content

#: `raw` says no address; the others do.
ImageFormat = Literal["raw", "ihex", "srec", "elf", "lime"]
#: The formats that `load_image` reads.
FORMATS: Final[tuple[ImageFormat, ...]] = get_args(ImageFormat)

_SUFFIXES: Final[dict[str, ImageFormat]] = {
    **dict.fromkeys((".hex", ".ihex", ".ihx"), "ihex"),
    **dict.fromkeys((".srec", ".s19", ".s28", ".s37", ".mot"), "srec"),
}
_MAGICS: Final[tuple[tuple[bytes, ImageFormat], ...]] = (
    (elf.MAGIC, "elf"),
    (lime.MAGIC_BYTES, "lime"),
)
#: What FreeBSD writes that is no ELF core.
_MINIDUMP: Final = b"minidump FreeBSD/"


def load_image(
    path: str | os.PathLike[str],
    *,
    format: ImageFormat | None = None,  # noqa: A002 - as the configuration calls it
    base: int | None = None,
    offset: int = 0,
    limit: int = DATA_MAX,
    shown: str | None = None,
) -> tuple[Content, ...]:
    """Read a file as contents of physical memory; all of it or, with an error, nothing.

    What headers claim is checked against the file before anything is read, and holes and zeros
    take no memory.

    Args:
        path: the file.
        format: `raw`, `ihex`, `srec`, `elf` (a kernel or a core) or `lime`; None goes by the
            file's first bytes and then by its name's end, and else takes it for raw.
        base: of a raw file, the physical address of its first byte.
        offset: of the other formats, added to each address, modulo 2^64.
        limit: bytes other than zeros that the file may bring.
        shown: the file's name in messages; None takes the path.

    Returns:
        the contents in address order, none over another.

    Raises:
        ImageError: names the file, the place in it, the value and the rule.
        ExtraMissing: a library of the extra `memhub[images]` is not installed.
        OSError: the file cannot be read.
        TypeError: an argument has the wrong type.
    """
    name = path if isinstance(path, str) else getattr(path, "__fspath__", lambda: None)()
    if not isinstance(name, str):
        raise TypeError(f"path {path!r:.80} is not text or a path of text")

    shown = str(path) if shown is None else shown
    offset, limit = take_integer("offset", offset), take_integer("limit", limit)
    if limit < 0:
        raise ImageError(shown, f"limit {limit} is below 0")

    with open_regular(path, shown) as file:
        kind = _kind_of(file, Path(path), shown) if format is None else format
        if kind not in FORMATS:
            raise ImageError(shown, f"format {kind!r} is none of {', '.join(FORMATS)}")

        found = _read_kind(file, kind, shown, base, offset, Budget(shown, limit))

    return _checked(
        found, shown, moved=kind in ("ihex", "srec", "lime") and bool(offset), by=offset
    )


def _kind_of(file: IO[bytes], path: Path, shown: str) -> ImageFormat:
    head = os.pread(file.fileno(), 64, 0)
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind

    if _MINIDUMP in head:
        what = "is a FreeBSD minidump, and no ELF core: with debug.minidump=0 it writes one; "
        raise ImageError(shown, f"{what}memhub.kvm.open_image reads those of amd64")

    return _SUFFIXES.get(path.suffix.lower(), "raw")


def _read_kind(
    file: IO[bytes], kind: ImageFormat, shown: str, base: int | None, offset: int, budget: Budget
) -> list[Content]:
    if kind == "raw":
        return _read_raw(file, shown, base, offset, budget)

    if base is not None:
        what = f"base {base:#x}: {kind} says its addresses itself; an offset moves them"
        raise ImageError(shown, what)

    if kind == "elf":
        return elf.read_elf(file, shown, budget, offset)

    if kind == "lime":
        return lime.read_lime(file, shown, budget)

    with os.fdopen(os.dup(file.fileno()), "rb") as text:
        return (read_ihex if kind == "ihex" else read_srec)(text, shown, budget)


def _read_raw(
    file: IO[bytes], shown: str, base: int | None, offset: int, budget: Budget
) -> list[Content]:
    if base is None:
        raise ImageError(shown, "is raw, which says no address: give its base")

    if offset:
        raise ImageError(shown, f"offset {offset:#x}: a raw file is moved by its base")

    base = take_integer("base", base)
    size = os.fstat(file.fileno()).st_size
    if not 0 <= base <= U64_MAX:
        raise ImageError(shown, f"base {base:#x} is not an unsigned 64-bit address")

    found = read_contents(file, 0, size, base, shown, budget)

    return [replace(it, loose=True) for it in found]  # it cannot say where memory has holes


def _checked(found: list[Content], shown: str, *, moved: bool, by: int) -> tuple[Content, ...]:
    if not found:
        raise ImageError(shown, "is empty: there is nothing to load")

    if moved:
        found = [replace(it, base=it.base + by & U64_MAX) for it in found]

    for it in found:
        if it.end > U64_MAX + 1:
            span = f"{it.base:#x}/{it.end - it.base:#x}"
            raise ImageError(shown, f"{span} ends at {it.end:#x}, past the 64 bits of an address")

    for low, high in overlaps_in(sorted(found, key=lambda it: it.base)):
        first, second = (_place_within(it, shown) for it in (high, low))
        raise ImageError(shown, f"{first} overlaps {second}: a byte is given once")

    try:
        return sorted_contents(found, 64)
    except ValueError as error:
        raise ImageError(shown, str(error).removeprefix(f"{shown}: ")) from None


def _place_within(it: Content, shown: str) -> str:
    """The addresses of a content, and its place in the file that a message has named."""
    place = it.source.removeprefix(shown)

    return f"{it.base:#x}/{it.end - it.base:#x}{place}"
