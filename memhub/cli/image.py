"""A machine's memory to a file, from a file, and what a file holds.

`save` writes the RAM as an ELF core (the default), which describes the machine and covers all of
its RAM; as a LiME dump of the touched pages; or as a raw file with holes. `load` puts a file into
the RAM of a running service, all of it or nothing: raw files, Intel HEX, S-records, ELF, LiME. No
CPU writes it, so claims and write protection do not stand in the way; it needs the right
restore-machines. `show` lists the stretches of a file. A machine of a configuration file begins
with its `images`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.cli.amounts import address, amount, size
from memhub.cli.target import add_target_arguments, open_service, open_target
from memhub.cli.terminal import print_json, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from memhub.cli.target import Target
    from memhub.core.caches.seen import DumpView
    from memhub.core.spec import Content
    from memhub.images.dump import MemoryDump

_READ = ("raw", "ihex", "srec", "elf", "lime")
_WRITTEN = ("elf", "lime", "raw")
_VIEWS = ("bus", "cpu")


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub image`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_save(verbs)
    _add_load(verbs)
    _add_show(verbs)
    chosen = parser.parse_args(arguments)
    run = {"save": _save, "load": _load, "show": _show}[chosen.verb]
    run(chosen)

    return 0


def _add_save(verbs: argparse._SubParsersAction[Any]) -> None:
    save = verbs.add_parser("save", help="write a machine's RAM to a file")
    save.add_argument("--out", metavar="FILE", required=True, help="the file to write")
    save.add_argument("--format", choices=_WRITTEN, default="elf", help="what to write (elf)")
    save.add_argument("--base", metavar="ADDRESS", help="raw: the address of the first byte")
    save.add_argument("--length", metavar="LENGTH", help="raw: bytes of the file")
    save.add_argument("--view", choices=_VIEWS, default="bus", help="who sees the memory (bus)")
    save.add_argument("--json", action="store_true", help="what was written as an object")
    add_target_arguments(save)


def _add_load(verbs: argparse._SubParsersAction[Any]) -> None:
    load = verbs.add_parser("load", help="put a file into the RAM of a running service")
    _add_file_arguments(load)
    load.add_argument("--clear", action="store_true", help="let all other RAM become zero")
    load.add_argument("--json", action="store_true", help="what was loaded as an object")
    add_target_arguments(load, files=False)


def _add_show(verbs: argparse._SubParsersAction[Any]) -> None:
    show = verbs.add_parser("show", help="list the stretches of memory that a file holds")
    _add_file_arguments(show)
    show.add_argument("--json", action="store_true", help="a list of objects")


def _add_file_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the file")
    parser.add_argument("--format", choices=_READ, help="what it is (the file says it)")
    parser.add_argument("--base", metavar="ADDRESS", help="raw: where its first byte goes")
    parser.add_argument(
        "--offset", metavar="OFFSET", default="0", help="added to its addresses, modulo 2^64"
    )


def _read_file(chosen: argparse.Namespace) -> tuple[Content, ...]:
    from memhub.images import load_image

    base = None if chosen.base is None else address(chosen.base)

    return load_image(chosen.file, format=chosen.format, base=base, offset=address(chosen.offset))


def _save(chosen: argparse.Namespace) -> None:
    base = None if chosen.base is None else address(chosen.base)
    length = None if chosen.length is None else amount(chosen.length)
    target = open_target(chosen, "memhub image")
    with target.client:
        dump = _dump_of(target, chosen.view)

    dump.save(chosen.out, chosen.format, base=base, length=length)
    name = dump.spec.name
    if chosen.json:
        row = {"machine": name, "file": chosen.out, "touched": dump.touched}
        print_json({**row, "hidden": dump.hidden})
    else:
        print_line(f"memhub: {chosen.out}: {name}, {size(dump.touched)} touched")
        if dump.hidden:
            print_line(f"memhub: {dump.hidden} bytes of it are newer in caches and buffers")


def _dump_of(target: Target, view: DumpView) -> MemoryDump:
    """The memory of the machine that a command is about."""
    from memhub.service.blocking import BlockingClient

    if not isinstance(target.client, BlockingClient):
        return target.client.dump_memory(target.machine, view=view)

    from memhub.hub.memory_images import dump_taken
    from memhub.snapshots.snapshot import Snapshot

    with target.client.open(target.path("mem")) as handle:
        machine = handle.path.rpartition(":")[0]

    snapshot = Snapshot.from_bytes(target.client.take_snapshot(machine))

    return dump_taken(snapshot.machines[machine], view)


def _load(chosen: argparse.Namespace) -> None:
    why = "a running service is loaded; a machine of a file begins with its images"
    with open_service(chosen, "memhub image", why) as client:
        contents = _read_file(chosen)
        count = client.load_memory(contents, chosen.machine, clear=chosen.clear)

    if chosen.json:
        print_json({"file": chosen.file, "bytes": count})
    else:
        print_line(f"memhub: {chosen.file}: {size(count)} loaded")


def _show(chosen: argparse.Namespace) -> None:
    contents = _joined(_read_file(chosen))
    if chosen.json:
        print_json([{"base": b, "length": n, "zeros": z} for b, n, z in contents])
        return

    for base, length, zeros in contents:
        tail = ", all zeros" if zeros == length else f", {size(zeros)} of zeros" if zeros else ""
        print_line(f"{base:#018x}  {size(length)}{tail}")


def _joined(contents: Sequence[Content]) -> list[tuple[int, int, int]]:
    """Stretches that touch as one: first byte, bytes, and how many of them are zeros."""
    rows: list[tuple[int, int, int]] = []
    for it in contents:
        if rows and sum(rows[-1][:2]) == it.base:
            base, _, zeros = rows[-1]
            rows[-1] = (base, it.end - base, zeros + it.zeros)
        else:
            rows.append((it.base, it.end - it.base, it.zeros))

    return rows
