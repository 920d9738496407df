"""`memhub audit sql`: one SELECT over the views, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from memhub.analysis import Analysis, QueryRefused

if TYPE_CHECKING:
    from pathlib import Path

    from clirun import Run

VIEWS = ("records", "requests", "changes", "tenures", "holdings", "claims", "waits", "ends")


@pytest.mark.parametrize("name", VIEWS)
def test_each_view_is_there(asked: Analysis, name: str) -> None:
    found = asked.sql(f"SELECT * FROM {name}")
    view = asked.view(name).to_pyarrow()

    assert found.num_rows > 0
    assert found.sort_by("machine").equals(view.sort_by("machine")) or (
        found.num_rows == view.num_rows
    )


REFUSED = {
    "read a file": "SELECT * FROM read_text('{secret}')",
    "a file as a table": "SELECT * FROM '{secret}'",
    "list files": "SELECT * FROM glob('{folder}/*')",
    "reach the network": "SELECT * FROM read_csv('https://localhost/x.csv')",
    "write a file": "COPY (SELECT 1) TO '{folder}/out.csv'",
    "overwrite the records": "COPY (SELECT 1) TO '{parquet}' (FORMAT parquet)",
    "load an extension": "LOAD httpfs",
    "install an extension": "INSTALL httpfs",
    "attach a database": "ATTACH '{folder}/other.db'",
    "unlock the settings": "SET enable_external_access = true",
    "change a setting": "PRAGMA memory_limit = '9GB'",
    "change a view": "CREATE OR REPLACE VIEW records AS SELECT 1",
    "drop a view": "DROP VIEW records",
    "delete records": "DELETE FROM records",
    "two statements": "SELECT 1; COPY (SELECT 1) TO '{folder}/out.csv'",
    "a copy behind EXPLAIN": "EXPLAIN ANALYZE COPY (SELECT 1) TO '{folder}/out.csv'",
    "a Python variable": "SELECT * FROM variable_of_this_module",
    "no statement": "",
    "no SQL": "what is wrong?",
}
variable_of_this_module = [1]


@pytest.mark.parametrize("query", REFUSED.values(), ids=REFUSED)
def test_the_query_can_do_nothing_but_select(
    asked: Analysis, packed: Path, tmp_path: Path, query: str
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    parquet = next(packed.rglob("*.parquet"))
    before = parquet.read_bytes()
    with pytest.raises(QueryRefused):
        asked.sql(query.format(secret=secret, folder=tmp_path, parquet=parquet))

    assert parquet.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_memory_is_limited(asked: Analysis) -> None:
    with pytest.raises(QueryRefused, match="Out of Memory"):
        asked.sql("SELECT list(a.range) FROM range(100000000) a", memory="20MB")


def test_a_refusal_is_one_line_of_the_command(run: Run, packed: Path) -> None:
    done = run("audit", "sql", "SELECT nonsense FROM records", packed)

    assert done.code == 2
    assert done.err.startswith('memhub: Binder Error: Referenced column "nonsense" not found')
    assert len(done.err.splitlines()) == 1


def test_the_answer_has_every_form(run: Run, packed: Path) -> None:
    query = "SELECT 18446744073709551615::UBIGINT AS top, 'a' AS name, [1, 2] AS list, NULL AS none"

    assert json.loads(run("audit", "sql", query, packed, "--json").out) == [
        {"top": (1 << 64) - 1, "name": "a", "list": [1, 2], "none": None}
    ]
    assert run("audit", "sql", query, packed).out.splitlines() == [
        "                 top  name  list    none",
        "18446744073709551615  a     [1, 2]  -",
    ]
