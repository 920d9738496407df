"""What expectations of a log and of hazards share: how they judge values, and their words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub.arguments import take_optional
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping


def take_times(times: object, what: str) -> int | None:
    """How many are expected; None is one or more.

    Args:
        times: what the caller gave.
        what: what is counted: `record`.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is not at least 1.
    """
    taken = take_optional("times", times)
    if taken is not None and taken < 1:
        raise ValueError(f"times {taken} is not at least 1: expect_none expects no {what}")

    return taken


def judge(is_right: Callable[[Any], object], value: Any) -> bool:  # noqa: ANN401 - any value
    """Whether a function says that a value is right; one that fails with None says no of it."""
    try:
        return bool(is_right(value))
    except Exception:
        if value is None:
            return False  # it judges values only

        raise


def say_wanted(times: int | None, what: str) -> str:
    """How many are expected, in words."""
    if times is None:
        return f"a {what}"

    return f"{times} {what}" + ("" if times == 1 else "s")


def say_found(found: Collection[object]) -> str:
    """How many there are, in words."""
    return f"there {'is' if len(found) == 1 else 'are'} {len(found) or 'none'}"


def say_fields(fields: Mapping[str, object], in_hex: Callable[[str], bool]) -> str:
    """The fields that are expected; nothing where there are none.

    Args:
        fields: values, or functions that judge one.
        in_hex: whether the integers of a field are shown in hexadecimal.
    """
    words = [f"{name} {show_value(value, in_hex=in_hex(name))}" for name, value in fields.items()]

    return f" with {', '.join(words)}" if words else ""


def show_value(value: object, *, in_hex: bool) -> str:
    """A value that is expected or there; integers in hexadecimal where `in_hex` is set."""
    if callable(value):
        return f"of {getattr(value, '__name__', repr(value))}"

    return hex(value) if in_hex and isinstance(value, int) else escape_controls(repr(value))
