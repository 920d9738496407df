"""The lint rules that memhub has. Their names are stable; docs/analysis.md lists them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.analysis.rule import Rule
from memhub.core.files import KERNEL_FILES, PATHS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.analysis.analysis import Analysis

    Row = Mapping[str, Any]
    Find = Callable[[Analysis], Any]

#: Files that no range driver is behind; Linux answers EIO to an open of its own without MTRRs.
_UNDRIVEN: Final = tuple(PATHS[it] for it in sorted(KERNEL_FILES))
_LOST: Final = ("disconnect", "cancelled", "error", "garbage")


def _span(row: Row) -> str:
    base, length = row["base"], row["length"]

    return "a range" if base is None or length is None else f"{base:#x}/{length:#x}"


def _who(name: str | None) -> str:
    return "the hub" if name is None else name


def _seconds(ns: int | None) -> str:
    return f"{(ns or 0) / 1e9:.3f} s"


def _records(*events: str) -> Find:
    return lambda log: log.views.records.filter(log.views.records.event.isin(events))


def _refused(*errors: str) -> Find:
    """Requests that were refused so; the `wait.end` behind one is not counted again."""
    return lambda log: log.views.requests.filter(log.views.requests.errno.isin(errors))


def _failed(log: Analysis) -> Any:  # noqa: ANN401 - an Ibis table
    """Requests that are EIO; not the opens of a kernel's own file, which no driver answers."""
    t = _refused("EIO")(log)

    return t.filter((t.event != "request.open") | ~t.device.isin(_UNDRIVEN))


def _waits(cause: str) -> Find:
    def find(log: Analysis) -> Any:  # noqa: ANN401 - an Ibis table
        t = log.views.waits

        return t.filter(t.cause == cause).mutate(seq=t.end_seq)

    return find


def _leaks(*ways: str) -> Find:
    def find(log: Analysis) -> Any:  # noqa: ANN401 - likewise
        t = log.computed("leaks")

        return t.filter(t.how.isin(ways)).mutate(seq=t.until_seq.fill_null(t.since_seq))

    return find


def _hijacks(*kinds: str) -> Find:
    def find(log: Analysis) -> Any:  # noqa: ANN401 - likewise
        t = log.computed("hijacks")

        return t.filter(t.what.isin(kinds))

    return find


def _wasted(why: str) -> Find:
    def find(log: Analysis) -> Any:  # noqa: ANN401 - likewise
        t = log.computed("slots")

        return t.filter(t.why == why).mutate(seq=t.since_seq)

    return find


def _flapping(log: Analysis) -> Any:  # noqa: ANN401 - likewise
    t = log.flapping().expr

    return t.mutate(seq=t.last_seq)


def _unclosed(log: Analysis) -> Any:  # noqa: ANN401 - likewise
    t = log.views.records

    return t.filter((t.event == "log.resume") & ~t.clean)


def _say_wait(row: Row) -> str:
    return (
        f"{_who(row['process'])} waited {_seconds(row['waited_ns'])} for {_span(row)}, held by "
        f"{_who(row['holder'])}"
    )


def _say_lost(row: Row) -> str:
    return f"{_who(row['process'])} lost its claim on {_span(row)}: {row['how']}"


def _say_slots(row: Row) -> str:
    other = f"slot {row['other_slot']} {row['other_base']:#x}/{row['other_length']:#x}"

    return f"slot {row['slot']} {_span(row)} and {other}"


def _say_refused(row: Row) -> str:
    return f"{_who(row['process'])}: {row['reason'] or row['errno']}"


#: Every rule of memhub, the worst first.
OWN_RULES: Final = (
    Rule(
        "driver-failed", "error", "a driver failed, or the log could not be written",
        _failed, _say_refused,
    ),
    Rule(
        "log-cut", "error", "an unfinished record was cut off: the writer was killed",
        _records("log.recovered"), lambda row: f"{row['cut_length']} bytes were cut off",
    ),
    Rule(
        "deadlock", "error", "a wait would never have ended",
        _refused("EDEADLK"), _say_refused,
    ),
    Rule(
        "foreign-change", "error", "a process changed or removed another's range",
        _hijacks("overwrite", "remove"),
        lambda row: f"{_who(row['by'])}: {row['what']} of {_span(row)}, set by {row['victim']}",
    ),
    Rule(
        "claim-broken", "warning", "a claim was broken",
        _hijacks("break"),
        lambda row: f"{_who(row['by'])} broke the claim of {_who(row['victim'])} on {_span(row)}: "
        f"{row['reason']}",
    ),
    Rule(
        "claim-lost", "warning", "a process ended without giving back its claim",
        _leaks(*_LOST), _say_lost,
    ),
    Rule(
        "lease-ran-out", "warning", "a lease ran out while its claim was held",
        _leaks("expire"), _say_lost,
    ),
    Rule(
        "wait-timed-out", "warning", "a wait ended without what it was for",
        _waits("timeout"), _say_wait,
    ),
    Rule(
        "range-flaps", "warning", "a range was changed 4 times and more within a minute",
        _flapping,
        lambda row: f"{_span(row)}: {row['changes']} changes, {row['bursts']} of them in bursts",
    ),
    Rule(
        "table-full", "warning", "no slot was free", _refused("ENOSPC"), _say_refused,
    ),
    Rule(
        "slot-duplicate", "warning", "two slots have the same range and type",
        _wasted("duplicate"), _say_slots,
    ),
    Rule(
        "slot-shadowed", "warning", "another range decides the types of this one",
        _wasted("shadowed"), _say_slots,
    ),
    Rule(
        "log-unclosed", "warning", "the log went on without a log.close before",
        _unclosed, lambda row: "the hub before was killed, or its log failed",
    ),
    Rule(
        "slots-mergeable", "info", "two slots could be one",
        _wasted("mergeable"), _say_slots,
    ),
    Rule(
        "range-left", "info", "a range stays programmed though its process has gone",
        _leaks("left"),
        lambda row: f"{_who(row['process'])} left {_span(row)} in slot {row['slot']}",
    ),
    Rule(
        "claim-held", "info", "a claim was held at the end", _leaks("held"), lambda row:
        f"{_who(row['process'])} held {_span(row)} for {_seconds(row['held_ns'])}",
    ),
)  # fmt: skip
