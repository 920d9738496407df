"""Make a machine from the text of a real computer, and write it as TOML.

Reads a boot log of Linux or Xen, /proc/mtrr, the output of memcontrol list, or registers as
rdmsr, cpucontrol, chipsec, EDK2 and coreboot print them. What is odd about it is printed on
standard error and is in the TOML as comments: a line that is not understood, a fault of the
firmware, and what had to be assumed as the text does not say it.

exit codes: 0, also if the text is odd; 1 if a machine cannot be made from it, or --strict refuses
it; 2 if a file cannot be read or written, or for wrong usage
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from memhub.config import Imported


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub import`."""
    parser.add_argument("file", metavar="FILE", help="the text; - reads standard input")
    parser.add_argument("--phys-bits", type=int, metavar="N", help="physical address width")
    parser.add_argument("--name", default="imported", help="the machine's name (%(default)s)")
    parser.add_argument("--arch", default="amd64-mtrr", help="its architecture (%(default)s)")
    parser.add_argument(
        "--format",
        metavar="NAME",
        help="what the text is: dmesg, proc_mtrr, memcontrol, msr, or what a plugin reads "
        "(recognised)",
    )
    parser.add_argument("--json", action="store_true", help="one object instead of TOML")
    parser.add_argument(
        "-o", dest="output", metavar="FILE", help="write here, once the whole import has succeeded"
    )
    parser.add_argument("--force", action="store_true", help="replace the file of -o")
    parser.add_argument(
        "--strict",
        action="store_true",
        help="write nothing if the text is odd in more than what had to be assumed",
    )
    chosen = parser.parse_args(arguments)

    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import complain, document, json_document, print_document
    from memhub.config import to_toml

    imported = _import_dumps(chosen)
    for oddity in imported.oddities:
        complain(f"{chosen.file}: {oddity}")

    # what a kind of text never says does not count as missing here
    faults = [it for it in imported.oddities if not it.startswith("assumed: ")]
    if chosen.strict and faults:
        raise CommandFailed(f"{chosen.file}: refused by --strict: {'; '.join(faults)}", 1)

    text = json_document(_imported_facts(imported)) if chosen.json else to_toml(imported)
    if chosen.output is None or chosen.output == "-":
        print_document(text)
    else:
        _write_file(chosen.output, document(text), force=chosen.force)

    return 0


def _write_file(path: str, text: str, *, force: bool) -> None:
    """Write the whole file or nothing; `force` replaces one that is there.

    Raises:
        CommandFailed: it exists, and is not to be replaced.
        OSError: it cannot be written, and has not changed.
    """
    from memhub.cli.failures import CommandFailed
    from memhub.whole_file import write_whole

    try:
        write_whole(path, text.encode(), special="write", replace=force)
    except FileExistsError as error:
        raise CommandFailed(f"{path} exists: --force replaces it") from error


def _import_dumps(chosen: argparse.Namespace) -> Imported:
    from memhub.arches import load_arches
    from memhub.cli.failures import CommandFailed
    from memhub.cli.terminal import read_input
    from memhub.config import ImportRefused, import_dump

    _check_name(chosen.name)
    arch = load_arches()[chosen.arch].name
    data = read_input() if chosen.file == "-" else Path(chosen.file).read_bytes()
    text = data.decode("utf-8", "replace")
    try:
        return import_dump(
            text, phys_bits=chosen.phys_bits, name=chosen.name, arch=arch, form=chosen.format
        )
    except ImportRefused as error:
        raise CommandFailed(f"{chosen.file}: {error}", 1) from error
    except ValueError as error:
        raise CommandFailed(str(error)) from error


def _check_name(name: str) -> None:
    from memhub.cli.failures import CommandFailed

    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise CommandFailed(
            f"{name!r} is not a name for a machine: letters, digits, '-', '_' and '.'"
        )


def _imported_facts(imported: Imported) -> dict[str, Any]:
    from memhub.config import to_toml

    spec = imported.spec

    return {
        "name": spec.name,
        "arch": spec.arch,
        "format": imported.format,
        "phys_bits": spec.cpu.phys_bits,
        "cpu": {"vendor": spec.cpu.vendor, "signature": spec.cpu.signature, "mtrr": spec.cpu.mtrr},
        "msr": {f"{number:#x}": value for number, value in spec.msrs.items()},
        "memory": [[region.base, region.length, region.kind] for region in spec.memory],
        "pat": list(imported.pat),
        "oddities": list(imported.oddities),
        "toml": to_toml(imported),
    }
