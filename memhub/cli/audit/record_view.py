"""Records of an audit log on standard output, as readable lines or as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    #: A line of the log and the record that it holds.
    Found = tuple[bytes, dict[str, Any]]

#: Bytes of lines that are kept at most.
_MOST_BYTES: Final = 256 << 20


def keep_last(found: Iterator[Found], count: int, option: str) -> Iterator[Found]:
    """The last of the records that were found.

    Args:
        found: the records, all of which are read.
        count: how many are kept.
        option: what asked for them, for the message.

    Raises:
        CommandFailed: they need more memory than this command may use.
    """
    from collections import deque

    from memhub.audit.line import parse_record

    kept: deque[bytes] = deque()
    size = 0
    for line, _ in found:
        kept.append(line)
        size += len(line)
        if len(kept) > count:
            size -= len(kept.popleft())

        if size > _MOST_BYTES:
            raise CommandFailed(
                f"{option}: the records have more than {_MOST_BYTES >> 20} MiB: take fewer"
            )

    return ((line, parse_record(line)) for line in kept)


def print_lines(found: Iterator[Found]) -> None:
    """Write the lines as they are in the log; on a terminal control characters are escaped."""
    import sys

    from memhub.cli.terminal import output, print_document

    shown = sys.stdout.isatty()
    for line, _ in found:
        if shown:
            print_document(line.decode())
        else:
            with output():
                sys.stdout.buffer.write(line + b"\n")


def print_records(found: Iterator[Found]) -> None:
    """Write the records as readable lines, below the day of each."""
    from datetime import UTC, datetime, timedelta

    from memhub.cli.terminal import Screen
    from memhub.shipping.sentence import record_words

    screen, day = Screen(), ""
    epoch = datetime.fromtimestamp(0, UTC)
    for _, record in found:
        when = epoch + timedelta(microseconds=record["wall_ns"] // 1000)
        if day != (day := f"{when:%Y-%m-%d}"):
            screen.line((f"{day} UTC", "bold"))

        place = f"{record['seq']:>6} {when:%H:%M:%S.%f} "
        screen.line((place, "dim"), *record_words(record), hang=len(place))
        if record.get("errno") is None:  # else they are the reason
            for line in record.get("printed") or ():
                screen.line(f"{'':{len(place)}}{line}", hang=len(place) + 2)
