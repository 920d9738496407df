"""The questions as commands: one table, in the form that was asked for, in 80 columns."""

from __future__ import annotations

import argparse
import csv
import io
import json
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import polars
import pyarrow
import pytest
from pandas import UInt64Dtype
from pyarrow import ipc, parquet

from memhub.cli.audit.question_output import write_answer
from memhub.cli.audit.question_views import COLUMNS
from memhub.folding import cells

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from clirun import Run
    from memhub.analysis import Analysis

every_question = pytest.mark.parametrize("name", sorted(COLUMNS))


@pytest.fixture(scope="module")
def answer(asked: Analysis) -> Callable[[str], Any]:
    """The answer to a question as an Arrow table, which is computed once."""
    return cache(partial(ask, asked))


def ask(log: Analysis, name: str) -> Any:
    verb, _, by = name.partition(" ")
    if by:
        return log.occupancy(by).to_pyarrow()  # type: ignore[arg-type]

    if verb == "flapping":
        return log.flapping(least=2).to_pyarrow()

    return getattr(log, verb)().to_pyarrow()


def chosen(**options: Any) -> argparse.Namespace:
    none = {"json": False, "csv": False, "arrow": None, "parquet": None}

    return argparse.Namespace(**{**none, **options})


def test_contention_names_who_waited_for_whom(run: Run, demo: Path) -> None:
    done = run("audit", "contention", demo, "--json")
    first = json.loads(done.out)[0]

    assert (done.code, done.err) == (0, "")
    assert {name: first[name] for name in ("process", "holder", "refused", "waited")} == {
        "process": "wayland", "holder": "Xorg", "refused": 2, "waited": 2,
    }  # fmt: skip


@every_question
def test_every_form_has_the_same_rows(
    answer: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    table, columns = answer(name), COLUMNS[name]
    write_answer(chosen(json=True), table, columns)
    rows = json.loads(capsys.readouterr().out)
    write_answer(chosen(csv=True), table, columns)
    lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    for form in ("arrow", "parquet"):
        write_answer(chosen(**{form: tmp_path / form}), table, columns)

    with pyarrow.OSFile(str(tmp_path / "arrow")) as file:
        assert ipc.open_file(file).read_all().equals(table)

    assert parquet.read_table(tmp_path / "parquet").equals(table)
    assert len(rows) == len(lines) == table.num_rows
    for column in table.column_names:
        if column in ("base", "length", "other_base", "other_length"):
            values = table[column].to_pylist()
            assert table.schema.field(column).type == pyarrow.uint64()
            assert [row[column] for row in rows] == values
            assert [line[column] for line in lines] == [str(it) for it in values]


@every_question
def test_a_table_fits_80_columns(
    answer: Callable[[str], Any],
    name: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    table = answer(name)
    for column in ("machine", "process", "owner", "holder", "victim", "by"):
        if column in table.column_names and table.num_rows:
            place = table.column_names.index(column)
            long = pyarrow.array(["a-long-name-" + "名" * 40] * table.num_rows)
            table = table.set_column(place, column, long)

    write_answer(chosen(), table, COLUMNS[name])
    out = capsys.readouterr().out

    assert [line for line in out.splitlines() if cells(line) > 80] == []
    if table.num_rows and "base" in table.column_names:
        first = table["base"][0].as_py()
        assert f"{first:#x}+" in out, "an address is whole"


def test_a_frame_has_unsigned_addresses(asked: Analysis) -> None:
    found = asked.hijacks()

    assert found.to_pandas()["base"].dtype == UInt64Dtype()
    assert found.to_polars()["base"].dtype == polars.UInt64
    assert found.to_pandas()["base"].tolist() == [it["base"] for it in found.to_pylist()]
    assert sum(batch.num_rows for batch in found.to_batches(3)) == len(found.to_pylist())
