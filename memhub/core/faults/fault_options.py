"""Actions of fault rules that plugins add: their names, and the options of a rule."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

from memhub.abi_layout import U64_MAX
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

    return {take_text("option", name): _take_value(name, it) for name, it in options.items()}


def _take_value(name: str, value: object) -> object:
    """The value of one option, which JSON has to hold as it is."""
    if type(value) not in _PLAIN:
        raise ValueError(f"option {name} {value!r:.80} is no number, text or boolean")

    if isinstance(value, str):
        return take_text(f"option {name}", value)

    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"option {name} {value} is not a finite number")

    if isinstance(value, int) and not -(1 << 63) <= value <= U64_MAX:
        raise ValueError(f"option {name} {value:#x} does not fit 64 bits")

    return value
