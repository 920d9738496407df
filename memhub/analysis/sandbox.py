"""A query of somebody's own over the views, which can read those and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.analysis.extra import require_package
from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class QueryRefused(EscapedMessage, ValueError):
    """Raised where a query is not one SELECT, or DuckDB refuses it."""


def run_query(
    query: str,
    files: Sequence[str],
    views: Mapping[str, str],
    *,
    memory: str,
    spill: str,
) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Run one SELECT on an engine of its own that is locked before it sees the query.

    It reads the records' Parquet files and no other file, reaches no network, loads no extension,
    changes no setting and writes nothing.

    Args:
        query: the SELECT.
        files: the Parquet files of `records`.
        views: the SQL of each further view by its name, in the order in which they are made.
        memory: the most memory that it takes, as `1GB`.
        spill: a folder for what does not fit that memory.

    Returns:
        an Arrow table.

    Raises:
        QueryRefused: it is not one SELECT, or DuckDB refuses it.
    """
    duckdb = require_package("duckdb")
    try:
        engine = duckdb.connect(
            config={
                "memory_limit": memory,
                "temp_directory": spill,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "python_enable_replacements": False,
            }
        )
    except duckdb.Error as error:
        raise QueryRefused(_first_line(error)) from error

    try:
        _make_views(engine, files, _find_needed(query, views))
        _lock(engine, files)
        _check_statement(duckdb, engine, query)

        return engine.sql(query).to_arrow_table()
    except duckdb.Error as error:
        raise QueryRefused(_first_line(error)) from error
    finally:
        engine.close()


def _find_needed(query: str, views: Mapping[str, str]) -> dict[str, str]:
    """The views that a query names, and those under them, in their order."""
    text = query.lower()
    needed: set[str] = set()
    for name in reversed([*views]):  # those under a view stand before it
        if name in text:
            needed.add(name)
            text += views[name]

    return {name: sql for name, sql in views.items() if name in needed}


def _make_views(engine: Any, files: Sequence[str], views: Mapping[str, str]) -> None:  # noqa: ANN401
    names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    engine.execute(
        f"CREATE VIEW records AS SELECT * FROM read_parquet([{names}], "  # noqa: S608 - quoted
        "hive_partitioning = false, union_by_name = true)"
    )
    for name, text in views.items():
        engine.execute(f'CREATE VIEW "{name}" AS {text}')


def _lock(engine: Any, files: Sequence[str]) -> None:  # noqa: ANN401 - duckdb's connection
    names = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    engine.execute("SET enable_progress_bar = false")
    engine.execute(f"SET allowed_paths = [{names}]")
    engine.execute("SET enable_external_access = false")
    engine.execute("SET lock_configuration = true")


def _check_statement(duckdb: Any, engine: Any, query: str) -> None:  # noqa: ANN401 - likewise
    """Refuse everything but one SELECT: COPY could overwrite the files that may be read."""
    statements = engine.extract_statements(query)
    if len(statements) != 1:
        raise QueryRefused(f"one SELECT is expected, and there are {len(statements)} statements")

    kind = statements[0].type
    if kind != duckdb.StatementType.SELECT:
        name = getattr(kind, "name", str(kind))
        raise QueryRefused(f"a SELECT is expected, and this is {name}: nothing is written or set")


def _first_line(error: Exception) -> str:
    """What DuckDB says, without the picture of the query below it."""
    return str(error).split("\n\n", 1)[0].replace("\n", " ")
