"""Names of a kernel: from its ELF file, or from a list as nm(1) prints it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from images.files import Segment, elf
from kvm.kernel_rig import BASE, KERNEL
from memhub.images import ImageError
from memhub.kvm import read_symbols
from memhub.kvm.symbols import symbols_of

if TYPE_CHECKING:
    from pathlib import Path


def test_an_elf_file_names_its_symbols() -> None:
    found = read_symbols(KERNEL)

    assert found["start"] == BASE
    assert {"allproc", "proc0", "initproc", "root", "user"} <= set(found)


def test_a_list_is_read_as_nm_and_sysctl_print_it(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(
        "# kernel\n"
        "ffffffff80200048 D allproc\n"
        "0xc0100040 boothowto\n"
        "\n"
        "                 U outside\n"
        "0000000000000007 T twice\n"
        "0000000000000008 t twice\n"
        "ffffffff80a00000 T module_call\t[if_em]\n"
    )

    assert read_symbols(path) == {
        "allproc": 0xFFFFFFFF80200048,
        "boothowto": 0xC0100040,
        "twice": 7,
        "module_call": 0xFFFFFFFF80A00000,
    }


WRONG = {
    "no symbol": (b"ffffffff80200048 D allproc\nallproc\n", "line 2: 'allproc' is no symbol, as"),
    "too long": (b"11112222333344445 D x\n", "line 1: '11112222333344445 D x' is no symbol"),
    "nothing": (b"# nothing\n", "has no symbols"),
    "no text": (b"\xff\xfe\0\n", "line 1: .* is no symbol"),
    "an ELF file without symbols": (elf(Segment(0, b"x")), "has no symbols: neither .symtab nor"),
    "a cut ELF file": (KERNEL.read_bytes()[:3000], "is no sound ELF file"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_list_of_symbols_is_refused(tmp_path: Path, what: str) -> None:
    data, reason = WRONG[what]
    path = tmp_path / "list"
    path.write_bytes(data)

    with pytest.raises(ImageError, match=reason):
        read_symbols(path)


@pytest.mark.parametrize(
    ("symbols", "refusal", "reason"),
    [
        ({"a": "5"}, TypeError, "symbols: a"),
        ({5: 5}, TypeError, "symbols: a name"),
        ({"a": -1}, ValueError, "symbols: a: -0x1 does not fit 64 bits"),
        ({"a": 1 << 64}, ValueError, "symbols: a: 0x10000000000000000 does not fit 64 bits"),
    ],
)
def test_a_mapping_of_symbols_is_checked(
    symbols: Any, refusal: type[Exception], reason: str
) -> None:
    with pytest.raises(refusal, match=reason):
        symbols_of(symbols)
