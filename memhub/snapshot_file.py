"""The file form of a snapshot: text that describes the machines, then the pages of their memory.

The first line is `memhub-snapshot`, the format's number, and the SHA-256 of all that follows. The
second is JSON: each machine as the records of an audit log have it, with the places of its pages.
Behind it are the pages of all machines in turn, compressed with zlib. Times are relative, as in
`MachineSnapshot`. Reading makes values of it and executes nothing.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from base64 import b64decode, b64encode
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.abi import PAGE_SIZE
from memhub.arches import ArchNotInstalled
from memhub.arguments import take_integer, take_text
from memhub.audit.rows import holdings_in
from memhub.audit.rows.columns import descs_of
from memhub.audit.rows.description import describe_spec, spec_of
from memhub.audit.rows.files import table_columns
from memhub.audit.rows.held import part_row
from memhub.audit.schema import problems
from memhub.core.driver import RangeState
from memhub.core.holdings import give_holdings, holdings_of
from memhub.core.instant import Instant
from memhub.core.machine import Machine
from memhub.core.memory.device_states import DeviceState
from memhub.core.memory.image import MemoryImage
from memhub.core.memory.pages import memory_size
from memhub.core.range_table import TableState
from memhub.core.restored import HeldPart
from memhub.core.restoring import check_health
from memhub.core.snapshots import MachineSnapshot
from memhub.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.core.driver import Arch
    from memhub.core.spec import MachineSpec

MAGIC: Final = b"memhub-snapshot"
FORMAT: Final = 1

_WORDS: Final = 3
#: What a wrong value in the JSON is met with.
_UNSOUND: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
_HASH: Final = "0" * 64

#: The moment from which times count.
_START: Final = Instant(0, 0)


class SnapshotError(ValueError):
    """Raised when a file is no snapshot, is damaged, or of a newer format."""


def encode_machines(machines: Mapping[str, MachineSnapshot]) -> bytes:
    """The file of some machines.

    Args:
        machines: by name.
    """
    squeeze = zlib.compressobj(1)
    told = []
    blocks: list[bytes] = []
    for name, machine in machines.items():
        pages = machine.memory.pages()
        told.append({"name": name, **_describe_machine(machine), "pages": _runs_of(pages)})
        blocks += (squeeze.compress(page) for page in pages.values())

    text = orjson.dumps({"machines": told}) + b"\n"
    rest = b"".join([text, *blocks, squeeze.flush()])

    return b"%s %d %s\n%s" % (MAGIC, FORMAT, sha256(rest).hexdigest().encode(), rest)


def decode_machines(data: bytes, arches: Mapping[str, Arch]) -> dict[str, MachineSnapshot]:
    """The machines of a file.

    Args:
        data: the whole file.
        arches: architectures by name.

    Raises:
        SnapshotError: it is no snapshot, is damaged, or of a newer format.
        ArchNotInstalled: an architecture is not installed.
    """
    text, packed = _open_frame(data)
    pages = _Pages(packed)
    found: dict[str, MachineSnapshot] = {}
    try:
        for it in orjson.loads(text)["machines"]:
            found[it["name"]] = _machine_in(it, _arch_of(it["arch"], arches), pages)
    except ArchNotInstalled:
        raise
    except (*_UNSOUND, DeviceError, zlib.error) as error:
        raise SnapshotError(f"the snapshot is not sound: {_say(error)}") from error

    return found


def _arch_of(name: str, arches: Mapping[str, Arch]) -> Arch:
    if not isinstance(name, str):
        raise TypeError(f"arch {name!r} is not text")

    if name not in arches:
        raise ArchNotInstalled(f"architecture {name!r} is not installed")

    return arches[name]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all.

    Args:
        path: the file; a symbolic link is followed, and a pipe or a device is written to.
        data: the content.

    Raises:
        OSError: it cannot be written; a file that was there is as it was.
    """
    path = path.resolve() if path.is_symlink() else path
    if path.exists() and not path.is_file():
        path.write_bytes(data)
        return

    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(number, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(number)

        if path.exists():
            Path(name).chmod(path.stat().st_mode & 0o7777)

        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()

        raise


def _open_frame(data: bytes) -> tuple[bytes, bytes]:
    """The JSON and the pages of a file whose first line is right."""
    first, _, rest = data.partition(b"\n")
    words = first[:200].split(b" ")
    if words[0] != MAGIC or len(words) != _WORDS or not words[1].isdigit():
        raise SnapshotError("this is no snapshot of memhub: its first line says otherwise")

    if int(words[1]) != FORMAT:
        raise SnapshotError(
            f"the snapshot has format {int(words[1])}, and this version of memhub reads {FORMAT}"
        )

    if sha256(rest).hexdigest().encode() != words[2]:
        raise SnapshotError("the snapshot is damaged: its SHA-256 is not the one in its first line")

    text, _, packed = rest.partition(b"\n")

    return text, packed


def _say(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error.args[0]!r}"

    return f"{type(error).__name__}: {error}"


class _Pages:
    """The pages of a file, taken machine by machine, in memory that is bounded by what they say."""

    def __init__(self, packed: bytes) -> None:
        self._unpack = zlib.decompressobj()
        self._packed = packed

    def take(self, places: list[int]) -> MemoryImage:
        size = len(places) * PAGE_SIZE
        held = b""
        if size:
            held = self._unpack.decompress(self._packed, size)
            self._packed = self._unpack.unconsumed_tail

        if len(held) != size:
            raise ValueError("its pages are not all there")

        return MemoryImage(
            {at: held[n * PAGE_SIZE : (n + 1) * PAGE_SIZE] for n, at in enumerate(places)}
        )


# One machine


def _describe_machine(it: MachineSnapshot) -> dict[str, Any]:
    """A machine without its pages, as JSON."""
    spec, table = it.spec, it.table
    state = None if table is None else table.state

    return {
        "arch": spec.arch,
        "config": describe_spec(spec),
        "firmware": [[number, value] for number, value in spec.msrs.items()],
        "contents": [
            [n, b64encode(region.data).decode()]
            for n, region in enumerate(spec.memory)
            if region.data
        ],
        "table": {
            **table_columns(spec.name, spec.arch, spec.cpu.phys_bits, state),
            "generation": 0 if table is None else table.generation,
        },
        "held": [
            part_row(HeldPart(spec.name, spec.arch, _START, part, items))
            for part, items in (
                ("files", it.files),
                ("claims", it.claims),
                ("losses", it.losses),
                ("notes", tuple(it.notes.before.items())),
                ("failed", () if it.failed is None else (it.failed,)),
                ("health", () if it.health is None else (it.health,)),
                ("kernel", () if it.kernel is None else (it.kernel,)),
            )
        ],
        "uareas": [[who, b64encode(held).decode()] for who, held in it.uareas.items()],
        "devices": [
            [base, length, None if data is None else b64encode(data).decode()]
            for base, length, data in it.devices
        ],
    }


def _machine_in(it: Mapping[str, Any], arch: Arch, pages: _Pages) -> MachineSnapshot:
    spec = _spec_in(it)
    machine = Machine.make(spec, arch)
    table = None
    if machine.table is not None:
        table = _table_in(it["table"])
        if len(table.state.slots) != len(machine.table):
            raise ValueError(f"{len(table.state.slots)} slots, where {len(machine.table)} are due")

        machine.table.driver.types(table.state)  # or its driver cannot make sense of it

    for row in it["held"]:
        if row["held"] != "[]":
            _check_record({**row, "event": "held.part"})
            give_holdings(machine, holdings_in(row, machine))

    held = holdings_of(machine)
    if held.health is not None:
        check_health(machine, held.health)

    places = list(_places_in(it["pages"], memory_size(machine.memory.extents)))

    return MachineSnapshot(
        spec,
        table,
        pages.take(places),
        held.files,
        held.claims,
        held.losses,
        machine.notes,
        held.failed,
        held.health,
        {take_integer("a process", who): b64decode(data) for who, data in it["uareas"]},
        tuple(_device_in(*row) for row in it["devices"]),
        held.kernel,
    )


def _spec_in(it: Mapping[str, Any]) -> MachineSpec:
    firmware = {
        take_integer("a register", n): take_integer("a value", v) for n, v in it["firmware"]
    }
    spec = spec_of(take_text("name", it["name"]), it["arch"], it["config"], firmware)
    memory = list(spec.memory)
    for number, data in it["contents"]:
        memory[number] = replace(memory[number], data=b64decode(data))

    return replace(spec, memory=tuple(memory))


def _table_in(row: Mapping[str, Any]) -> TableState:
    _check_record({**row, "event": "device.attach", "wall_ns": 0, "mono_ns": 0})
    msrs = dict(zip(row["msrs"], row["after_msr"], strict=True))

    return TableState(RangeState(descs_of("after", row), msrs), row["generation"])


def _check_record(row: dict[str, Any]) -> None:
    """Refuse a row that a log could not have."""
    found = problems({**row, "v": 1, "seq": 1, "prev": _HASH, "hash": _HASH})
    if found:
        raise ValueError(found[0])


def _device_in(base: object, length: object, data: str | None) -> DeviceState:
    return DeviceState(
        take_integer("base", base),
        take_integer("length", length),
        None if data is None else b64decode(data),
    )


def _runs_of(pages: Mapping[int, bytes]) -> list[list[int]]:
    """Places of pages as runs: the first place, and how many pages."""
    runs: list[list[int]] = []
    for at in pages:
        if runs and runs[-1][0] + runs[-1][1] * PAGE_SIZE == at:
            runs[-1][1] += 1
        else:
            runs.append([at, 1])

    return runs


def _places_in(runs: list[list[int]], size: int) -> Iterator[int]:
    end = 0
    for first, count in runs:
        last = take_integer("a place", first) + take_integer("a count", count) * PAGE_SIZE
        if first < end or count < 1 or first % PAGE_SIZE or last > size:
            raise ValueError(f"pages at {first:#x} of a memory of {size:#x} bytes")

        yield from range(first, last, PAGE_SIZE)
        end = last
