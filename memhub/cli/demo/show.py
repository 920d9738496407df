"""The demo as text and as JSON."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import extent
from memhub.cli.demo.maps import legend, strips
from memhub.cli.demo.timeline import first_of_each_kind, make_timeline
from memhub.cli.demo.words import attribute

if TYPE_CHECKING:
    from memhub.cli.demo.run import DemoRun, MachineSummary, Slot
    from memhub.cli.demo.timeline import Line
    from memhub.cli.terminal import Screen

#: Where a reason begins, below what was asked for.
_INDENT: Final = 22

#: Columns of what was asked for, and of the longest result.
_WHAT: Final = 37
_RESULT: Final = 20

#: Lines that a reason may take, unless everything is shown.
_REASON_LINES: Final = 2

#: The first word of a result, and how it looks.
_RESULT_STYLES: Final = {
    "ok": "green",
    "waits": "yellow",
    "undone": "magenta",
    "free": "cyan",
    "disconnect": "magenta",
    "seen": "cyan",
}


@dataclass(frozen=True, slots=True)
class Page:
    """How much is shown.

    Attributes:
        width: columns.
        program: the command that runs memhub.
        everything: each event and range, instead of one of each kind.
    """

    width: int
    program: str
    everything: bool = False


def show(run: DemoRun, screen: Screen, page: Page) -> None:
    """Write the result of a run.

    Args:
        run: the result.
        screen: where it is written.
        page: how much is shown.
    """
    screen.line(
        (f"memhub demo: {len(run.machines)} machines, {run.clients} clients, one hub", "bold"),
    )
    screen.line((f"seed {run.seed}: the same seed gives the same run and the same log", "dim"))
    _print_title(
        screen, "What happened", "range requests as they took effect, and why some were refused"
    )
    _print_timeline(screen, run, page)
    _print_title(screen, "Ranges at the end", "ranges in force, their labels, and who holds them")
    for machine in run.machines:
        _print_table(screen, machine, page)

    _print_title(
        screen, "Effective types", "the type of each address, from registers and attributes"
    )
    screen.line(*legend())
    screen.line(("64 cells a row; lower case: a part of the cell", "dim"))
    for machine in run.machines:
        for number, strip in enumerate(strips(machine)):
            screen.line((f"{machine.name if not number else '':<7} ", "bold"), *strip)

    _print_audit(screen, run, page)


def _print_title(screen: Screen, title: str, about: str) -> None:
    screen.line()
    screen.line((title, "bold underline"), (f"  {about}", "dim"))


def _print_timeline(screen: Screen, run: DemoRun, page: Page) -> None:
    lines = _lines_of(run)
    shown = lines if page.everything else first_of_each_kind(lines)
    for line in shown:
        _print_line(screen, line, page)

    if len(shown) < len(lines):
        screen.line((f"  … and {len(lines) - len(shown)} more of these kinds: --all", "dim"))


def _lines_of(run: DemoRun) -> list[Line]:
    """The events up to the end; the closes of all clients after it are left out."""
    return make_timeline(run.records[: run.before_close], run.observations)


def _print_line(screen: Screen, line: Line, page: Page) -> None:
    style = "bold red" if line.refused else _RESULT_STYLES[line.result.split()[0]]
    room = max(page.width - _INDENT - _RESULT, 20)
    screen.line(
        (f"{line.mono_ns / 1e6:5.1f} ", "dim"),
        (f"{line.machine:<7}", "bold"),
        f"{line.process:<9}{shorten(line.what, room, placeholder=' …'):<{min(room, _WHAT)}} ",
        (line.result if line.result != "seen" else "", style),
    )
    if line.why:
        room = max(page.width - _INDENT, 20)
        limit = None if page.everything else _REASON_LINES
        for piece in wrap(
            line.why, room, break_on_hyphens=False, max_lines=limit, placeholder=" …"
        ):
            screen.line((" " * _INDENT + piece, "red"))


def _print_table(screen: Screen, machine: MachineSummary, page: Page) -> None:
    counts = f"{len(machine.slots)} of {len(machine.slots) + machine.free} ranges in use"
    if machine.fixed:
        counts += f" beside {machine.fixed} fixed ones"

    about = machine.summary if machine.types is None else f"{counts}; {machine.summary}"
    about = shorten(f"{machine.arch}: {about}", max(page.width - 8, 30), placeholder=" …")
    screen.line((f"{machine.name:<7} ", "bold"), (about, "dim"))
    for slot in machine.slots:
        if not page.everything and slot.claimant is None:
            continue  # as firmware left it

        where = extent(slot.desc.mr_base, slot.desc.mr_len)
        screen.line(
            f"{slot.number:>5}  {where:<18} {attribute(slot.desc.mr_flags):<14} "
            f"{slot.desc.owner or '-':<8} ",
            (f"claimed by {slot.claimant}" if slot.claimant else "", "yellow"),
        )


def _print_audit(screen: Screen, run: DemoRun, page: Page) -> None:
    total, verdict = run.total, run.verdict
    _print_title(screen, "The audit log", "every request, granted or refused, hash-chained")
    refused = ", ".join(f"{count} {name}" for name, count in total.errors.most_common())
    events = ", ".join(f"{count} {name}" for name, count in total.events.most_common())
    state = (
        f"verified: all {verdict.records} records" if verdict.ok else f"BROKEN: {verdict.broken}"
    )
    rows = (
        ("records", f"{total.records}: {events}", ""),
        ("refused", f"{total.refused}: {refused}", ""),
        ("chain", state, "green" if verdict.ok else "bold red"),
        ("head", verdict.head, ""),
    )
    for name, text, style in rows:
        room = max(page.width - 9, 66 if name == "head" else 30)
        screen.line((f"{name:<9}", "bold"), (shorten(text, room, placeholder=" …"), style))

    # On a line of its own and not shortened, so that it can be pasted.
    screen.line(("look at it with", "bold"))
    hint = f"{page.program} audit show --refused {shlex.quote(str(run.path))}"
    screen.line(hint, whole=True)


def as_json(run: DemoRun) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "seed": run.seed,
        "clients": run.clients,
        "timeline": [line.as_dict() for line in _lines_of(run)],
        "machines": [_machine_facts(machine) for machine in run.machines],
        "audit": {
            "path": str(run.path),
            "records": run.total.records,
            "refused": run.total.refused,
            "events": dict(run.total.events),
            "errors": dict(run.total.errors),
            "verified": run.verdict.ok,
            "head": run.verdict.head,
        },
    }


def _machine_facts(machine: MachineSummary) -> dict[str, Any]:
    segments = [] if machine.types is None else machine.types.segments(0, machine.end)

    return {
        "machine": machine.name,
        "arch": machine.arch,
        "slots": [_slot_facts(slot) for slot in machine.slots],
        "free": machine.free,
        "fixed": machine.fixed,
        "types": [[it.base, it.end - it.base, it.type] for it in segments],
    }


def _slot_facts(slot: Slot) -> dict[str, Any]:
    return {
        "slot": slot.number,
        "base": slot.desc.mr_base,
        "length": slot.desc.mr_len,
        "attribute": attribute(slot.desc.mr_flags),
        "owner": slot.desc.owner,
        "claimed_by": slot.claimant,
    }
