"""Files of recorded answers: JSON lines, plain or gzip, as checked values.

Five kinds of line, told apart by their keys: what a driver answered step by step (`steps`), what
a kernel's read, write and lseek answered (`steps` and `machine`, see
`memhub.rig.transfer_traces`), what another kernel answered (`kernel`), the type of addresses under
some registers (`types`), and a text that a real machine printed (`text`) with the table and the
types that belong to it.
"""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from memhub.abi import U64_MAX
from memhub.core.drivers.driver import Cpu
from memhub.escape import EscapedMessage
from memhub.rig.json_values import checked, needed
from memhub.rig.kernel_fields import check_fields
from memhub.rig.trace_steps import (
    GetStep,
    IoctlStep,
    PanicStep,
    ResumeStep,
    Row,
    SetStep,
    Step,
)
from memhub.rig.transfer_traces import TransferTrace, parse_transfers

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    Json = Mapping[str, Any]


_GZIP_MAGIC: Final = b"\x1f\x8b"

#: How a scenario's id begins, and the architecture that answers as it did.
ARCH_OF_ID: Final = (
    ("freebsd-i386", "i386"),
    ("freebsd-x86", "amd64-mtrr"),
    ("freebsd-k6", "k6"),
    ("freebsd-powerpc", "powerpc"),
    ("dragonfly", "dragonfly"),
    ("openbsd-amd64", "openbsd-amd64"),
    ("openbsd-i386", "openbsd-i386"),
    ("openbsd-k6", "openbsd-k6"),
)


