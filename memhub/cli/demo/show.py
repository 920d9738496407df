"""The demo on a screen, and as JSON."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.demo.maps import legend, strips
from memhub.cli.demo.story import highlights, story
from memhub.cli.demo.words import attribute, extent

if TYPE_CHECKING:
    from memhub.cli.demo.play import Performance, Scene, Slot
    from memhub.cli.demo.story import Line
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
    "note": "cyan",
}


@dataclass(frozen=True, slots=True)
class Page:
    """How much is shown.

    Attributes:
        width: columns.
        program: what to type to run memhub.
        everything: each event and range, instead of one of each kind.
    """

    width: int
    program: str
    everything: bool = False


def show(play: Performance, screen: Screen, page: Page) -> None:
    """Write it all.

    Args:
        play: what there is to show.
        screen: where to.
        page: how much of it.
    """
    screen.line(
        (f"memhub demo: {len(play.scenes)} machines, {play.clients} clients, one hub", "bold"),
    )
    screen.line((f"seed {play.seed}: the same seed gives the same run and the same log", "dim"))
    _title(screen, "What happened", "range requests as they took effect, and why some were refused")
    _story(screen, play, page)
    _title(screen, "What is left", "ranges in force, their labels, and who holds them")
    for scene in play.scenes:
        _table(screen, scene, page)

    _title(screen, "Effective types", "what the memory really is, from registers and attributes")
    screen.line(*legend())
    screen.line(("64 cells a row; lower case: a part of the cell", "dim"))
    for scene in play.scenes:
        for number, strip in enumerate(strips(scene)):
            screen.line((f"{scene.name if not number else '':<7} ", "bold"), *strip)

    _audit(screen, play, page)


def _title(screen: Screen, title: str, about: str) -> None:
    screen.line()
    screen.line((title, "bold underline"), (f"  {about}", "dim"))


def _story(screen: Screen, play: Performance, page: Page) -> None:
    lines = story(play.records[: play.curtain], play.notes)
    shown = lines if page.everything else highlights(lines)
    for line in shown:
        _line(screen, line, page)

    if len(shown) < len(lines):
        screen.line((f"  … and {len(lines) - len(shown)} more of these kinds: --all", "dim"))


def _line(screen: Screen, line: Line, page: Page) -> None:
    style = "bold red" if line.refused else _RESULT_STYLES[line.result.split()[0]]
    room = max(page.width - _INDENT - _RESULT, 20)
    screen.line(
        (f"{line.mono_ns / 1e6:5.1f} ", "dim"),
        (f"{line.machine:<7}", "bold"),
        f"{line.process:<9}{shorten(line.what, room, placeholder=' …'):<{min(room, _WHAT)}} ",
        (line.result if line.result != "note" else "", style),
    )
    if line.why:
        room = max(page.width - _INDENT, 20)
        limit = None if page.everything else _REASON_LINES
        for piece in wrap(
            line.why, room, break_on_hyphens=False, max_lines=limit, placeholder=" …"
        ):
            screen.line((" " * _INDENT + piece, "red"))


def _table(screen: Screen, scene: Scene, page: Page) -> None:
    counts = f"{len(scene.slots)} of {len(scene.slots) + scene.free} ranges in use"
    if scene.fixed:
        counts += f" beside {scene.fixed} fixed ones"

    about = scene.summary if scene.types is None else f"{counts}; {scene.summary}"
    about = shorten(f"{scene.arch}: {about}", max(page.width - 8, 30), placeholder=" …")
    screen.line((f"{scene.name:<7} ", "bold"), (about, "dim"))
    for slot in scene.slots:
        if not page.everything and slot.claimant is None:
            continue  # as firmware left it

        where = extent(slot.desc.mr_base, slot.desc.mr_len)
        screen.line(
            f"{slot.number:>5}  {where:<18} {attribute(slot.desc.mr_flags):<14} "
            f"{slot.desc.owner or '-':<8} ",
            (f"claimed by {slot.claimant}" if slot.claimant else "", "yellow"),
        )


def _audit(screen: Screen, play: Performance, page: Page) -> None:
    total, verdict = play.total, play.verdict
    _title(screen, "The audit log", "every request, granted or refused, hash-chained")
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

    # On a line of its own, whole: it is there to be pasted.
    screen.line(("look at it with", "bold"))
    screen.line(f"{page.program} audit show --refused {shlex.quote(str(play.path))}")


def as_json(play: Performance) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "seed": play.seed,
        "clients": play.clients,
        "story": [line.as_dict() for line in story(play.records[: play.curtain], play.notes)],
        "machines": [_machine(scene) for scene in play.scenes],
        "audit": {
            "path": str(play.path),
            "records": play.total.records,
            "refused": play.total.refused,
            "events": dict(play.total.events),
            "errors": dict(play.total.errors),
            "verified": play.verdict.ok,
            "head": play.verdict.head,
        },
    }


def _machine(scene: Scene) -> dict[str, Any]:
    segments = [] if scene.types is None else scene.types.segments(0, scene.end)

    return {
        "machine": scene.name,
        "arch": scene.arch,
        "slots": [_slot(slot) for slot in scene.slots],
        "free": scene.free,
        "fixed": scene.fixed,
        "types": [[it.base, it.end - it.base, it.type] for it in segments],
    }


def _slot(slot: Slot) -> dict[str, Any]:
    return {
        "slot": slot.number,
        "base": slot.desc.mr_base,
        "length": slot.desc.mr_len,
        "attribute": attribute(slot.desc.mr_flags),
        "owner": slot.desc.owner,
        "claimed_by": slot.claimant,
    }
