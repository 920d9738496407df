"""kvm_open(3): on a live machine, on a saved memory image, on an ELF core."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from memhub.arguments import take_text
from memhub.images.elf import MAGIC
from memhub.images.failure import ImageError
from memhub.images.reading import load_image
from memhub.images.sparse import DATA_MAX, open_regular
from memhub.kvm.dead import (
    TranslatedImage,
    dead_machine,
    described_machine,
    translated_image,
    virtual_core,
)
from memhub.kvm.descriptor import AsyncKvm, Kvm
from memhub.kvm.minidump import MINIDUMP_MAGIC, read_minidump
from memhub.kvm.session import Session
from memhub.kvm.symbols import symbols_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub.core.drivers.driver import Arch
    from memhub.core.spec import MachineSpec
    from memhub.images.reading import ImageFormat
    from memhub.kvm.descriptor import AsyncKmemFile, KmemFile
    from memhub.kvm.page_tables import TableFormat
    from memhub.kvm.symbols import Names


class AsyncOpener(Protocol):
    """What opens device files for callers that await: a hub, a process, a client."""

    async def open(self, path: str, mode: str = "r") -> AsyncKmemFile:
        """Open a device file."""


class Opener(Protocol):
    """What opens device files for callers that block: `BlockingClient`, `LocalClient`."""

    def open(self, path: str, mode: str = "r") -> KmemFile:
        """Open a device file."""


async def open_live(
    opener: AsyncOpener, machine: str = "", mode: str = "r", *, symbols: Names | None = None
) -> AsyncKvm:
    """Open the kernel memory of a machine that runs.

    Args:
        opener: a hub, a process of one, or a client of a service (`memhub.connect`).
        machine: the machine's name; empty for the default one.
        mode: `r`, `w` or `r+`.
        symbols: a mapping, or a file for `read_symbols`; None takes those of the machine, which
            only a hub in this process knows.

    Returns:
        the descriptor, which the caller closes; use it in `async with`.

    Raises:
        DeviceError: as open(2) on `/dev/kmem`: ENOENT, EPERM, EINVAL.
        ImageError: the file has no symbols.
    """
    names = None if symbols is None else symbols_of(symbols)
    path = _path_of(machine)
    file = await opener.open(path, mode)
    if names is None:
        names = _symbols_behind(opener, file)

    return AsyncKvm(file, Session(names, alive=True, where=path))


def open_blocking(
    opener: Opener, machine: str = "", mode: str = "r", *, symbols: Names | None = None
) -> Kvm:
    """Open the kernel memory of a machine that runs, for callers that block; see `open_live`."""
    names = None if symbols is None else symbols_of(symbols)
    path = _path_of(machine)
    file = opener.open(path, mode)
    if names is None:
        names = _symbols_behind(opener, file)

    return Kvm(file, Session(names, alive=True, where=path))


def open_image(
    path: str | os.PathLike[str],
    machine: MachineSpec | None = None,
    *,
    symbols: Names | None = None,
    format: ImageFormat | None = None,  # noqa: A002 - as `load_image` calls it
    base: int | None = None,
    limit: int = DATA_MAX,
    tables: TableFormat | None = None,
    cr3: int | None = None,
    arches: Mapping[str, Arch] | None = None,
) -> Kvm:
    """Open a memory image: the kernel in it is dead, and is not written.

    An ELF core of `MemoryDump.save` says of which machine it is. Of another ELF core the virtual
    addresses of its program headers count, unless a machine is given. The other formats need one.
    A minidump of FreeBSD/amd64 has the tables of its kernel, and needs nothing.
    With `tables`, the page tables in the image translate, whichever format it has, and no machine
    is needed.

    Args:
        path: the image, in any format of `load_image`.
        machine: the machine whose memory it is.
        symbols: a mapping, or a file for `read_symbols`; None takes those of the machine.
        format: see `load_image`.
        base: see `load_image`.
        limit: bytes other than zeros that the file may bring.
        tables: the format of the page tables in the image: `i386`, `pae` or `amd64`; None does not
            look at them.
        cr3: with `tables`, the physical address of the top one, as CR3 has it; None reads it
            of the kernel's variable, `IdlePTD`, `IdlePDPT` or `KPML4phys`, by its symbols.
        arches: architectures by name; None loads those that are installed.

    Raises:
        ImageError: the file is not sound, does not fit the machine, or does not say what is
            where; or a file has no symbols.
        ExtraMissing: a library of the extra `memhub[images]` is not installed.
        OSError: a file cannot be read.
    """
    shown = str(path)
    names = None if symbols is None else symbols_of(symbols)
    minidump = _open_minidump(path, shown) if format is None else None
    if minidump is not None:
        if any(it is not None for it in (machine, tables, cr3, base)):
            minidump.close()
            what = "is a minidump, which says all itself: give no machine, tables, cr3 or base"
            raise ImageError(shown, what)

        return Kvm(minidump, Session(names or {}, alive=False, where=shown))

    if tables is not None:
        return _open_translated(path, machine, names, format, base, limit, tables, cr3)

    if cr3 is not None:
        raise ValueError("cr3 counts with tables: give the format of the page tables")

    with open_regular(path, shown) as file:
        core = format in (None, "elf") and file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if core and machine is None:
            machine = described_machine(file, shown)
            if machine is None:
                dead = virtual_core(file, shown, limit)

                return Kvm(dead, Session(names or {}, alive=False, where=shown))

    contents = load_image(path, format=format, base=base, limit=limit)
    if machine is None:
        what = "says no kernel addresses: give the machine whose memory it is"
        raise ImageError(shown, what)

    if names is None:
        names = machine.symbols

    return Kvm(
        dead_machine(machine, contents, shown, arches), Session(names, alive=False, where=shown)
    )


def _open_minidump(path: str | os.PathLike[str], shown: str) -> TranslatedImage | None:
    """A minidump of FreeBSD; None where the file is none."""
    with open_regular(path, shown) as file:
        if file.read(len(MINIDUMP_MAGIC)) != MINIDUMP_MAGIC:
            return None

        fd = os.dup(file.fileno())

    try:
        return TranslatedImage(*read_minidump(fd, shown))
    except BaseException:
        os.close(fd)
        raise


def _open_translated(
    path: str | os.PathLike[str],
    machine: MachineSpec | None,
    names: Mapping[str, int] | None,
    format: ImageFormat | None,  # noqa: A002 - as `load_image` calls it
    base: int | None,
    limit: int,
    tables: TableFormat,
    cr3: int | None,
) -> Kvm:
    shown = str(path)
    contents = load_image(path, format=format, base=base, limit=limit)
    if names is None:
        names = _described_symbols(path, machine)

    dead = translated_image(contents, shown, tables, names, cr3)

    return Kvm(dead, Session(names, alive=False, where=shown))


def _described_symbols(
    path: str | os.PathLike[str], machine: MachineSpec | None
) -> Mapping[str, int]:
    """The symbols of a machine that is given, or that a core describes."""
    if machine is None:
        with open_regular(path, str(path)) as file:
            if file.read(len(MAGIC)) != MAGIC:
                return {}

            file.seek(0)
            machine = described_machine(file, str(path))

    return {} if machine is None else machine.symbols


def _path_of(machine: str) -> str:
    return f"{machine}:/dev/kmem" if take_text("machine", machine) else "/dev/kmem"


def _symbols_behind(opener: object, file: object) -> Mapping[str, int]:
    """The symbols of the machine behind a handle of this process; none of a service's."""
    machine: Any = getattr(file, "machine", None)
    if machine is None:
        name = getattr(file, "path", "").rpartition(":")[0]
        machine = getattr(opener, "machines", {}).get(name)

    spec = getattr(machine, "spec", None)
    symbols: Mapping[str, int] = getattr(spec, "symbols", {})

    return symbols
