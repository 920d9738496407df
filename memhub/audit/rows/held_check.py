"""What a `held.part` row may say: its JSON text is not covered by the schema's types.

A wrong value would be found only where the machine is shown or used, far from its record.
"""

from __future__ import annotations

from typing import Any, Final

from memhub.audit.fields import FIELDS, Field

#: A shape is a field's type; a list of any number of one shape; a tuple of one value of each; an
#: object's members, to which the schema's fields are added; words; a range; or any integer.
Shape = Any

_TEXT: Final = Field("str", "")
_INT: Final = Field("int", "")
_U64: Final = Field("u64", "")
_NS: Final = Field("ns", "")

#: The last byte of a stretch, which is -1 where that is empty and begins at 0.
_LAST: Final = range(-1, 1 << 64)

_PROCESS: Final = {"process": _TEXT, "process_id": _INT}
_EXTENT: Final = {"fence": _U64, "base": _U64, "last": _LAST, "since_ns": _NS}
_ASKED: Final = {**_PROCESS, "handle": _INT, "base": _U64, "length": _U64}
_DESC: Final = (_U64, _U64, _INT, _TEXT)


def _shapes(slot: range) -> dict[str, Shape]:
    """The shapes of the items of each part."""
    state = {"slots": [_DESC], "msrs": [(_INT, _U64)]}

    return {
        "files": {**_PROCESS, "handle": _INT, "flags": range(3), "offset": int},
        "claims": {
            **_PROCESS,
            **_EXTENT,
            "kind": frozenset({"update", "range"}),
            "slots": [(slot, _U64, _LAST)],
        },
        "losses": {
            **_PROCESS,
            **_EXTENT,
            "lost_ns": int,
            "cause": frozenset({"expire", "break"}),
            "reason": _TEXT,
            "order": _INT,
        },
        "waits": {**_ASKED, "reason": _TEXT},
        "commits": {
            **_ASKED,
            "slots": [slot],
            "asked_ns": int,
            "after": [(slot, *_DESC)],
            "bounds": (_U64, _LAST),
        },
        "notes": {**_PROCESS, "slots": [(slot, range(1 << 63))], "states": [state]},
        "failed": {"reason": _TEXT, "failures": _INT, "since_ns": _NS},
        "health": {
            "sicknesses": [{"bits": [(_INT, _U64)], "count": _INT}],
            "cpus": [(_INT, [(_INT, _U64)])],
            "suspended_ns": Field("ns", "", nullable=True),
            "strayed": Field("bool", ""),
        },
        "kernel": {"cpus": range(1, 1025)},
        "numbers": dict.fromkeys(("last_fence", "last_wait", "last_commit"), _U64),
    }


def check_items(part: str, items: object, slots: int) -> None:
    """Check the values of a part.

    Args:
        part: which.
        items: its list, as JSON.
        slots: how many slots the machine has.

    Raises:
        KeyError: there is no such part.
        ValueError: a value has the wrong type, or is out of range; it names the value and its
            place.
    """
    shape = _shapes(range(slots))[part]
    _check(part, items, [shape])
    for number, it in enumerate(items if isinstance(items, list) else ()):
        by = it.get("by")
        if part == "losses" and by is not None:
            _check(f"losses[{number}].by", by, _PROCESS)

        if "base" in it and "last" in it and it["base"] > it["last"] + 1:
            where = f"{part}[{number}]"
            raise ValueError(f"{where}: base {it['base']:#x} is behind last {it['last']:#x}")

        for state in it.get("states", ()):
            if len(state["slots"]) != slots:
                raise ValueError(f"{part}[{number}] has a state of {len(state['slots'])} slots")


def _check(where: str, value: object, shape: Shape) -> None:
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            raise _misfit(where, value, "an object")

        for name, item in value.items():
            if (inner := shape.get(name) or FIELDS.get(name)) is not None:
                _check(f"{where}.{name}", item, inner)
    elif isinstance(shape, list | tuple):
        _check_list(where, value, shape)
    elif isinstance(shape, Field):
        if not shape.admits(value):
            raise _misfit(where, value, shape.type)
    elif isinstance(shape, frozenset):
        if not isinstance(value, str) or value not in shape:
            raise _misfit(where, value, f"one of {sorted(shape)}")
    elif type(value) is not int:
        raise _misfit(where, value, "an integer")
    elif isinstance(shape, range) and value not in shape:
        raise _misfit(where, value, f"from {shape.start} to {shape.stop - 1}")


def _check_list(where: str, value: object, shape: list[Shape] | tuple[Shape, ...]) -> None:
    if not isinstance(value, list):
        raise _misfit(where, value, "a list")

    shapes = shape if isinstance(shape, tuple) else shape * len(value)
    if len(shapes) != len(value):
        raise _misfit(where, value, f"a list of {len(shapes)}")

    for number, (item, inner) in enumerate(zip(value, shapes, strict=True)):
        _check(f"{where}[{number}]", item, inner)


def _misfit(where: str, value: object, rule: str) -> ValueError:
    return ValueError(f"{where} {value!r:.80} is not {rule}")
