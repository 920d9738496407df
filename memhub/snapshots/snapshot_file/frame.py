"""The whole file: its first line, its JSON, and the pages behind."""

from __future__ import annotations

import zlib
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from memhub.arches import ArchNotInstalled
from memhub.core.spec_rules import machine_name
from memhub.errors import DeviceError
from memhub.snapshots.snapshot_file.machines import describe_machine, machine_in
from memhub.snapshots.snapshot_file.pages import PackedPages, runs_of
from memhub.snapshots.snapshot_file.shapes import check_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.core.snapshots import MachineSnapshot

MAGIC: Final = b"memhub-snapshot"
FORMAT: Final = 1

_WORDS: Final = 3
#: What a wrong value in the JSON is met with.
_UNSOUND: Final = (LookupError, TypeError, ValueError, AttributeError, OverflowError)


class SnapshotError(ValueError):
    """Raised when a file is no snapshot, is damaged, or of a newer format."""


def encode_machines(machines: Mapping[str, MachineSnapshot]) -> bytes:
    """The file of some machines.

    Args:
        machines: by name.

    Raises:
        ValueError: there are none, or one has another name in its description.
    """
    if not machines:
        raise ValueError("a snapshot of no machine is not written: nothing could go back to it")

    squeeze = zlib.compressobj(1)
    told = []
    blocks: list[bytes] = []
    for name, machine in machines.items():
        if name != machine.spec.name:
            raise ValueError(f"the machine {machine.spec.name!r} is not written as {name!r}")

        pages = machine.memory.pages()
        told.append({"name": name, **describe_machine(machine), "pages": runs_of(pages)})
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
        SnapshotError: it is no snapshot, is damaged, or of a newer format; or it says what no
            snapshot says: the value and its place are named.
        ArchNotInstalled: an architecture is not installed.
    """
    text, packed = _open_frame(data)
    try:
        return _machines_in(orjson.loads(text), PackedPages(packed), arches)
    except ArchNotInstalled:
        raise
    except (*_UNSOUND, DeviceError, zlib.error) as error:
        raise SnapshotError(f"the snapshot is not sound: {_say(error)}") from error


def _machines_in(
    document: Any,  # noqa: ANN401 - as a file has it
    pages: PackedPages,
    arches: Mapping[str, Arch],
) -> dict[str, MachineSnapshot]:
    check_document(document)
    found: dict[str, MachineSnapshot] = {}
    folded: dict[str, str] = {}
    for number, it in enumerate(document["machines"]):
        name = it["name"]
        try:
            if machine_name(name, folded) in found:
                raise ValueError("is the name of the one before, too")

            found[name] = machine_in(it, _arch_of(it["arch"], arches), pages)
        except ArchNotInstalled:
            raise
        except (*_UNSOUND, DeviceError) as error:
            raise ValueError(f"machines[{number}], {name!r}: {_say(error)}") from error

    pages.end()

    return found


def _arch_of(name: str, arches: Mapping[str, Arch]) -> Arch:
    if name not in arches:
        raise ArchNotInstalled(f"architecture {name!r} is not installed")

    return arches[name]


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

    return str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}"
