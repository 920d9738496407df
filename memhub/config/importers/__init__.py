"""Make a machine from a boot log, `/proc/mtrr`, a listing, or registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from memhub.config.importers.added import ImporterBook, ImportSource, load_importers, read_added
from memhub.config.importers.checks import find_differences, find_slow_memory
from memhub.config.importers.cpu import K6_DRIVERS, is_k6, parse_cpu
from memhub.config.importers.dmesg import parse_dmesg, parse_map, parse_pat
from memhub.config.importers.e820 import clip, parse_e820
from memhub.config.importers.faults import find_faults
from memhub.config.importers.lines import clean_lines
from memhub.config.importers.memcontrol import parse_memcontrol
from memhub.config.importers.model import DumpFormat as DumpFormat
from memhub.config.importers.model import Findings, WidthHint
from memhub.config.importers.model import Imported as Imported
from memhub.config.importers.model import ImportRefused as ImportRefused
from memhub.config.importers.msr import parse_msrs
from memhub.config.importers.proc_mtrr import parse_proc_mtrr
from memhub.core.spec import MachineSpec, Region

if TYPE_CHECKING:
    from collections.abc import Sequence


def import_dump(
    text: str,
    *,
    phys_bits: int | None = None,
    name: str = "imported",
    arch: str = "amd64-mtrr",
    form: str | None = None,
    added: ImporterBook | None = None,
) -> Imported:
    """Make a machine from a text, whose format is recognised.

    Registers are kept exactly as the text has them: a fault of the firmware is reported and not
    corrected. The PAT that a boot log prints is the operating system's, not firmware's: it goes to
    `Imported.pat` and is the PAT of an `amd64` machine, but it is not a register of the spec.

    Args:
        text: a boot log of Linux or Xen, `/proc/mtrr`, the output of `memcontrol list`, or the
            registers as rdmsr, chipsec, EDK2 or coreboot print them; perhaps copied from a mail or
            a terminal. A boot log's memory map is read wherever it is.
        phys_bits: physical address width, 32 to 52; None infers it from the text.
        name: the machine's name.
        arch: its architecture.
        form: the format that the text must have: one of `DumpFormat`, or that of an importer which
            another distribution adds. None takes whatever the text has most of; added importers
            are shown what memhub's own refuse.
        added: the added importers; None loads those that are installed, where they are needed.

    Returns:
        the machine, and what is odd about the text.

    Raises:
        ImportRefused: the text has none of these; the message names the formats.
        ValueError: `phys_bits` is not between 32 and 52.
    """
    if phys_bits is not None and not 32 <= phys_bits <= 52:
        raise ValueError(f"phys_bits {phys_bits} is not between 32 and 52")

    source = ImportSource(text, name, arch, phys_bits)
    if form not in (None, *get_args(DumpFormat)):
        imported = read_added(load_importers() if added is None else added, source, form)
        if imported is None:
            raise ImportRefused(f"the text is not of the format {form!r}")

        return imported

    try:
        return _read_own(source, form)
    except ImportRefused:
        imported = None
        if form is None:
            imported = read_added(load_importers() if added is None else added, source)

        if imported is None:
            raise

        return imported


def _read_own(source: ImportSource, form: str | None) -> Imported:
    """Make a machine of a text of memhub's own formats; arguments as for `import_dump`."""
    text, name, arch, phys_bits = source
    lines = clean_lines(text)
    map_oddities: list[str] = []
    memory = parse_e820(lines, map_oddities)
    hint = WidthHint(phys_bits, _used_bits(memory), is_k6(lines) or arch in K6_DRIVERS)
    had, found = _find_registers(lines, hint, form)
    oddities = [*found.oddities, *map_oddities]
    registers = found.registers
    if registers is None:
        if not memory:
            raise ImportRefused(_describe_nothing(oddities))

        oddities.append("the text has no range registers: they are left at zero, disabled")
        bits = hint.settle(hint.memory, None, oddities)
    else:
        bits = registers.phys_bits
        oddities += find_faults(registers)

    regions = clip(memory, bits, oddities)
    oddities += find_differences(lines)
    if registers is not None:
        oddities += find_slow_memory(regions, registers, found.tom2)

    pat = parse_pat(lines)
    spec = MachineSpec(
        name=name,
        arch=arch,
        cpu=parse_cpu(lines, bits, arch=arch, tom2=found.tom2, oddities=oddities),
        msrs=registers.encode() if registers is not None else {},
        options={"palette": list(pat)} if pat and arch == "amd64" else {},
        memory=regions,
    )

    return Imported(spec=spec, oddities=tuple(oddities), format=had, pat=pat)


def _find_registers(
    lines: Sequence[str], hint: WidthHint, form: str | None
) -> tuple[DumpFormat, Findings]:
    """The most complete description of the registers in the text, or that of one format."""
    readers: dict[DumpFormat, Findings] = {
        "dmesg": parse_dmesg(lines, hint),
        "msr": parse_msrs(lines, hint),
        "proc_mtrr": parse_proc_mtrr(lines, hint),
        "memcontrol": parse_memcontrol(lines, hint),
    }
    usable = [it for it, found in readers.items() if found.registers is not None]
    if form is not None and form not in usable and not (form == "dmesg" and not usable):
        has = f"has {', '.join(usable)} lines" if usable else "has no registers"
        raise ImportRefused(f"the text has no {form} lines; it {has}")

    usable.sort(key=lambda it: it != form)
    if not usable:
        described = parse_map(lines, hint)
        rest = [odd for found in readers.values() for odd in found.oddities]

        return "dmesg", Findings(described.registers, [*described.oddities, *rest])

    best, *others = usable
    readers[best].oddities.extend(f"the text also has {it} lines: unused" for it in others)

    return best, readers[best]


def _used_bits(memory: Sequence[Region]) -> int:
    ends = [(region.base + region.length - 1).bit_length() for region in memory]

    return min(52, max(ends, default=0))


def _describe_nothing(oddities: Sequence[str]) -> str:
    message = (
        "the text has nothing to make a machine of; looked for a Linux boot log ('MTRR default "
        "type: …', 'BIOS-e820: …'), /proc/mtrr ('reg00: base=…'), memcontrol list "
        "('0x…/0x… owner flags') and registers (rdmsr, chipsec, EDK2, coreboot)"
    )

    return "; ".join([message, *oddities[:3]])
