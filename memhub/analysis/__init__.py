"""Questions to audit logs, on DuckDB; needs the extra `analysis`.

    from memhub.analysis import Analysis

    with Analysis(["audit.jsonl"]) as log:
        print(log.contention().to_pandas())

analysis     the class with the questions        views       ready-made views of the records
pack         logs into a set of Parquet files    claim_view  which bytes were claimed
store        logs and sets as one table          occupancy, contention, leaks, hijacks, flapping,
sandbox      SQL of somebody's own               wasted      one question each, in Ibis
engine       DuckDB, and what Ibis compiled
lint         what to look into, with levels      rules       the rules that memhub has
sound_lines  lines, checked on the way           packing     records sorted into spools
spools       lines on their way into Parquet     table_changes, told_claims  what views start from
manifest     what a packed set holds             paths       what a question is asked of
columns      the columns and their types         answer      an answer as Arrow or a frame
pictures     charts and a page of a log; needs the extra `report`
"""

from __future__ import annotations

from memhub.analysis.analysis import Analysis as Analysis
from memhub.analysis.analysis import make_views as make_views
from memhub.analysis.answer import Answer as Answer
from memhub.analysis.extra import AnalysisNotInstalled as AnalysisNotInstalled
from memhub.analysis.pack import Packed as Packed
from memhub.analysis.pack import pack as pack
from memhub.analysis.sandbox import QueryRefused as QueryRefused

__all__ = (
    "Analysis",
    "AnalysisNotInstalled",
    "Answer",
    "Packed",
    "QueryRefused",
    "make_views",
    "pack",
)
