"""DuckDB under Ibis, with the SQL of expressions kept: compiling many takes longer than to run."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import ibis
from ibis.backends.duckdb import Backend
from ibis.expr import operations

#: How many expressions stay compiled; a long one takes about a megabyte.
_COMPILED: Final = 64

Expr = Any
Table = Any


class Engine(Backend):  # type: ignore[misc] # Ibis has no types
    """An engine that compiles an expression once, whichever logs it is asked of."""

    def compile(self, expr: Expr, /, **more: object) -> str:
        """The SQL of an expression, which Ibis asks for before it runs one."""
        if any(value is not None for value in more.values()):
            return str(super().compile(expr, **more))

        return sql_of(expr)

    def stand_in(self, name: str, expr: Table) -> Table:
        """The view of this name, which was made of an expression.

        Ibis's own `table` has DuckDB describe it, which plans the whole query once more.
        """
        made = operations.DatabaseTable(
            name, schema=expr.schema(), source=self, namespace=operations.Namespace()
        )

        return made.to_expr()


def sql_of(expr: Expr) -> str:
    """The query that computes an expression, for DuckDB."""
    return _compile(expr.as_table().unbind().op())


@lru_cache(maxsize=_COMPILED)
def _compile(unbound: Expr) -> str:
    return str(ibis.to_sql(unbound.to_expr(), dialect="duckdb"))
