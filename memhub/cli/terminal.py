"""Output for a terminal: lines, colour if rich is installed, progress, and JSON.

Everything that a command shows goes through here, so that foreign text is escaped in one place.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack, contextmanager
from time import monotonic
from typing import IO, TYPE_CHECKING, Any

from memhub.cli.width import width
from memhub.escape import escape_controls, escape_json
from memhub.folding import breaks, fold

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    #: A piece of a line: plain text, or text and one of rich's styles.
    Span = str | tuple[str, str]

    #: Takes how much is done and how much there is in all.
    Progress = Callable[[int, int], None]


class OutputFailed(Exception):
    """Raised when standard output does not take a command's output.

    Args:
        cause: the operating system's error.
    """

    def __init__(self, cause: OSError) -> None:
        super().__init__(f"standard output: {cause.strerror}")


@contextmanager
def output() -> Iterator[None]:
    """Around writes to standard output: its failure becomes an error of its own.

    Raises:
        BrokenPipeError: the reader has closed the pipe, which is not a failure.
        OutputFailed: it could not be written.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(error) from error


def read_input() -> bytes:
    """All of standard input.

    Raises:
        OSError: it cannot be read; it is named.
    """
    try:
        return sys.stdin.buffer.read()
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard input") from error


def drop(stream: IO[str]) -> None:
    """Discard what is still in the buffer of a standard stream that cannot be written any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write(text: str, stream: IO[str]) -> None:
    """Write text that is already escaped; what standard error does not take is lost.

    Raises:
        OutputFailed: see `output`.
    """
    if stream is sys.stderr:
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            drop(stream)
    else:
        with output():
            stream.write(text)


def print_line(
    text: str, stream: IO[str] | None = None, *, hang: int | None = None, whole: bool = False
) -> None:
    """Write one line, in which nothing but its end can move the cursor.

    Args:
        text: the line, without its end.
        stream: where it is written; standard output if None.
        hang: the indent of what does not fit the first line, as for `fold`.
        whole: leave it on one line, however long: it is for a program, or to be pasted.
    """
    text = escape_controls(text)
    if not whole:
        text = "\n".join(fold(text, width(), hang))

    write(f"{text}\n", sys.stdout if stream is None else stream)


def print_text(text: str, *, before: str = "", after: str = "") -> None:
    """Write lines to standard output, now.

    Args:
        text: the lines, each with its end.
        before: control sequences for the terminal before them.
        after: control sequences after them.
    """
    shown = "".join(f"{escape_controls(line)}\n" for line in text.split("\n")[:-1])
    with output():
        print(before + shown, end=after, flush=True)


def complain(text: str) -> None:
    """Write a line to standard error, after standard output is flushed."""
    with output():
        sys.stdout.flush()

    print_line(f"memhub: {text}", sys.stderr, hang=8)


class Screen:
    """Lines of text, styled where the terminal can show it.

    Args:
        colour: False for plain text; None decides by the terminal, NO_COLOR and TERM.
        stream: where to write; standard output if None.
    """

    def __init__(self, *, colour: bool | None = None, stream: IO[str] | None = None) -> None:
        self._stream = sys.stdout if stream is None else stream
        wanted = shows_colour(self._stream) if colour is None else colour
        self._rich = _make_console(self._stream) if wanted else None

    def line(self, *spans: Span, hang: int | None = None, whole: bool = False) -> None:
        """Write one line; `hang` and `whole` as for `print_line`."""
        if self._rich is None:
            text = "".join(it if isinstance(it, str) else it[0] for it in spans)
            print_line(text.rstrip(), self._stream, hang=hang, whole=whole)
            return

        from rich.text import Text

        shown = [
            escape_controls(it) if isinstance(it, str) else (escape_controls(it[0]), it[1])
            for it in spans
        ]
        styled = Text.assemble(*shown)
        columns = len(styled.plain) * 2 if whole else width()
        with output():
            for indent, start, end in breaks(styled.plain, columns, hang):
                self._rich.print(" " * indent, styled[start:end], sep="", soft_wrap=True)


def shows_colour(stream: IO[str]) -> bool:
    """Whether a stream is a terminal with colours, by NO_COLOR and TERM."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _make_console(stream: IO[str]) -> Any:  # noqa: ANN401 - rich is optional
    try:
        from rich.console import Console
    except ImportError:
        complain("plain text; the extra memhub[cli] adds colour")
        return None

    return Console(file=stream, highlight=False, markup=False, emoji=False)


def print_json(value: object, *, indent: bool = True) -> None:
    """Write one JSON document, over several lines or on one; strings keep their characters."""
    print_document(json_document(value, indent=indent))


def json_document(value: object, *, indent: bool = True) -> str:
    """One JSON document as text, over several lines or on one."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=2 if indent else None)


def print_document(text: str) -> None:
    """Write a JSON or TOML document."""
    with output():
        print(document(text), end="", flush=True)


def document(text: str) -> str:
    r"""The document as it is written: control characters escaped, and a newline at the end."""
    return escape_json(text.removesuffix("\n")) + "\n"


@contextmanager
def progress(label: str) -> Iterator[Progress]:
    """Show the progress of long work, if standard error is a terminal.

    Yields:
        what the work calls with how much is done and how much there is in all.
    """
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return

    label = escape_controls(label)
    try:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar
    except ImportError:
        with _count_lines(label) as count:
            yield count

        return

    # The label is foreign text: rich must not read markup in it.
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Bar(
        *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
    ) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def late_progress(label: str, after: float = 1.0) -> Iterator[Progress]:
    """Show the progress of work once it has taken some time.

    Args:
        label: as for `progress`.
        after: how long, in seconds.

    Yields:
        as `progress` does.
    """
    due = monotonic() + after
    with ExitStack() as stack:
        shown: Progress | None = None

        def tell(done: int, total: int) -> None:
            nonlocal shown
            if shown is None and monotonic() >= due:
                shown = stack.enter_context(progress(label))
            if shown is not None:
                shown(done, total)

        yield tell


@contextmanager
def _count_lines(label: str) -> Iterator[Progress]:
    shown = -1

    def count(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if percent != shown:
            shown = percent
            print(f"\r{label} {percent:3}%", end="", file=sys.stderr, flush=True)

    yield count

    print("\r\x1b[K", end="", file=sys.stderr, flush=True)
