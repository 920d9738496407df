"""An answer as an Arrow table, or as a frame of pandas or polars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memhub.analysis.extra import require_package

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question gives: an Ibis expression that is computed when it is asked for.

    Addresses are unsigned 64-bit integers in every form.

    Attributes:
        expr: the expression, to go on from.
    """

    expr: Any

    @property
    def sql(self) -> str:
        """The query that computes it, for DuckDB."""
        from memhub.analysis.engine import sql_of

        return sql_of(self.expr)

    def to_pyarrow(self) -> Any:  # noqa: ANN401 - pyarrow has no types
        """The whole answer as an Arrow table."""
        return self.expr.to_pyarrow()

    def to_batches(self, rows: int = 65536) -> Iterator[Any]:
        """The answer as Arrow record batches of at most so many rows."""
        backend = self.expr.get_backend()
        if backend.name != "duckdb":
            return iter(self.expr.to_pyarrow_batches(chunk_size=rows))

        # Ibis 12 calls a method for this that DuckDB 2 has no more
        return iter(backend.con.sql(self.sql).to_arrow_reader(rows))

    def to_pylist(self) -> list[dict[str, Any]]:
        """The answer as one dict for each row."""
        found: list[dict[str, Any]] = self.to_pyarrow().to_pylist()

        return found

    def to_pandas(self) -> Any:  # noqa: ANN401 - pandas is optional
        """The answer as a pandas frame; integers that may be missing stay integers.

        Raises:
            AnalysisNotInstalled: pandas is missing.
        """
        pandas, arrow = require_package("pandas", "frames"), require_package("pyarrow")
        kinds = {
            arrow.uint64(): pandas.UInt64Dtype(),
            arrow.int64(): pandas.Int64Dtype(),
            arrow.int32(): pandas.Int32Dtype(),
            arrow.bool_(): pandas.BooleanDtype(),
        }

        return self.to_pyarrow().to_pandas(types_mapper=kinds.get)

    def to_polars(self) -> Any:  # noqa: ANN401 - polars is optional
        """The answer as a polars frame.

        Raises:
            AnalysisNotInstalled: polars is missing.
        """
        return require_package("polars", "frames").from_arrow(self.to_pyarrow())
