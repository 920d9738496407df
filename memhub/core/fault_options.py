"""Actions of fault rules that plugins add: their names, and the options of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from memhub.arguments import take_text

#: What the value of an option may be, so that JSON and TOML have it too.
_PLAIN: Final = (bool, int, float, str)


def is_added(action: str) -> bool:
    """Whether an action can be a plugin's: words with dots between them."""
    words = action.split(".")

    return len(words) > 1 and all(it.replace("-", "_").isidentifier() for it in words)


def take_options(options: object, action: str) -> dict[str, Any]:
    """The options of a rule, as plain values; whether the action has them, its plugin says.

    Raises:
        ValueError: the action is memhub's own, and has none, or a value is not plain.
        TypeError: they are no mapping.
    """
    if not isinstance(options, Mapping):
        raise TypeError(f"options {options!r:.80} is not a mapping")

    if options and not is_added(action):
        raise ValueError(f"action {action} has no options: only those of plugins have")

    for name, value in options.items():
        if type(value) not in _PLAIN:
            raise ValueError(f"option {name} {value!r:.80} is no number, text or boolean")

    return {take_text("option", name): value for name, value in options.items()}
