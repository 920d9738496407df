"""64-bit numbers in JSON bodies, which many languages read as floating point, as strings.

A service writes them so for clients that asked for FEATURE_STRINGS.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

#: The members that hold one, or a list of them: the `u64` and `ns` of the audit log, and others.
WIDE: Final = frozenset(
    {
        "address",
        "after_base",
        "after_length",
        "after_msr",
        "base",
        "before_base",
        "before_length",
        "before_msr",
        "claim",
        "cut_length",
        "cut_offset",
        "delay_ns",
        "duration_ns",
        "expires_ns",
        "fence",
        "ioctl",
        "lease_ns",
        "length",
        "line_bases",
        "line_lengths",
        "mono_ns",
        "moved",
        "physical",
        "seq",
        "wall_ns",
    }
)


_NESTED: Final = frozenset({dict, list, tuple})


def widen(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    """A JSON value with these numbers as strings."""
    if type(value) is dict:
        return {
            key: _as_text(it) if key in WIDE else widen(it) if type(it) in _NESTED else it
            for key, it in value.items()
        }

    if type(value) not in _NESTED:
        return value

    return [widen(it) if type(it) in _NESTED else it for it in value]


def _as_text(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if type(value) is int:
        return str(value)

    return [*map(str, value)] if type(value) in _NESTED else value


def narrow(row: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with these strings as numbers again; for `json.loads(…, object_hook=…)`."""
    for key in WIDE & row.keys():
        value = row[key]
        many = isinstance(value, list)
        row[key] = [_as_number(it) for it in value] if many else _as_number(value)

    return row


def _as_number(value: Any) -> Any:  # noqa: ANN401 - whatever JSON can hold
    if not isinstance(value, str) or not 0 < len(value) <= 20:
        return value

    return int(value) if value.isascii() and value.isdigit() else value
