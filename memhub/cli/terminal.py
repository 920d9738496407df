"""What goes to a terminal: colour if it can be had, progress, and JSON."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: A piece of a line: plain text, or text and a style in rich's words.
    Span = str | tuple[str, str]

    #: Takes what is done and what there is in all.
    Progress = Callable[[int, int], None]


class Screen:
    """Lines of text, styled where the reader can show it.

    Args:
        colour: False for plain text; None decides by the terminal, NO_COLOR and TERM.
        stream: where to write; standard output if None.
    """

    def __init__(self, *, colour: bool | None = None, stream: IO[str] | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        wanted = _shows_colour(self._stream) if colour is None else colour
        self._rich = _console(self._stream) if wanted else None

    def line(self, *spans: Span) -> None:
        """Write one line."""
        if self._rich is None:
            text = "".join(it if isinstance(it, str) else it[0] for it in spans)
            print(text.rstrip(), file=self._stream)
            return

        from rich.text import Text

        self._rich.print(Text.assemble(*spans), soft_wrap=True)


def _shows_colour(stream: IO[str]) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _console(stream: IO[str]) -> Any:  # noqa: ANN401 - rich is optional
    try:
        from rich.console import Console
    except ImportError:
        print("memhub: plain text; the extra memhub[cli] brings colour", file=sys.stderr)
        return None

    return Console(file=stream, highlight=False, markup=False)


def print_json(value: object) -> None:
    """Write one JSON document, indented."""
    import orjson

    sys.stdout.write(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n")


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Show how far a long piece of work is, if standard error is a terminal.

    Yields:
        what the work calls with what is done and what there is in all.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return

    try:
        from rich.console import Console
        from rich.progress import Progress as Bar
    except ImportError:
        with _counted(label) as count:
            yield count

        return

    console = Console(stderr=True)
    with Bar(console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def _counted(label: str) -> Iterator[Progress]:
    shown = -1

    def count(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            print(f"\r{label} {percent:3}%", end="", file=sys.stderr, flush=True)

    yield count

    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
