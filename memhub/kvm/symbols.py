"""The names of a kernel: from its ELF file, from a list as nm(1) prints it, or as they are."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import U64_MAX
from memhub.arguments import take_integer, take_text
from memhub.images.elf import check_sections, open_elf, refusing
from memhub.images.failure import ImageError
from memhub.images.sparse import open_regular

if TYPE_CHECKING:
    #: A mapping of names to addresses, or a file that `read_symbols` reads.
    Names = Mapping[str, int] | str | os.PathLike[str]

#: Symbols that one file may bring; a kernel with all its modules has some hundred thousand.
SYMBOLS_MAX: Final = 1 << 22
_LINE: Final = re.compile(r"(?:0[xX])?([0-9a-fA-F]{1,16})\s+(?:(\S)\s+)?(\S+)(?:\s.*)?")
_LINE_MAX: Final = 1 << 16


def read_symbols(path: str | os.PathLike[str]) -> dict[str, int]:
    """The symbols of a file.

    Args:
        path: a kernel's ELF file, with `.symtab` or `.dynsym`; or text, a symbol on a line: its
            address in hexadecimal, with or without nm's letter, and its name. Undefined ones,
            empty lines and lines that begin with `#` say nothing.

    Returns:
        addresses by name; of two symbols with one name, a global one counts, else the first.

    Raises:
        ImageError: the file has no symbols, is not sound, or a line of it is none.
        ExtraMissing: it is ELF, and the extra `memhub[images]` is not installed.
        OSError: it cannot be read.
    """
    shown = str(path)
    with open_regular(path, shown) as raw, io.BufferedReader(raw) as file:
        if file.read(4) == b"\x7fELF":
            return _elf_symbols(file, shown)

        file.seek(0)
        return _text_symbols(file, shown)


def symbols_of(names: Names) -> Mapping[str, int]:
    """A mapping as it is; else `read_symbols`.

    Raises:
        TypeError: a name is no text, or an address no integer.
        ValueError: an address does not fit 64 bits.
    """
    if not isinstance(names, Mapping):
        return read_symbols(names)

    for name, address in names.items():
        take_text("symbols: a name", name)
        if not 0 <= take_integer(f"symbols: {name}", address) <= U64_MAX:
            raise ValueError(f"symbols: {name}: {address:#x} does not fit 64 bits")

    return names


def _elf_symbols(file: Any, shown: str) -> dict[str, int]:  # noqa: ANN401 - a binary file
    elf = open_elf(file, shown)
    check_sections(elf, shown, os.fstat(file.fileno()).st_size)
    found: dict[str, int] = {}
    weak: dict[str, int] = {}
    with refusing(shown):
        for name in (".symtab", ".dynsym"):
            section = elf.get_section_by_name(name)
            if section is None or section["sh_entsize"] == 0:
                continue

            if section.num_symbols() > SYMBOLS_MAX:
                what = f"{name} counts {section.num_symbols()} symbols, more than {SYMBOLS_MAX}"
                raise ImageError(shown, what, offset=section["sh_offset"])

            for it in section.iter_symbols():
                if it["st_shndx"] == "SHN_UNDEF" or not it.name:
                    continue

                into = found if it["st_info"]["bind"] == "STB_GLOBAL" else weak
                into.setdefault(it.name, it["st_value"])

    if not (found or weak):
        raise ImageError(shown, "has no symbols: neither .symtab nor .dynsym names any")

    return {**weak, **found}


def _text_symbols(file: Any, shown: str) -> dict[str, int]:  # noqa: ANN401 - a binary file
    found: dict[str, int] = {}
    number = 0
    while packed := file.readline(_LINE_MAX):
        number += 1
        text = packed.decode("utf-8", "replace").strip()
        if not text or text.startswith("#") or (text[0] in "Uwv" and text[1:2].isspace()):
            continue

        match = _LINE.fullmatch(text)
        if match is None or int(match[1], 16) > U64_MAX:
            what = f"{text[:60]!r} is no symbol, as 'ffffffff80200048 D allproc'"
            raise ImageError(shown, what, line=number)

        if len(found) >= SYMBOLS_MAX:
            raise ImageError(shown, f"has more than {SYMBOLS_MAX} symbols", line=number)

        if match[2] not in ("U", "u") or int(match[1], 16):
            found.setdefault(match[3], int(match[1], 16))

    if not found:
        raise ImageError(shown, "has no symbols")

    return found
