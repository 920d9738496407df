"""What differs between two states, as the JSON of `memhub audit diff`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.audit.history.states import time_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from memhub.audit.history.states import State

    Facts = dict[str, Any]

#: What a machine's state is compared by, and what names one thing there.
_PARTS = (("slots", "slot"), ("claims", "fence"), ("waits", "wait"))


def diff_states(before: State, after: State) -> Facts:
    """What differs between two states; machines that are alike are not listed.

    Args:
        before: one state.
        after: the other, of the same log or of another one.

    Returns:
        `before` and `after`, each with `seq`, `time` and, where something is not known, `notes`;
        and `machines`, each with its `generation` on both sides (None where it is not there) and
        lists of the `slots`, `claims`, `waits` and `msrs` that differ, with what they are on both
        sides; of another kernel than FreeBSD also its `registers`, and what it keeps, as `kernel`;
        and what is `wrong`: failed, suspended, sick, CPUs out of step.
        A list is None where one side is not known.
    """
    names = [*before.machines, *(it for it in after.machines if it not in before.machines)]
    sides = before.facts(), after.facts()
    machines = [{it["machine"]: it for it in side["machines"]} for side in sides]
    compared = (_compare(name, *(side.get(name) for side in machines)) for name in names)

    return {
        "before": _head(before),
        "after": _head(after),
        "machines": [it for it in compared if it is not None],
    }


def _head(state: State) -> Facts:
    head = {"seq": state.seq, "time": time_text(state.wall_ns)}

    return head | {"notes": list(state.notes)} if state.notes else head


def _compare(name: str, before: Facts | None, after: Facts | None) -> Facts | None:
    if before == after:
        return None

    one, two = before or {}, after or {}
    parts: Facts = {
        part: _changed(key, _named(one, part, key), _named(two, part, key)) for part, key in _PARTS
    }
    parts["msrs"] = _changed("msr", one.get("msrs", {}), two.get("msrs", {}))
    if "registers" in {**one, **two}:
        parts["registers"] = _changed("register", *map(_used, (one, two)))

    for part in ("kernel", "wrong"):
        if part in {**one, **two}:
            parts[part] = [*_differing("", one.get(part, {}), two.get(part, {}))]

    generations = {"before": one.get("generation"), "after": two.get("generation")}

    return {"machine": name, "generation": generations, **parts}


def _named(machine: Facts, part: str, key: str) -> Facts | None:
    rows = machine.get(part, [])

    return None if rows is None else {row[key]: row for row in rows}


def _used(machine: Facts) -> Facts:
    rows = machine.get("registers", {}).get("used", ())

    return {row["register"]: row for row in rows}


def _differing(name: str, before: Any, after: Any) -> Iterator[Facts]:  # noqa: ANN401 - plain values
    """What differs between two plain values, each thing by its path in them.

    Of lists of unlike length the items are told that are in one of them only.
    """
    if before == after:
        return

    nested = isinstance(before, dict) or isinstance(after, dict)
    if nested and (before or after):
        before, after = before or {}, after or {}
        prefix = f"{name}." if name else ""
        for key in [*before, *(it for it in after if it not in before)]:
            yield from _differing(f"{prefix}{key}", before.get(key), after.get(key))
    elif isinstance(before, list) and isinstance(after, list):
        if len(before) == len(after):
            for index, pair in enumerate(zip(before, after, strict=True)):
                yield from _differing(f"{name}[{index}]", *pair)
        else:
            gone, came = _only_in(before, after), _only_in(after, before)
            yield from ({"name": name, "before": it, "after": None} for it in gone)
            yield from ({"name": name, "before": None, "after": it} for it in came)
    else:
        yield {"name": name, "before": before, "after": after}


def _only_in(items: list[Any], others: list[Any]) -> list[Any]:
    """The items that others lack, each as often as it is there more often."""
    left = list(others)
    found = []
    for it in items:
        if it in left:
            left.remove(it)
        else:
            found.append(it)

    return found


def _changed(
    key: str, before: Mapping[Any, Any] | None, after: Mapping[Any, Any] | None
) -> list[Facts] | None:
    if before is None or after is None:
        return None

    names = [*before, *(it for it in after if it not in before)]

    return [
        {key: name, "before": _bare(before.get(name), key), "after": _bare(after.get(name), key)}
        for name in names
        if before.get(name) != after.get(name)
    ]


def _bare(row: Any, key: str) -> Any:  # noqa: ANN401 - a row, or a register's number
    return {name: it for name, it in row.items() if name != key} if isinstance(row, dict) else row
