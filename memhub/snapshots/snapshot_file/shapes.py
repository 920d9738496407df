"""What the JSON of a snapshot has to be: types first, and then just what would be written again.

A value that makes no difference to the machine, or that is read as another, would go unnoticed. So
a machine that was read is described again, and what differs from the file is refused.
"""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any, Final

import orjson

from memhub.audit.fields import Field
from memhub.audit.rows.held_check import check_shape
from memhub.core.cache_limits import CacheLimits
from memhub.core.drivers.driver import Cpu
from memhub.core.kernel import KernelLayout

_TEXT: Final = Field("str", "")
_INT: Final = Field("int", "")
_U64: Final = Field("u64", "")
_ADDRESS: Final = range(1 << 64)

_MACHINE: Final = {
    "name": _TEXT,
    "arch": _TEXT,
    "config": _TEXT,
    "firmware": [(_INT, _U64)],
    "contents": [(range(1 << 32), _TEXT)],
    "table": dict,
    "held": [dict],
    "uareas": [(_INT, _TEXT)],
    "devices": [(_U64, _U64, Field("str", "", nullable=True))],
    "pages": [(_U64, _U64)],
}
_CONFIG: Final = {
    "cpu": dict,
    "options": dict,
    "memory": [(_ADDRESS, _ADDRESS, _TEXT)],
    "kmem": [(_ADDRESS, _ADDRESS, _ADDRESS, Field("bool", ""))],
    "symbols": dict,
    "caches": dict,
}
#: Members of that which may be null.
_NULLABLE: Final = {
    "kmem_entries": [(_ADDRESS, _ADDRESS, Field("bool", ""), Field("bool", ""))],
    "kernel": dict,
}
#: Members of that whose own members are those of a class.
_KINDS: Final = {"cpu": Cpu, "caches": CacheLimits, "kernel": KernelLayout}
#: Members that are JSON as text.
_NESTED: Final = frozenset({"config", "held"})
#: Members in which a member may be missing, since an earlier version did not know it.
_GROWS: Final = frozenset({"config"})
_SHOWN_MAX: Final = 80


def check_document(document: object) -> None:
    """Check the types of a snapshot's JSON.

    Raises:
        KeyError: a member is missing.
        ValueError: a value has the wrong type, or there is no machine; it names the place.
    """
    check_shape("the JSON", document, dict)
    assert isinstance(document, dict)
    _check_members("the JSON", document, {"machines"})
    check_shape("machines", document["machines"], [_MACHINE])
    if not document["machines"]:
        raise ValueError("machines is [], where one machine or more is due")

    for number, it in enumerate(document["machines"]):
        _check_members(f"machines[{number}]", it, set(_MACHINE), {*_MACHINE, "caches", "images"})


def check_config(config: object) -> None:
    """Check the types in the description of a machine; errors are those of `check_document`."""
    check_shape("config", config, _CONFIG)
    for name, shape in _NULLABLE.items():
        if isinstance(config, dict) and config.get(name) is not None:
            check_shape(f"config.{name}", config[name], shape)

    for name, kind in _KINDS.items():
        members = config.get(name) if isinstance(config, dict) else None
        if members is not None:
            due = {it.name for it in fields(kind) if it.default is it.default_factory is MISSING}
            _check_members(f"config.{name}", members, due, {it.name for it in fields(kind)})


def check_same(found: Any, written: Any, where: str = "", *, grows: bool = False) -> None:  # noqa: ANN401 - JSON
    """Refuse what a file says of a machine where another value would be written of it.

    Args:
        found: what the file has.
        written: what would be written.
        where: its place, for the message.
        grows: whether members may be missing.

    Raises:
        ValueError: names the place and both values.
    """
    name = where.rpartition(".")[2]
    if name in _NESTED and isinstance(found, str) and isinstance(written, str):
        found, written = orjson.loads(found), orjson.loads(written)
        grows = name in _GROWS

    if isinstance(found, dict) and isinstance(written, dict):
        for key in [*found, *written]:
            place = f"{where}.{key}" if where else str(key)
            if key not in written:
                raise ValueError(f"{place} is not known, or has no place here")

            if key in found:
                check_same(found[key], written[key], place, grows=grows)
            elif not grows:
                raise ValueError(f"{place} is missing")
    elif isinstance(found, list) and isinstance(written, list):
        if len(found) != len(written):
            raise ValueError(f"{where} has {len(found)} entries, where {len(written)} are due")

        for number, pair in enumerate(zip(found, written, strict=True)):
            check_same(*pair, f"{where}[{number}]", grows=grows)
    elif not _is_same(found, written):
        raise ValueError(f"{where} is {_shown(found)}, where {_shown(written)} is due")


def _is_same(found: object, written: object) -> bool:
    numbers = (int, float)
    if isinstance(found, bool) or isinstance(written, bool):
        return found is written

    if isinstance(found, numbers) and isinstance(written, numbers):
        return found == written

    return type(found) is type(written) and found == written


def _shown(value: object) -> str:
    text = orjson.dumps(value).decode()

    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}…"


def _check_members(
    where: str, found: dict[str, Any], due: set[str], known: set[str] | None = None
) -> None:
    for name in sorted(due - found.keys()):
        raise ValueError(f"{where} has no {name!r}")

    for name in sorted(found.keys() - (due if known is None else known)):
        raise ValueError(f"{where} has {name!r}, which is not known")
