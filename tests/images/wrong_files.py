"""Files that are no images: name, bytes, arguments, and what is said of them."""

from __future__ import annotations

from typing import Any

from images.files import Segment, elf, ihex, lime, srec

HEADER = lime((0x1000, b"abcd"))
WRONG: dict[str, tuple[str, bytes | str, dict[str, Any], str]] = {
    "raw without a base": ("a.bin", b"x", {}, "is raw, which says no address: give its base"),
    "raw with an offset": ("a.bin", b"x", {"base": 0, "offset": 1}, "offset 0x1: a raw file is"),
    "a base past 64 bits": ("a.bin", b"x", {"base": 1 << 64}, "base 0x10000000000000000 is not an"),
    "raw past the end": ("a.bin", b"xy", {"base": (1 << 64) - 1}, "ends at 0x10000000000000001"),
    "an empty file": ("a.bin", b"", {"base": 0}, "is empty: there is nothing to load"),
    "a base for ELF": ("a", elf(Segment(0, b"x")), {"base": 4}, "base 0x4: elf says its addresses"),
    "no such format": ("a", b"x", {"format": "coff"}, "format 'coff' is none of raw, ihex, srec,"),
    "hex: a bad sum": ("a.hex", ":0100000041BF\n", {}, "line 1: is no record: expected crc"),
    "hex: short": ("a.hex", ":00000001\n", {}, "line 1: is no record"),
    "hex: no digits": (
        "a.hex",
        " :00z00000001FFxx\n",
        {},
        "a.hex line 1: is no record: 'z' in column 5 is not a hexadecimal digit",
    ),
    "hex: not ASCII": (
        "a.hex",
        b":000000\xff01FF\n",
        {},
        "a.hex line 1: is no record: 0xff in column 8 is not a hexadecimal digit",
    ),
    "hex: half a byte": (
        "a.hex",
        ":00000001FFF\n",
        {},
        "a.hex line 1: is no record: its hexadecimal digits do not come in pairs",
    ),
    "srec: no digits": (
        "a.srec",
        "S1G500004142FF\n",
        {},
        "a.srec line 1: is no record: 'G' in column 3 is not a hexadecimal digit",
    ),
    "hex: cut": ("a.hex", ihex((0, 0, b"x")), {}, "is truncated: it does not end with an end"),
    "hex: cut in a line": ("a.hex", ihex((0, 0, b"xyz"))[:-4], {}, "line 1: is no record"),
    "hex: after the end": ("a.hex", ihex((1, 0, b""), (0, 0, b"x")), {}, "line 2: follows the end"),
    "hex: a type": ("a.hex", ihex((9, 0, b""), (1, 0, b"")), {}, "line 1: has the type 0x09"),
    "hex: an address": ("a.hex", ihex((4, 0, b"x")), {}, "line 1: is an address record of 1 bytes"),
    "hex: wraps": (
        "a.hex",
        ihex((2, 0, b"\0\0"), (0, 0xFFFF, b"xy")),
        {},
        "line 2: 0xffff/0x2 wraps around its segment",
    ),
    "hex: twice": (
        "a.hex",
        ihex((0, 0, b"abcd"), (0, 3, b"x"), (1, 0, b"")),
        {},
        "line 2: gives the byte at 0x3 again, which line 1 has",
    ),
    "hex: a long line": ("a.hex", ":" + "00" * 600, {}, "line 1: is longer than 1024 characters"),
    "srec: a bad sum": ("a.srec", "S10500004142FF\n", {}, "line 1: is no record: expected crc"),
    "srec: cut": ("a.srec", srec((1, 0, b"x")), {}, "is truncated: it has no termination record"),
    "srec: a count": (
        "a.srec",
        srec((1, 0, b"x"), (5, 2, b"")),
        {},
        "line 2: counts 2 data records, and 1 are there",
    ),
    "srec: after the end": (
        "a.srec",
        srec((9, 0, b""), (1, 0, b"x")),
        {},
        "line 2: follows the termination record",
    ),
    "lime: cut in a header": (
        "a",
        HEADER + HEADER[:9],
        {},
        "offset 0x24: is truncated: 9 of the 32",
    ),
    "lime: cut in a stretch": (
        "a",
        HEADER[:-1],
        {},
        "offset 0x20: is truncated: 0x1000/0x4 has 0x3",
    ),
    "lime: version 2": (
        "a",
        HEADER[:4] + b"\2" + HEADER[5:],
        {},
        "offset 0x4: is a LiME header of version 2",
    ),
    "lime: rubbish behind": (
        "a",
        HEADER + bytes(32),
        {},
        "offset 0x24: 0x00000000 is not the magic",
    ),
    "lime: backwards": (
        "a",
        HEADER[:16] + bytes(16) + b"abcd",
        {},
        "offset 0x8: the stretch ends at 0x0, before it begins at 0x1000",
    ),
    "lime: all of memory": (
        "a",
        HEADER[:8] + bytes(8) + b"\xff" * 8 + HEADER[24:],
        {},
        "is truncated: 0x0/0x10000000000000000 has 0x4 bytes in the file",
    ),
    "lime: overlaps": (
        "a",
        lime((0x1000, b"abcd"), (0x1003, b"x")),
        {},
        "overlaps",
    ),
    "elf: cut": ("a", elf(Segment(0, b"x"))[:40], {}, "is truncated: 40 of the 64 bytes of an ELF"),
    "elf: magic alone": ("a", b"\x7fELF", {}, "is truncated: 4 of the 52 bytes of an ELF header"),
    "elf: cut, 32 bits": ("a", elf(bits=32)[:51], {}, "is truncated: 51 of the 52 bytes of an ELF"),
    "elf: class": (
        "a",
        elf()[:4] + b"\t" + elf()[5:],
        {},
        "offset 0x4: EI_CLASS 9 is neither 1 (32 bits) nor 2 (64)",
    ),
    "elf: order": (
        "a",
        elf()[:5] + b"\0" + elf()[6:],
        {},
        "offset 0x5: EI_DATA 0 is neither 1 (little-endian) nor 2 (big-endian)",
    ),
    "elf: small headers": (
        "a",
        elf(Segment(0, b"x"), endian=">")[:54] + b"\0\x08" + elf(Segment(0, b"x"), endian=">")[56:],
        {},
        "offset 0x36: e_phentsize 8: a program header of this class has 56 bytes",
    ),
    "a limit below 0": ("a", b"x", {"base": 0, "limit": -1}, "limit -1 is below 0"),
    "hex: past 32 bits": (
        "a.hex",
        ihex((4, 0, b"\xff\xff"), (0, 0xFFFE, b"abcd"), (1, 0, b"")),
        {},
        "line 2: 0xfffffffe/0x4 does not fit the 32 bits of its address",
    ),
    "hex: past 16 bits": (
        "a.hex",
        ihex((0, 0xFFFF, b"xy"), (1, 0, b"")),
        {},
        "line 1: 0xffff/0x2 does not fit the 16 bits of its address",
    ),
    "srec: past 16 bits": (
        "a.srec",
        srec((1, 0xFFFF, b"xy"), (9, 0, b"")),
        {},
        "line 1: 0xffff/0x2 does not fit the 16 bits of its address",
    ),
    "srec: past 24 bits": (
        "a.srec",
        srec((2, 0xFFFFFF, b"xy"), (8, 0, b"")),
        {},
        "line 1: 0xffffff/0x2 does not fit the 24 bits of its address",
    ),
    "srec: past 32 bits": (
        "a.srec",
        srec((3, 0xFFFFFFFF, b"xy"), (7, 0, b"")),
        {},
        "line 1: 0xffffffff/0x2 does not fit the 32 bits of its address",
    ),
    "elf: cut in a segment": (
        "a",
        elf(Segment(0x9000, b"xyz"))[:-1],
        {},
        "offset 0x40: PT_LOAD at 0x9000: is truncated: 0x78/0x3 ends past the file's 0x7a bytes",
    ),
    "elf: more in the file": (
        "a",
        elf(Segment(0x9000, b"xyz", memsz=2)),
        {},
        "PT_LOAD at 0x9000: 0x3 bytes in the file are more than 0x2 in memory",
    ),
    "elf: nothing to load": (
        "a",
        elf(Segment(0, b"x", kind=4)),
        {},
        "has no program header PT_LOAD",
    ),
    "elf: overlaps": (
        "a",
        elf(Segment(0, b"abcd"), Segment(2, b"x")),
        {},
        "a: 0x2/0x1 at offset 0xb4 overlaps 0x0/0x4 at offset 0xb0: a byte is given once",
    ),
    "elf: more headers than it says, without a section": (
        "a",
        elf(Segment(0, b"x"), count=0xFFFF),
        {},
        (
            "a at offset 0x38: e_phnum 0xffff: section 0 has the number of program headers, and "
            "e_shoff is 0: there is no section 0"
        ),
    ),
    "elf: more headers than it says, with a section past the end": (
        "a",
        elf(Segment(0, b"x"), count=0xFFFF, sections=0x100),
        {},
        "section 0, 0x100/0x40, ends past the file's 0x79 bytes",
    ),
    "elf: more headers than it says, and section 0 says none": (
        "a",
        elf(Segment(0, bytes(0x40)), bits=32, endian=">", count=0xFFFF, sections=0x54),
        {},
        (
            "a at offset 0x2c: e_phnum 0xffff: section 0 has the number of program headers, and "
            "the sh_info of section 0, at 0x70, is 0"
        ),
    ),
    "a minidump": (
        "a",
        b"minidump FreeBSD/amd64\0\0",
        {"base": 0},
        "is a FreeBSD minidump, and no",
    ),
}
