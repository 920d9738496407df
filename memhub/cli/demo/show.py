"""The demo on a screen, and as JSON."""

from __future__ import annotations

from textwrap import shorten, wrap
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.demo.maps import legend, strips
from memhub.cli.demo.story import story
from memhub.cli.demo.words import attribute, extent

if TYPE_CHECKING:
    from memhub.cli.demo.play import Performance, Scene, Slot
    from memhub.cli.demo.story import Line
    from memhub.cli.terminal import Screen

#: Where a reason begins, below what was asked for.
_INDENT: Final = 26

#: The first word of a result, and how it looks.
_RESULT_STYLES: Final = {
    "ok": "green",
    "waits": "yellow",
    "undone": "magenta",
    "free": "cyan",
    "disconnect": "magenta",
    "note": "cyan",
}


def show(play: Performance, screen: Screen, width: int) -> None:
    """Write it all.

    Args:
        play: what there is to show.
        screen: where to.
        width: columns; long lines are folded there.
    """
    screen.line(
        (f"memhub demo: {len(play.scenes)} machines, {play.clients} clients, one hub", "bold"),
        (f"  (seed {play.seed}; the same seed gives the same run and the same log)", "dim"),
    )
    _title(screen, "What happened", "range requests as they took effect, and why some were refused")
    for line in story(play.records[: play.curtain], play.notes):
        _line(screen, line, width)

    _title(
        screen,
        "What is left",
        "the ranges in force, their labels, and the processes that hold them",
    )
    for scene in play.scenes:
        _table(screen, scene, width)

    _title(screen, "Effective types", "what the memory really is, from registers and attributes")
    screen.line(*legend())
    for scene in play.scenes:
        for number, strip in enumerate(strips(scene)):
            screen.line((f"{scene.name if not number else '':<7} ", "bold"), *strip)

    _audit(screen, play, width)


def _title(screen: Screen, title: str, about: str) -> None:
    screen.line()
    screen.line((title, "bold underline"), (f"  {about}", "dim"))


def _line(screen: Screen, line: Line, width: int) -> None:
    style = "bold red" if line.refused else _RESULT_STYLES[line.result.split()[0]]
    screen.line(
        (f"{line.mono_ns / 1e6:6.1f} ms ", "dim"),
        (f"{line.machine:<7}", "bold"),
        f"{line.process:<9}{line.what:<52} ",
        (line.result if line.result != "note" else "", style),
    )
    if line.why:
        for piece in wrap(line.why, max(width - _INDENT, 30), break_on_hyphens=False):
            screen.line((" " * _INDENT + piece, "red"))


def _table(screen: Screen, scene: Scene, width: int) -> None:
    counts = f"{len(scene.slots)} of {len(scene.slots) + scene.free} ranges in use"
    if scene.fixed:
        counts += f" beside {scene.fixed} fixed ones"

    about = scene.summary if scene.types is None else f"{counts}; {scene.summary}"
    about = shorten(f"{scene.arch}: {about}", max(width - 8, 30), placeholder=" …")
    screen.line((f"{scene.name:<7} ", "bold"), (about, "dim"))
    for slot in scene.slots:
        held = f"claimed by {slot.claimant}" if slot.claimant else ""
        where = extent(slot.desc.mr_base, slot.desc.mr_len)
        screen.line(
            f"{slot.number:>11}  {where:<22} {attribute(slot.desc.mr_flags):<14} "
            f"{slot.desc.owner or '-':<8} ",
            (held, "yellow"),
        )


def _audit(screen: Screen, play: Performance, width: int) -> None:
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
        ("file", str(play.path), ""),
        ("look", f"memhub audit show --refused {play.path}", ""),
    )
    for name, text, style in rows:
        for number, piece in enumerate(wrap(text, max(width - 9, 30), break_on_hyphens=False)):
            screen.line((f"{'' if number else name:<9}", "bold"), (piece, style))


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
