"""What a machine says of its firmware and its hypervisor, beside the registers of CPU 0.

Each reader takes an option's value as TOML and JSON have it: numbers of more than 63 bits may be
texts in hexadecimal, and the keys of tables are texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub_linux.machine import Guest

if TYPE_CHECKING:
    from collections.abc import Mapping

_U64: Final = (1 << 64) - 1
_U32: Final = (1 << 32) - 1
_CPUS_MAX: Final = 1024
#: More than a kernel takes, so that its refusal can be seen.
_RANGES_MAX: Final = 1024
#: The indexed registers of a Cyrix have one byte each.
_BYTE: Final = 0xFF
_GUEST_KINDS: Final = ("hyperv", "xenpv", "snp", "tdx", "none")
_GUEST_KEYS: Final = frozenset({"kind", "hypervisor", "default", "variable"})


def read_cpus(value: object) -> dict[int, dict[int, int]]:
    """The registers in which firmware left other CPUs different from CPU 0.

    Raises:
        ValueError: why it is none.
    """
    found = {
        _number(cpu, 1, _CPUS_MAX - 1): _registers(own, _U64) for cpu, own in _table(value).items()
    }

    return dict(sorted(found.items()))


def read_conf(value: object) -> dict[int, int]:
    """The indexed registers of a Cyrix.

    Raises:
        ValueError: why it is none.
    """
    return _registers(value, _BYTE, _BYTE)


def read_ranges(value: object) -> tuple[tuple[int, tuple[int, int]], ...]:
    """The ranges that firmware left in a Centaur: index, low and high half of each.

    Raises:
        ValueError: why it is none.
    """
    found = []
    for row in _rows(value, 3, "[index, low half, high half]"):
        index, low, high = row
        found.append((_number(index, 0, 7), (_number(low, 0, _U32), _number(high, 0, _U32))))

    return tuple(found)


def read_guest(value: object) -> Guest:
    """What a hypervisor gives.

    Raises:
        ValueError: why it is none.
    """
    given = _table(value)
    for key in given:
        if key not in _GUEST_KEYS:
            raise ValueError(f"has {key!r:.40}, which is none of {', '.join(sorted(_GUEST_KEYS))}")

    kind, hypervisor = given.get("kind"), given.get("hypervisor", True)
    if kind not in _GUEST_KINDS:
        raise ValueError(f"has the kind {kind!r:.40}, which is none of {', '.join(_GUEST_KINDS)}")

    if not isinstance(hypervisor, bool):
        raise ValueError(f"has hypervisor {hypervisor!r:.40}, which is not true or false")

    variable = given.get("variable")
    rows = None if variable is None else _rows(variable, 2, "[base register, mask register]")

    return Guest(
        kind=kind,
        hypervisor=hypervisor,
        default=_number(given.get("default", 0), 0, _BYTE),
        variable=None
        if rows is None
        else tuple((_number(base, 0, _U64), _number(mask, 0, _U64)) for base, mask in rows),
    )


def _registers(value: object, most: int, last: int = _U32) -> dict[int, int]:
    found = {_number(it, 0, last): _number(own, 0, most) for it, own in _table(value).items()}

    return dict(sorted(found.items()))


def _table(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("is not a table")

    for key in value:
        if not isinstance(key, str):
            text = f"{key:#x}" if isinstance(key, int) else f"{key}"
            raise ValueError(f"has the key {key!r:.40}, which is no text: {text!r:.40}")

    return value


def _rows(value: object, many: int, said: str) -> list[Any]:
    if not isinstance(value, list | tuple) or len(value) > _RANGES_MAX:
        raise ValueError(f"is not a list of at most {_RANGES_MAX} ranges")

    for row in value:
        if not isinstance(row, list | tuple) or len(row) != many:
            raise ValueError(f"has {row!r:.60}, which is no {said}")

    return list(value)


def _number(value: object, low: int, high: int) -> int:
    try:
        number = int(value, 0) if isinstance(value, str) else value
    except ValueError:
        number = None

    if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
        raise ValueError(f"has {value!r:.40}, which is no number from {low} to {high:#x}")

    return number
