"""Recorded answers of a kernel's read, write, lseek and mmap, as checked values.

A line has a machine (its RAM, the kernel's map entries and pages) and steps of one process; each
step has what the real kernel answered.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from memhub.rig.json_values import checked, needed

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]
    Pairs = tuple[tuple[int, int], ...]

#: How a scenario's id begins, the architecture that answers as it did, and the machine's options.
KERNEL_OF_ID: Final[tuple[tuple[str, str, Mapping[str, Any]], ...]] = (
    ("freebsd-amd64-9.3-", "amd64", {"release": "9.3"}),
    ("freebsd-amd64-12.1-", "amd64", {"release": "12.1"}),
    ("freebsd-i386-9.3-", "i386", {"release": "9.3"}),
    ("freebsd-i386-10.4-", "i386", {"release": "10.4"}),
    ("freebsd-i386-12.1-", "i386", {"release": "12.1"}),
    ("freebsd-i386-14-", "i386", {"release": "14"}),
    ("freebsd-i386pae-12.1-", "i386", {"release": "12.1", "pae": True}),
    ("freebsd-arm64-12.1-", "arm64", {"release": "12.1"}),
    ("freebsd-powerpc32-12.1-", "powerpc", {"release": "12.1"}),
    ("freebsd-powerpc64-12.1-", "powerpc64", {"release": "12.1"}),
    ("freebsd-powerpc64-14-", "powerpc64", {"release": "14"}),
)
MOVES: Final = frozenset(
    {"read", "write", "pread", "pwrite", "readv", "writev", "preadv", "pwritev"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenStep:
    """open(2) of `/dev/mem` or `/dev/kmem`; `mode` is `r`, `w`, `rw` or `none`."""

    fd: int
    device: str
    mode: str
    root: bool
    securelevel: int
    errno: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseStep:
    """close(2)."""

    fd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SeekStep:
    """lseek(2); `returned` is what it returned, signed, and `at` the offset afterwards."""

    fd: int
    to: int
    whence: int
    errno: str | int
    returned: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveStep:
    """One of read(2), write(2) and their positioned and vectored forms.

    Attributes:
        op: which of them.
        fd: the descriptor.
        seed: what the bytes of a write are made from.
        offset: of the positioned forms, unsigned; None else.
        buffers: address and length of each.
        errno: the symbolic name, or 0; where the kernel panicked or hung, None.
        returned: what the call returned.
        moved: bytes that the kernel counted, on an error too.
        at: the descriptor's offset afterwards.
        runs: physical address and length of what was accessed, in order.
        crc: CRC-32 of the bytes that a read moved.
        stray: physical stretches whose bytes moved and were not counted.
        notes: what else the recorder saw.
    """

    op: str
    fd: int
    seed: int
    offset: int | None
    buffers: Pairs
    errno: str | int | None
    returned: int
    moved: int
    at: int
    runs: Pairs
    crc: int | None
    stray: Pairs
    notes: frozenset[str]

    @property
    def writes(self) -> bool:
        """Whether it writes to the device."""
        return "write" in self.op

    @property
    def length(self) -> int:
        """Bytes asked for."""
        return sum(length for _, length in self.buffers)


@dataclass(frozen=True, slots=True)
class MapStep:
    """mmap(2), which memhub answers in another way."""


Step = OpenStep | CloseStep | SeekStep | MoveStep | MapStep


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferTrace:
    """A machine, and what its kernel answered to one process, step by step.

    Attributes:
        id: its name.
        arch: the architecture that it is replayed on.
        options: the machine options that choose the kernel.
        phys_bits: address width.
        ram: base and length of each region.
        entries: start, end and rights of each entry of the kernel's map.
        pages: virtual and physical address, count and rights of each run of pages.
        params: further facts of the machine, by name.
        steps: what was asked and answered.
        changed: page number and CRC-32 of each page of RAM that the steps changed.
        touched: every page of RAM that the steps read or wrote.
    """

    id: str
    arch: str
    options: Mapping[str, Any]
    phys_bits: int
    ram: Pairs
    entries: tuple[tuple[int, int, str], ...]
    pages: tuple[tuple[int, int, int, str], ...]
    params: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    steps: tuple[Step, ...]
    changed: Mapping[int, int]
    touched: tuple[int, ...]


def parse_transfers(raw: Json, arch: str | None) -> TransferTrace:
    """Read a line that has a `machine`.

    Raises:
        ValueError: memhub has no such kernel, or a value is wrong.
        TypeError: a value is of the wrong type.
    """
    name = needed(raw, "id", str)
    machine = needed(raw, "machine", dict)
    params = {
        key: checked(value, key, int) for key, value in needed(machine, "params", dict).items()
    }
    known, options = _kernel_of(name)
    options = dict(options)
    if params.get("pae"):
        options["pae"] = True

    return TransferTrace(
        id=name,
        arch=arch or known,
        options=options,
        phys_bits=needed(machine, "phys_bits", int),
        ram=_parse_pairs(needed(machine, "ram", list)),
        entries=tuple(_parse_row(row, (int, int, str)) for row in needed(machine, "entries", list)),
        pages=tuple(
            _parse_row(row, (int, int, int, str)) for row in needed(machine, "pages", list)
        ),
        params=params,
        steps=tuple(
            _parse_step(checked(step, "step", dict)) for step in needed(raw, "steps", list)
        ),
        changed=dict(_parse_pairs(needed(raw, "changed", list))),
        touched=tuple(checked(it, "touched", int) for it in needed(raw, "touched", list)),
    )


def _kernel_of(name: str) -> tuple[str, Mapping[str, Any]]:
    for prefix, arch, options in KERNEL_OF_ID:
        if name.startswith(prefix):
            return arch, options

    known = ", ".join(prefix.rstrip("-") for prefix, _, _ in KERNEL_OF_ID)
    raise ValueError(f"it is of a kernel that memhub does not have; it has {known}")


def _parse_step(raw: Json) -> Step:
    op, fd = needed(raw, "op", str), needed(raw, "fd", int)
    if op == "close":
        return CloseStep(fd=fd)

    if op == "mmap":
        return MapStep()

    if op == "open":
        return OpenStep(
            fd=fd,
            device=needed(raw, "dev", str),
            mode=needed(raw, "mode", str),
            root=needed(raw, "root", bool),
            securelevel=needed(raw, "securelevel", int),
            errno=_parse_errno(raw),
        )

    if op == "seek":
        return SeekStep(
            fd=fd,
            to=needed(raw, "to", int),
            whence=needed(raw, "whence", int),
            errno=_parse_errno(raw),
            returned=needed(raw, "ret", int),
            at=checked(raw.get("at", 0), "at", int),
        )

    if op in MOVES:
        return _parse_move(raw, op, fd)

    raise ValueError(f"step {op!r} is none of open, close, seek, mmap, {', '.join(sorted(MOVES))}")


def _parse_move(raw: Json, op: str, fd: int) -> MoveStep:
    ended = "how" in raw

    return MoveStep(
        op=op,
        fd=fd,
        seed=checked(raw.get("seed", 0), "seed", int),
        offset=needed(raw, "offset", int) if op.startswith("p") else None,
        buffers=_parse_pairs(needed(raw, "iov", list)),
        errno=None if ended else _parse_errno(raw),
        returned=-1 if ended else needed(raw, "ret", int),
        moved=checked(raw.get("moved", 0), "moved", int),
        at=checked(raw.get("at", 0), "at", int),
        runs=_parse_pairs(checked(raw.get("runs", []), "runs", list)),
        crc=checked(raw["crc"], "crc", int) if "crc" in raw else None,
        stray=_parse_pairs(checked(raw.get("stray", []), "stray", list)),
        notes=frozenset(checked(raw.get("notes", []), "notes", list)),
    )


def _parse_errno(raw: Json) -> str | int:
    return 0 if raw.get("errno") == 0 else needed(raw, "errno", str)


def _parse_pairs(rows: list[Any]) -> Pairs:
    return tuple(_parse_row(row, (int, int)) for row in rows)


def _parse_row(row: object, kinds: tuple[type, ...]) -> Any:  # noqa: ANN401 -- JSON of any shape
    values = checked(row, "row", list)
    if len(values) != len(kinds):
        raise ValueError(f"row {row!r} has not {len(kinds)} values")

    return tuple(checked(value, "row", kind) for value, kind in zip(values, kinds, strict=True))
