"""Answers in the form that was asked for."""

from __future__ import annotations

from contextlib import contextmanager
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any

from memhub.cli.audit.question_table import print_table
from memhub.cli.file_output import STANDARD_OUTPUT, check_output, write_output
from memhub.cli.terminal import output, print_document, print_line
from memhub.whole_file import open_whole

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator, Sequence

    from memhub.cli.audit.question_table import Column


def write_answer(chosen: argparse.Namespace, table: Any, columns: Sequence[Column]) -> None:  # noqa: ANN401
    """Write an Arrow table as a table for people, or as the options say.

    Raises:
        OSError: a file cannot be written; it is named.
    """
    if chosen.json:
        print_document(_json(table))
    elif chosen.csv:
        _write_csv(table)
    elif chosen.arrow is not None:
        _write_arrow(table, chosen.arrow)
    elif chosen.parquet is not None:
        _write_parquet(table, chosen.parquet)
    elif not table.num_rows:
        print_line("nothing was found")
    else:
        print_table(columns, table.to_pylist())


def _json(table: Any) -> str:  # noqa: ANN401 - an Arrow table
    """A list with one object on a line."""
    import orjson

    rows = [orjson.dumps(row, default=str).decode() for row in table.to_pylist()]

    return "[" + ",\n ".join(rows) + "]"


def _write_csv(table: Any) -> None:  # noqa: ANN401 - likewise
    import csv
    import io
    import sys

    from memhub.escape import escape_controls

    shown = sys.stdout.isatty()
    for line in _csv_rows(table):
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="").writerow(line)
        text = buffer.getvalue()
        if shown:
            print_document(escape_controls(text))
        else:
            with output():
                sys.stdout.buffer.write(text.encode() + b"\n")


def _csv_rows(table: Any) -> Iterator[list[Any]]:  # noqa: ANN401 - likewise
    yield table.column_names
    for row in table.to_pylist():
        yield [_cell(value) for value in row.values()]


def _cell(value: object) -> object:
    """A value of a cell; text that a spreadsheet would compute is quoted by an apostrophe."""
    if isinstance(value, list):
        return " ".join(map(str, value))

    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return f"'{value}"

    return value


def _write_arrow(table: Any, path: str) -> None:  # noqa: ANN401 - likewise
    from memhub.analysis.extra import require_package

    ipc = require_package("pyarrow.ipc")
    with _opened(path) as file, ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _write_parquet(table: Any, path: str) -> None:  # noqa: ANN401 - likewise
    from memhub.analysis.extra import require_package

    with _opened(path) as file:
        require_package("pyarrow.parquet").write_table(table, file)


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    """A file for bytes; `-` is standard output, unless that is a terminal."""
    check_output(path, "such a table")
    if path != STANDARD_OUTPUT:
        with open_whole(path, special="write") as file:
            yield file

        return

    held = BytesIO()
    yield held
    write_output(path, held.getvalue())
