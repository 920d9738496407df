"""Questions to audit logs: the class that people import."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, Self

from memhub.analysis.answer import Answer
from memhub.analysis.extra import require_package
from memhub.analysis.pack import MEMORY
from memhub.analysis.store import Store

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable
    from datetime import datetime

    Progress = Callable[[int, int], None]

#: What occupancy is told by.
Side = Literal["machine", "owner", "process", "time"]

#: What may be asked without arguments, and kept.
Question = Literal["contention", "leaks", "hijacks", "flapping", "slots"]

#: A minute, in nanoseconds.
MINUTE_NS: Final = 60_000_000_000


class Analysis:
    """Some logs, or packed sets, and the questions to them. Use it as a context manager.

    Args:
        paths: packed sets, or logs and folders of logs.
        verified: whether the chains of logs are checked; a packed set was checked before.
        progress: called with the bytes done and the bytes in all of the log that is read.
        memory: the most memory that DuckDB takes, as `1GB`.

    Attributes:
        notes: what was left out of the logs, in words.

    Raises:
        DamagedLog: the chain of a log breaks; the line is named.
        AuditError: a log or a set cannot be read.
        AnalysisNotInstalled: the extra `analysis` is missing.
    """

    def __init__(
        self,
        paths: Iterable[str | os.PathLike[str]],
        *,
        verified: bool = True,
        progress: Progress | None = None,
        memory: str = MEMORY,
    ) -> None:
        self._memory = memory
        self._store = Store(paths, verified=verified, progress=progress, memory=memory)
        self.notes = self._store.notes
        self.views = make_views(self._store.records, self._store.keep)
        self._computed: dict[str, Any] = {}

    def view(self, name: str) -> Answer:
        """A ready-made view: `records`, `requests`, `changes`, `tenures`, `holdings`, ….

        Raises:
            KeyError: there is none of this name.
        """
        from memhub.analysis.views import NAMES

        if name not in NAMES:
            raise KeyError(f"there is no view {name!r}; there are {', '.join(NAMES)}")

        return Answer(getattr(self.views, name))

    def occupancy(self, by: Side = "machine") -> Answer:
        """How many slots were in use, and who held ranges for how long.

        Args:
            by: `machine` for the least, mean and most slots of each; `owner` for the ranges that
                carried each label, `process` for the slots that each claimed, and for how long;
                `time` for the slots in use after each change.
        """
        from memhub.analysis import occupancy

        ask = {
            "machine": occupancy.of_machines,
            "owner": occupancy.of_owners,
            "process": occupancy.of_processes,
            "time": occupancy.over_time,
        }

        return Answer(ask[by](self.views))

    def contention(self) -> Answer:
        """Who was refused or waited because of whom: how often, and how long."""
        from memhub.analysis.contention import contention

        return Answer(contention(self.views))

    def leaks(self) -> Answer:
        """Claims that were not given back, and ranges whose process has gone."""
        from memhub.analysis.leaks import leaks

        return Answer(leaks(self.views))

    def hijacks(self) -> Answer:
        """Claims that were broken, and ranges that another process than their own changed."""
        from memhub.analysis.hijacks import hijacks

        return Answer(hijacks(self.views))

    def flapping(self, *, least: int = 4, within_ns: int = MINUTE_NS) -> Answer:
        """Ranges that came, went, or were given another type again and again.

        Args:
            least: changes that make a burst, 2 or more.
            within_ns: nanoseconds in which they fall.
        """
        from memhub.analysis.flapping import flapping

        return Answer(flapping(self.views, least=least, within_ns=within_ns))

    def slots(self, *, at: int | datetime | None = None) -> Answer:
        """Slots whose range could go without changing a type.

        Args:
            at: the state after this record (`n`), or at this time; at the end if None.
        """
        from memhub.analysis.wasted import wasted_slots

        if at is None or isinstance(at, int):
            return Answer(wasted_slots(self.views, at_n=at))

        return Answer(wasted_slots(self.views, at_ns=int(at.timestamp() * 1_000_000) * 1000))

    def computed(self, name: Question) -> Any:  # noqa: ANN401 - an Ibis table
        """The answer to a question as an Ibis table, which is computed at its first use and kept.

        For what asks the same several times, as lint rules do.

        Args:
            name: the question, which is asked without arguments.
        """
        return self.keep_table(name, lambda: getattr(self, name)().expr)

    def keep_table(self, name: str, make: Callable[[], Any]) -> Any:  # noqa: ANN401 - likewise
        """A table of the engine, which is computed at its first use and kept.

        Args:
            name: what it is kept under.
            make: gives the expression, an Ibis table, that is computed.
        """
        if name not in self._computed:
            self._computed[name] = self._store.compute(name, make())

        return self._computed[name]

    def sql(self, query: str, *, memory: str | None = None) -> Any:  # noqa: ANN401 - Arrow
        """Run one SELECT over the views, without access to anything else.

        Args:
            query: the SELECT.
            memory: the most memory that it takes, as `512MB`.

        Returns:
            an Arrow table.

        Raises:
            QueryRefused: it is not one SELECT, or DuckDB refuses it.
        """
        from memhub.analysis.sandbox import run_query
        from memhub.analysis.views import NAMES

        for name in NAMES:
            if name in query.lower():
                getattr(self.views, name)

        return run_query(
            query,
            self._store.files,
            self._store.kept,
            memory=memory or self._memory,
            spill=self._store.folder,
        )

    def close(self) -> None:
        """End the engine and delete what was kept."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()


def make_views(
    records: Any,  # noqa: ANN401 - Ibis is optional
    keep: Callable[[str, Any], Any] = lambda _name, expr: expr,
) -> Any:  # noqa: ANN401 - likewise
    """The views over a table of records that any of Ibis's backends has.

    Args:
        records: an Ibis table of a packed set's Parquet files.
        keep: makes a view of the engine of an expression, given a name; by default nothing is
            kept.
    """
    require_package("ibis")
    from memhub.analysis.views import Views

    return Views(records, keep)