class TraceError(EscapedMessage, ValueError):
    """Raised when a line is not a trace; says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DriverTrace:
    """A machine as firmware left it, and what its driver answered, step by step."""

    id: str
    arch: str
    cpu: Cpu
    msrs: Mapping[int, int]
    supported: bool
    table: tuple[Row, ...]
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypesTrace:
    """Registers, and the effective type of some addresses under them."""

    id: str
    arch: str
    cpu: Cpu
    msrs: Mapping[int, int]
    types: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineTrace:
    """A text that a real machine printed.

    Attributes:
        id: its name.
        arch: the architecture that imports it.
        text: the text, as it was printed.
        phys_bits: the address width to take where the text tells none.
        msrs: the registers that the text describes, or None where it does not.
        table: what the driver shows once it has attached.
        types: the effective type of some addresses.
    """

    id: str
    arch: str
    text: str
    phys_bits: int
    msrs: Mapping[int, int] | None
    table: tuple[Row, ...]
    types: tuple[tuple[int, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelTrace:
    """What another kernel than FreeBSD answered; its profile knows what is in it.

    Attributes:
        id: the scenario's name.
        kernel: the kernel's name and version.
        raw: the line.
    """

    id: str
    kernel: str
    raw: Json


Trace = DriverTrace | TypesTrace | MachineTrace | TransferTrace | KernelTrace


def trace_lines(path: Path) -> list[bytes]:
    """The lines of a trace file, plain or gzip (told by its first bytes), blank ones left out.

    Raises:
        OSError: it cannot be read.
        TraceError: it is gzip, and damaged.
    """
    data = path.read_bytes()
    if data.startswith(_GZIP_MAGIC):
        try:
            data = gzip.decompress(data)
        except (OSError, EOFError, zlib.error) as error:
            raise TraceError(f"damaged gzip: {error}") from error

    return [line for line in data.splitlines() if line.strip()]


def parse_trace(line: bytes, arch: str | None = None) -> Trace:
    """Read one line.

    Args:
        line: one JSON object.
        arch: the architecture to replay it on; None deduces it from the scenario.

    Raises:
        TraceError: it is not one of the five kinds, or a value is missing or of the wrong type.
    """
    try:
        raw = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"not JSON: {error}") from error

    if not isinstance(raw, dict):
        raise TraceError(f"not a JSON object but {type(raw).__name__}")

    try:
        if isinstance(raw.get("kernel"), str) and not (arch or _known_arch(raw)):
            check_fields(raw)
            return KernelTrace(id=needed(raw, "id", str), kernel=raw["kernel"], raw=raw)

        if "steps" in raw and "machine" in raw:
            return parse_transfers(raw, arch)

        if "steps" in raw:
            return _parse_driver(raw, arch)

        if "text" in raw:
            return _parse_machine(raw, arch)

        if "types" in raw:
            return _parse_types(raw, arch)

    except (ValueError, TypeError, AttributeError) as error:
        name = raw.get("id", "without an id")
        raise TraceError(f"scenario {name}: {error}") from error

    raise TraceError("not a trace: it has neither 'steps' nor 'types' nor 'text'")


def _parse_driver(raw: Json, arch: str | None) -> DriverTrace:
    return DriverTrace(
        id=needed(raw, "id", str),
        arch=arch or _arch_of(raw),
        cpu=_parse_cpu(needed(raw, "cpu", dict)),
        msrs=_parse_msrs(needed(raw, "msr", dict)),
        supported=needed(raw, "supported", bool),
        table=_parse_rows(needed(raw, "table", list)),
        steps=tuple(
            _parse_step(checked(step, "step", dict)) for step in needed(raw, "steps", list)
        ),
    )


def _known_arch(raw: Json) -> str | None:
    """The architecture that the id of a scenario tells, or None."""
    name = str(raw.get("id", ""))

    return next((arch for prefix, arch in ARCH_OF_ID if name.startswith(prefix)), None)


def _arch_of(raw: Json) -> str:
    if isinstance(raw.get("arch"), str):
        return str(raw["arch"])

    found = _known_arch(raw)
    if found is not None:
        return found

    raise ValueError("its id does not tell the architecture: name one")


def _parse_types(raw: Json, arch: str | None) -> TypesTrace:
    return TypesTrace(
        id=needed(raw, "id", str),
        arch=arch or "amd64-mtrr",
        cpu=_parse_cpu(needed(raw, "cpu", dict)),
        msrs=_parse_msrs(needed(raw, "msr", dict)),
        types=_type_rows(needed(raw, "types", list)),
    )


def _parse_machine(raw: Json, arch: str | None) -> MachineTrace:
    return MachineTrace(
        id=needed(raw, "id", str),
        arch=arch or "amd64-mtrr",
        text=needed(raw, "text", str),
        phys_bits=needed(raw, "phys_bits", int),
        msrs=_parse_msrs(needed(raw, "msr", dict)) if raw.get("msr") is not None else None,
        table=_parse_rows(needed(raw, "table", list)),
        types=_type_rows(checked(raw.get("types", []), "types", list)),
    )


def _parse_cpu(raw: Json) -> Cpu:
    # A CPU that does not tell its width has 36 bits for these drivers; a driver that a tunable of
    # the kernel switches off answers like one whose CPU has no ranges.
    told = checked(raw.get("cpuid_width", True), "cpuid_width", bool)
    off = checked(raw.get("disable_mtrrs", False), "disable_mtrrs", bool)

    return Cpu(
        vendor=needed(raw, "vendor", str),
        signature=checked(raw.get("id", 0), "id", int),
        phys_bits=needed(raw, "phys_bits", int) if told else 36,
        mtrr=checked(raw.get("mtrr", False), "mtrr", bool) and not off,
    )


def _parse_msrs(raw: Json) -> dict[int, int]:
    return {int(number, 16): checked(value, number, int) for number, value in raw.items()}


def _parse_row(raw: list[Any]) -> Row:
    if len(raw) != 4:
        raise ValueError(f"row {raw!r} is not [base, length, flags, owner]")

    base, length, flags, owner = raw

    return (
        checked(base, "base", int),
        checked(length, "length", int),
        checked(flags, "flags", int),
        checked(owner, "owner", str),
    )


def _parse_rows(raw: list[Any]) -> tuple[Row, ...]:
    return tuple(_parse_row(checked(row, "row", list)) for row in raw)


def _type_rows(raw: list[Any]) -> tuple[tuple[int, str], ...]:
    rows = []
    for row in raw:
        address, name = checked(row, "types", list)
        rows.append((checked(address, "address", int), checked(name, "type", str)))

    return tuple(rows)


def _parse_step(raw: Json) -> Step:
    if raw.get("op") == "resume":
        return ResumeStep(msrs=_parse_msrs(raw.get("msr", {})))

    if "panic" in raw:
        return PanicStep(message=needed(raw, "panic", str))

    errno = raw["errno"] if raw.get("errno") == 0 else needed(raw, "errno", str)
    op = needed(raw, "op", str)
    if op == "get":
        return GetStep(
            n=needed(raw, "n", int),
            count=needed(raw, "count", int),
            errno=errno,
            null=bool(raw.get("bad_pointer")),
        )

    if op == "ioctl":
        return IoctlStep(number=needed(raw, "cmd", int), errno=errno)

    if op != "set":
        raise ValueError(f"step {op!r} is none of 'get', 'set', 'ioctl' and 'resume'")

    return SetStep(
        arg=needed(raw, "arg", int),
        base=needed(raw, "base", int) & U64_MAX,
        length=needed(raw, "len", int) & U64_MAX,
        flags=needed(raw, "flags", int) & 0xFFFFFFFF,
        owner=needed(raw, "owner", str).encode("latin-1")[:8].ljust(8, b"\0"),
        errno=errno,
        changed=tuple(
            _parse_changed(checked(row, "changed", list)) for row in raw.get("changed", ())
        ),
        msrs=_parse_msrs(raw.get("msr", {})),
        null=bool(raw.get("bad_pointer")),
    )


def _parse_changed(raw: list[Any]) -> tuple[int, Row]:
    if not raw or not isinstance(raw[0], int):
        raise ValueError(f"changed row {raw!r} does not name a slot")

    return raw[0], _parse_row(raw[1:])
