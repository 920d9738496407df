"""Options that select records of an audit log."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memhub.cli.amounts import address, amount
from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from datetime import datetime

    from memhub.audit import Selection, Window
    from memhub.cli.audit.record_view import Found

#: Options whose values are names that a log has or not, and how many names are kept of each.
_NAMED: Final = ("op", "machine", "process")
_NAMES_MOST: Final = 100
_WINDOW: Final = re.compile(r"(?P<base>[^-+/]+)(?:(?P<sign>[-+/])(?P<rest>.+))?")


def add_selection_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `selection_of` reads."""
    group = parser.add_argument_group(
        "which records",
        "Each option may be repeated: one of its values must fit, and so must every option.",
    )
    group.add_argument("--refused", action="store_true", help="only what was refused")
    for name, metavar, text in (
        ("event", "NAME", "request.set; claim.* for all that begin so"),
        ("op", "NAME", "the operation: update, remove, pread, ..."),
        ("errno", "NAME", "FreeBSD's name of the error: EBUSY"),
        ("machine", "NAME", "the machine"),
        ("process", "NAME|ID", "who asked: a name, or the hub's number"),
        ("owner", "LABEL", "mr_owner of the range, or of a slot that changed"),
        ("address", "WHERE", "touches ADDR, BASE+LEN or BASE-LAST: 0xe0000000+256M"),
    ):
        group.add_argument(f"--{name}", action="append", default=[], metavar=metavar, help=text)

    for name, text in (("since", "from"), ("until", "up to")):
        group.add_argument(
            f"--{name}",
            metavar="WHEN",
            help=f"{text} this record's seq, or this time: 2026-01-31T12:00:00 (UTC)",
        )


def selection_of(chosen: argparse.Namespace) -> Selection:
    """What the options select.

    Raises:
        CommandFailed: a value is not of its kind, or names nothing that a log can have.
    """
    from memhub.audit import Selection

    since, first = _parse_moment("--since", chosen.since)
    until, last = _parse_moment("--until", chosen.until)
    numbers = [int(it) for it in chosen.process if it.isdecimal() and len(it) < 20]
    try:
        return Selection(
            events=tuple(chosen.event),
            operations=tuple(chosen.op),
            errors=tuple(it.upper() for it in chosen.errno),
            refused=chosen.refused,
            machines=tuple(chosen.machine),
            processes=(*chosen.process, *numbers),
            owners=tuple(chosen.owner),
            windows=tuple(window(it) for it in chosen.address),
            since_ns=since,
            # a time is as exact as it is shown: to the microsecond
            until_ns=None if until is None else until + 999,
            first_seq=first,
            last_seq=last,
        )
    except ValueError as error:
        raise CommandFailed(str(error)) from error


class NamesMet:
    """The names in a log, of the kinds that a selection names, for who finds no record.

    Args:
        chosen: the options of the selection.

    Attributes:
        selected: how many records were selected.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._asked = {it: getattr(chosen, it) for it in _NAMED if getattr(chosen, it)}
        self._met: dict[str, set[str]] = {it: set() for it in self._asked}
        self.selected = 0

    def select(self, records: Iterator[Found], selection: Selection) -> Iterator[Found]:
        """The records that are selected; the names of all of them are noted."""
        for it in records:
            for name, met in self._met.items():
                if isinstance(value := it[1].get(name), str) and len(met) < _NAMES_MOST:
                    met.add(value)

            if selection.matches(it[1]):
                self.selected += 1
                yield it

    def __str__(self) -> str:
        """That no record is selected, and which names the log has where some were asked for."""
        known = []
        for name, wanted in self._asked.items():
            if not (met := self._met[name]).intersection(wanted):
                names = ", ".join(sorted(met)) or "none"
                known.append(f": --{name} {', '.join(wanted)}: the log has {names}")

        return f"no record is selected{''.join(known)}"


def window(text: str) -> Window:
    """Read a stretch of addresses: `0xf0000`, `0xf0000+64K`, `0xf0000-0xfffff`, `0xf0000/0x10000`.

    Raises:
        CommandFailed: it is none of these, is empty, or ends beyond 64 bits.
    """
    from memhub.audit import Window

    parts = _WINDOW.fullmatch(text)
    if parts is None:
        raise CommandFailed(f"{text!r} is not ADDR, BASE+LEN or BASE-LAST")

    base = address(parts["base"])
    if parts["sign"] is None:
        return Window(base, base + 1)

    is_last = parts["sign"] == "-"
    end = address(parts["rest"]) + 1 if is_last else base + amount(parts["rest"])
    if not base < end <= 1 << 64:
        rule = "LAST is below BASE" if is_last else "LEN is 0, or the end is beyond 2**64"
        raise CommandFailed(f"{text!r} is not a stretch of addresses: {rule}")

    return Window(base, end)


def _parse_moment(option: str, text: str | None) -> tuple[int | None, int | None]:
    """A time in nanoseconds since 1970, or the number of a record."""
    if text is None:
        return None, None

    from datetime import UTC, datetime, timedelta

    when = moment(option, text)
    if isinstance(when, int):
        return None, when

    return (when - datetime.fromtimestamp(0, UTC)) // timedelta(microseconds=1) * 1000, None


def moment(option: str, text: str) -> int | datetime:
    """Read the number of a record, or a time, which is in UTC where it has no zone.

    Args:
        option: what the text was given for.
        text: the text.

    Raises:
        CommandFailed: it is neither.
    """
    if text.isdecimal() and len(text) < 20:
        return int(text)

    from datetime import UTC, datetime

    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(
            f"{option}: {text!r} is neither a record's number nor a time as 2026-01-31T12:00:00"
        ) from None

    return when if when.tzinfo is not None else when.replace(tzinfo=UTC)
