"""Values of a JSON object, with their types checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]

T = TypeVar("T")


def needed(raw: Json, key: str, kind: type[T]) -> T:
    """The value of a key.

    Raises:
        ValueError: it is missing.
        TypeError: it is of another type.
    """
    if key not in raw:
        raise ValueError(f"{key!r} is missing")

    return checked(raw[key], key, kind)


def checked(value: object, what: str, kind: type[T]) -> T:
    """A value, if it is of the type; a boolean is not an int.

    Raises:
        TypeError: it is of another type.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise TypeError(f"{what!r} is {value!r:.40}, not {kind.__name__}")

    return value
