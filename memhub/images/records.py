"""Intel HEX and Motorola S-records: each line checked by the library bincopy, and placed here.

A file that does not end with the record that its format ends with has been cut.

Sources: Intel, "Hexadecimal Object File Format Specification" (1988); Motorola, "M68000 Family
Programmer's Reference Manual", appendix C.
"""

from __future__ import annotations

import os
import re
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple

from memhub.core.spec import Content
from memhub.images.failure import ImageError, import_extra, place_text, words_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from memhub.images.sparse import Budget

    Unpack = Callable[[str], tuple[Any, int, int, bytes]]

#: Bytes that a file of records may have.
TEXT_MAX: Final = 1 << 29
#: Characters of the longest record, with room to spare.
_LINE_MAX: Final = 1024
_SEGMENT: Final = 1 << 16
_NO_DIGIT: Final = re.compile(rb"[^0-9A-Fa-f\s]")
#: Bits of the address of each kind of S-record with data.
_S_BITS: Final = {"1": 16, "2": 24, "3": 32}


class Record(NamedTuple):
    """One line: its number, what kind of record it is, and what the record says."""

    line: int
    kind: Any
    address: int
    data: bytes


class Placed(NamedTuple):
    """Bytes at an address, and the line that says so."""

    address: int
    data: bytes
    line: int


def read_ihex(file: IO[bytes], shown: str, budget: Budget) -> list[Content]:
    """The contents of an Intel HEX file.

    Args:
        file: the file.
        shown: its name, for messages.
        budget: what it may bring.

    Raises:
        ImageError: a record is wrong, two give one byte, or the end is missing.
        ExtraMissing: bincopy is not installed.
    """
    return _merge(shown, _place_ihex(shown, _records(file, shown, "ihex", budget)), budget)


def read_srec(file: IO[bytes], shown: str, budget: Budget) -> list[Content]:
    """The contents of a file of Motorola S-records; see `read_ihex`."""
    return _merge(shown, _place_srec(shown, _records(file, shown, "srec", budget)), budget)


def _records(file: IO[bytes], shown: str, kind: str, budget: Budget) -> Iterator[Record]:
    bincopy: Any = import_extra("bincopy", f"{shown} ({kind})")
    size = os.fstat(file.fileno()).st_size
    if size > TEXT_MAX:
        raise ImageError(shown, f"has {size} bytes of text, more than {TEXT_MAX}")

    unpack: Unpack = bincopy.unpack_ihex if kind == "ihex" else bincopy.unpack_srec
    number = 0
    while text := file.readline(_LINE_MAX):
        number += 1
        if len(text) == _LINE_MAX and not text.endswith(b"\n"):
            raise ImageError(shown, f"is longer than {_LINE_MAX} characters", line=number)

        record = text.strip().decode("latin-1")
        if not record:
            continue

        try:
            found, address, _, data = unpack(record)
        except bincopy.Error as error:
            raise ImageError(shown, f"is no record: {words_of(error)}", line=number) from None
        except (ValueError, LookupError):
            raise ImageError(shown, f"is no record: {_why_no_digits(text)}", line=number) from None

        budget.take(len(data), line=number)
        yield Record(number, found, address, bytes(data))


def _why_no_digits(text: bytes) -> str:
    """Why what follows the mark of a record is not the digits of bytes."""
    bad = _NO_DIGIT.search(text.rstrip(), text.find(text.strip()) + 1)
    if bad is None:
        return "its hexadecimal digits do not come in pairs"

    shown = f"{bad[0][0]:#04x}" if bad[0][0] > 0x7E else repr(bad[0].decode("ascii"))

    return f"{shown} in column {bad.start() + 1} is not a hexadecimal digit"


def _place_ihex(shown: str, records: Iterator[Record]) -> Iterator[Placed]:
    base, bits, segmented, ended = 0, 16, False, False
    for it in records:
        if ended:
            raise ImageError(shown, "follows the end record (type 01)", line=it.line)

        if it.kind == 0:
            if segmented and it.address + len(it.data) > _SEGMENT:
                what = f"{it.address:#x}/{len(it.data):#x} wraps around its segment of 64 KiB"
                raise ImageError(shown, what, line=it.line)

            _check_bits(shown, it, base + it.address, bits)
            yield Placed(base + it.address, it.data, it.line)
        elif it.kind in (2, 4):
            if len(it.data) != 2:
                what = f"is an address record of {len(it.data)} bytes, and not of 2"
                raise ImageError(shown, what, line=it.line)

            segmented, bits = it.kind == 2, 32
            base = int.from_bytes(it.data, "big") << (4 if segmented else 16)
        elif it.kind == 1:
            ended = True
        elif it.kind not in (3, 5):  # where a program starts, which memory does not keep
            what = f"has the type {it.kind:#04x}, which Intel HEX does not have"
            raise ImageError(shown, what, line=it.line)

    if not ended:
        raise ImageError(shown, "is truncated: it does not end with an end record (type 01)")


def _place_srec(shown: str, records: Iterator[Record]) -> Iterator[Placed]:
    count, ended, last = 0, False, False
    for it in records:
        if last:
            raise ImageError(shown, "follows the termination record (S7 to S9)", line=it.line)

        if it.kind in "123":
            if ended:
                raise ImageError(shown, "is data behind the count of data records", line=it.line)

            count += 1
            _check_bits(shown, it, it.address, _S_BITS[it.kind])
            yield Placed(it.address, it.data, it.line)
        elif it.kind in "56":
            ended = True
            if it.address != count:
                what = f"counts {it.address} data records, and {count} are there"
                raise ImageError(shown, what, line=it.line)

        elif it.kind in "789":
            last = True

    if not (ended or last):
        what = "is truncated: it has no termination record (S7 to S9) and no count (S5, S6)"
        raise ImageError(shown, what)


def _check_bits(shown: str, it: Record, address: int, bits: int) -> None:
    if address + len(it.data) > 1 << bits:
        what = f"{address:#x}/{len(it.data):#x} does not fit the {bits} bits of its address"
        raise ImageError(shown, what, line=it.line)


class Run:
    """Records that touch, in the order in which the file has them.

    Args:
        placed: the first of them.
    """

    __slots__ = ("base", "data", "first", "last")

    def __init__(self, placed: Placed) -> None:
        self.base = placed.address
        self.data = bytearray(placed.data)
        self.first = self.last = placed.line

    @property
    def end(self) -> int:
        """One past the last byte."""
        return self.base + len(self.data)

    def __str__(self) -> str:
        return (
            f"line {self.first}"
            if self.first == self.last
            else (f"lines {self.first} to {self.last}")
        )


def _merge(shown: str, placed: Iterator[Placed], budget: Budget) -> list[Content]:
    """Join what touches; two that give one byte are refused."""
    runs: list[Run] = []
    for it in placed:
        if not it.data:
            continue

        if runs and runs[-1].end == it.address:
            runs[-1].data += it.data
            runs[-1].last = it.line
        else:
            budget.begin(line=it.line)
            runs.append(Run(it))

    runs.sort(key=lambda run: run.base)
    for low, high in pairwise(runs):
        if low.end > high.base:
            what = f"gives the byte at {high.base:#x} again, which {low} has"
            raise ImageError(shown, what, line=high.first)

    return [
        Content(base=it.base, data=bytes(it.data), source=place_text(shown, line=it.first))
        for it in runs
    ]
