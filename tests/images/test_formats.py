"""Files become contents of memory; what is wrong with a file is said, and nothing is loaded."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.files import Segment, elf, ihex, lime, srec
from images.wrong_files import WRONG
from memhub.images import ExtraMissing, ImageError, load_image

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.core.spec import Content

GIB = 1 << 30


class Bytes:
    """A path of bytes, as some have on POSIX."""

    def __fspath__(self) -> bytes:
        return b"a.bin"


@pytest.fixture
def put(tmp_path: Path) -> Any:
    """Write a file, and tell its path."""

    def write(name: str, data: bytes | str) -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)

        return path

    return write


def spans(contents: tuple[Content, ...]) -> list[tuple[int, bytes, int]]:
    return [(it.base, it.data, it.zeros) for it in contents]


def test_a_raw_file_lies_where_its_base_says(put: Any) -> None:
    assert spans(load_image(put("rom.bin", b"hello"), base=0xF0000)) == [(0xF0000, b"hello", 0)]


def test_pages_of_zeros_of_a_file_take_no_memory(put: Any) -> None:
    data = bytes(8192) + b"x" * 4096 + bytes(4096) + b"y" + bytes(5000)
    found = load_image(put("a.img", data), base=0x1000)

    assert spans(found) == [
        (0x1000, b"", 8192),
        (0x3000, b"x" * 4096, 4096),
        (0x5000, b"y" + bytes(4095), 905),
    ]


@pytest.mark.skipif(not hasattr(os, "SEEK_DATA"), reason="holes are not told here")
def test_a_file_of_a_tebibyte_of_holes_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "sparse.img"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(1 << 39)
        file.write(b"middle")

    first, middle = load_image(path, base=0)

    assert (first.zeros, middle.base, middle.data[:6]) == (1 << 39, 1 << 39, b"middle")
    assert middle.end == 1 << 40


def test_intel_hex_is_read_with_both_kinds_of_address_records(put: Any) -> None:
    text = ihex(
        (4, 0, b"\x00\x10"), (0, 0x20, b"linear"), (2, 0, b"\xf0\x00"), (0, 5, b"segment"),
        (0, 12, b"!"), (5, 0, b"\0\0\0\0"), (1, 0, b""),
    )  # fmt: skip

    assert spans(load_image(put("fw.hex", text))) == [
        (0xF0005, b"segment!", 0),
        (0x100020, b"linear", 0),
    ]


@pytest.mark.parametrize("kind", [1, 2, 3])
def test_s_records_of_each_address_width_are_read(put: Any, kind: int) -> None:
    text = srec((0, 0, b"name"), (kind, 0x1234, b"da"), (kind, 0x1236, b"ta"), (10 - kind, 0, b""))

    assert spans(load_image(put("fw.s19", text))) == [(0x1234, b"data", 0)]


@pytest.mark.parametrize(("bits", "endian"), [(64, "<"), (64, ">"), (32, "<"), (32, ">")])
def test_elf_is_placed_by_physical_address_with_zeros_behind(
    put: Any, bits: int, endian: str
) -> None:
    data = elf(
        Segment(0x200000, b"text", vaddr=0x80200000),
        Segment(0x300000, b"data", memsz=0x2000),
        Segment(0x9000, b"note", kind=4),
        bits=bits,
        endian=endian,
    )

    assert spans(load_image(put("kernel", data))) == [
        (0x200000, b"text", 0),
        (0x300000, b"data", 0x2000 - 4),
    ]


def test_an_offset_moves_addresses_modulo_2_to_the_64(put: Any) -> None:
    kernel = elf(Segment(0xFFFFFFFF80200000, b"text"))

    (found,) = load_image(put("kernel", kernel), offset=0x80000000)
    (moved,) = load_image(put("a.hex", ihex((0, 4, b"x"), (1, 0, b""))), offset=0x1000)

    assert (found.base, moved.base) == (0x200000, 0x1004)


def test_a_segment_that_claims_2_to_the_63_bytes_of_zeros_costs_nothing(put: Any) -> None:
    (found,) = load_image(put("core", elf(Segment(0, b"x", memsz=1 << 63))))

    assert (found.data, found.end) == (b"x", 1 << 63)


def test_lime_dumps_are_read_stretch_by_stretch(put: Any) -> None:
    data = lime((0x1000, b"low" * 2), (4 * GIB, b"high"))

    found = load_image(put("ram.lime", data))

    assert spans(found) == [(0x1000, b"lowlow", 0), (4 * GIB, b"high", 0)]
    assert found[1].source.endswith("ram.lime at offset 0x46")


@pytest.mark.parametrize("what", WRONG)
def test_what_is_wrong_with_a_file_is_said(put: Any, what: str) -> None:
    name, data, arguments, reason = WRONG[what]

    with pytest.raises(ImageError) as refused:
        load_image(put(name, data), shown=name, **arguments)

    assert reason in str(refused.value)
    assert str(refused.value).startswith(name)


@pytest.mark.parametrize("wrong", [None, 5, b"a.bin", Bytes()])
def test_a_path_is_text_or_a_path(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"path .* is not text or a path of text"):
        load_image(wrong, base=0)


def test_a_limit_is_an_integer(put: Any) -> None:
    with pytest.raises(TypeError, match="limit None is not an integer"):
        load_image(put("a.bin", b"x"), base=0, limit=None)  # type: ignore[arg-type]


def test_the_last_bytes_of_an_address_are_taken(put: Any) -> None:
    top = ihex((4, 0, b"\xff\xff"), (0, 0xFFFC, b"abcd"), (1, 0, b""))
    assert spans(load_image(put("a.hex", top))) == [(0xFFFFFFFC, b"abcd", 0)]
    top = srec((1, 0xFFFF, b"x"), (2, 0xFFFFFF, b"y"), (3, 0xFFFFFFFF, b"z"), (7, 0, b""))
    bases = [it.base for it in load_image(put("a.srec", top))]
    assert bases == [0xFFFF, 0xFFFFFF, 0xFFFFFFFF]


def test_a_table_of_65534_headers_that_is_not_there_is_refused(put: Any) -> None:
    data = bytearray(elf(Segment(0, b"x")))
    data[56:58] = (65534).to_bytes(2, "little")

    with pytest.raises(ImageError, match="is truncated: 65534 program headers"):
        load_image(put("core", bytes(data)))


def test_what_a_file_may_bring_is_limited(put: Any) -> None:
    path = put("a.bin", b"x" * 10000)

    with pytest.raises(ImageError, match="brings more than 9999 bytes that are not zero"):
        load_image(path, base=0, limit=9999)

    assert load_image(path, base=0, limit=10000)


def test_a_folder_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_image(tmp_path / "none", base=0)

    with pytest.raises(IsADirectoryError):
        load_image(tmp_path, base=0)

    os.mkfifo(tmp_path / "pipe")  # which nobody writes: opening it waits for ever
    with pytest.raises(ImageError, match="is not a regular file"):
        load_image(tmp_path / "pipe", base=0)


def test_a_missing_extra_is_named(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bincopy", None)
    monkeypatch.setitem(sys.modules, "elftools.elf.elffile", None)

    with pytest.raises(ExtraMissing, match=r"pip install 'memhub\[images\]'") as refused:
        load_image(put("a.hex", ihex((1, 0, b""))))

    assert refused.value.name == "bincopy"
    with pytest.raises(ExtraMissing, match="elftools"):
        load_image(put("a", elf(Segment(0, b"x"))))


GOOD = (
    elf(Segment(0x1000, b"text", vaddr=5), Segment(0x3000, b"more" * 9, memsz=99)),
    elf(Segment(0x1000, b"text"), bits=32, endian=">"),
    lime((0x1000, b"abcd"), (0x9000, b"efgh")),
    ihex((4, 0, b"\0\1"), (0, 0, b"abc"), (1, 0, b"")).encode(),
    srec((0, 0, b"x"), (3, 0, b"abc"), (5, 1, b""), (7, 0, b"")).encode(),
)


@given(
    st.sampled_from(GOOD),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=4),
    st.integers(0, 300),
)
def test_a_damaged_file_is_refused_or_read_and_never_fails_otherwise(
    tmp_path_factory: pytest.TempPathFactory,
    good: bytes,
    damage: list[tuple[int, int]],
    cut: int,
) -> None:
    data = bytearray(good[: len(good) - cut] if cut < len(good) and cut < 50 else good)
    for at, byte in damage:
        if at < len(data):
            data[at] = byte

    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(data)
    for kind in ("elf", "lime", "ihex", "srec"):
        try:
            found = load_image(path, format=kind)
        except ImageError:
            continue

        assert found
        for low, high in pairwise(found):
            assert low.end <= high.base


@pytest.mark.parametrize(("bits", "endian", "place"), [(64, "<", 0x78), (32, ">", 0x54)])
def test_section_zero_has_the_number_of_headers_where_it_does_not_fit(
    put: Any, bits: int, endian: str, place: int
) -> None:
    one = (1).to_bytes(4, "little" if endian == "<" else "big")
    section = bytes(44) + one + bytes(16) if bits == 64 else bytes(28) + one + bytes(8)
    data = elf(Segment(0x1000, section), bits=bits, endian=endian, count=0xFFFF, sections=place)

    assert spans(load_image(put("core", data))) == [(0x1000, section, 0)]


def test_what_is_unsound_is_told_in_words_about_the_file(put: Any) -> None:
    """The number of sections is in section 0, of which the file has one byte."""
    data = elf(Segment(0x1000, b"x"), Segment(0, bytes(16), kind=2), sections=0xC0)

    with pytest.raises(ImageError) as refused:
        load_image(put("core", data), shown="core")

    assert str(refused.value) == (
        "core: is no sound ELF file: a header or table is cut or contradicts another"
    )
