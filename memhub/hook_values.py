"""What is wrong with a value that a plugin adds, told before anybody uses it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def refuse_value(value: Any, *calls: str) -> str:  # noqa: ANN401 - of any kind of hook
    """Why a value of a hook is of no use; nothing where it may be of some.

    Args:
        value: it has a `name`, and perhaps a `summary` and `options`.
        calls: its attributes that are called.
    """
    name = value.name
    if not isinstance(name, str) or not name.isprintable() or not name or " " in name:
        return f"ValueError: the name {name!r:.80} is not one word"

    if not isinstance(getattr(value, "summary", ""), str):
        return f"TypeError: summary of {name!r:.80} is {value.summary!r:.80}, which is no text"

    for it in calls:
        if not callable(getattr(value, it)):
            found = f"{getattr(value, it)!r:.80}, which cannot be called"
            return f"TypeError: {it} of {name!r:.80} is {found}"

    options = getattr(value, "options", {})
    if not isinstance(options, Mapping) or not all(isinstance(it, str) for it in options):
        return f"TypeError: options of {name!r:.80} is {options!r:.80}, not values by their names"

    return ""
