"""Declared architectures in TOML: `[arch]`, or `[[arch]]` for several.

A package without code is one file, `arch.toml`, and an entry point of the group
`memhub.declared` that names the package. The keys are the fields of `DeclaredArch`.
"""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any, Final, TypeVar

from memhub.abi import DATA_MODELS, data_model
from memhub.core.kernel import KernelLayout, Releases
from memhub.plugin import freebsd
from memhub.plugin.declaration import CpuRule, DeclaredArch, FirmwareSlot, SignatureRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")

#: The file of a package.
FILE_NAME: Final = "arch.toml"
#: The kernels that `releases` can name.
RELEASES: Final[Mapping[str, Releases]] = {
    "FreeBSD amd64": freebsd.AMD64,
    "FreeBSD arm64": freebsd.ARM64,
    "FreeBSD i386": freebsd.I386,
    "FreeBSD powerpc": freebsd.POWERPC32,
    "FreeBSD powerpc64": freebsd.POWERPC64,
}
#: What a value of TOML has to be, by the field's annotation.
_KINDS: Final[Mapping[str, tuple[type, str]]] = {
    "int": (int, "an integer"),
    "int | None": (int, "an integer"),
    "bool": (bool, "true or false"),
    "float": (float, "a number"),
    "str": (str, "a text"),
}


class DeclarationError(ValueError):
    """Raised when a declaration cannot be used; says where, which key, and the rule."""


def read_package(package: str) -> list[DeclaredArch]:
    """The architectures that the file `arch.toml` of a package declares.

    Args:
        package: its name, as in an import.

    Raises:
        DeclarationError: there is no such file, or what it says is wrong.
        ImportError: there is no such package.
    """
    module = import_module(package)
    if not hasattr(module, "__path__"):
        raise DeclarationError(f"{package} is a module, not a package with a file {FILE_NAME}")

    file = resources.files(module) / FILE_NAME
    if not file.is_file():
        raise DeclarationError(f"package {package} has no file {FILE_NAME}")

    return parse_declared(file.read_text(encoding="utf-8"), f"{package}/{FILE_NAME}")


def parse_declared(text: str, source: str = FILE_NAME) -> list[DeclaredArch]:
    """The architectures that a text declares.

    Args:
        text: TOML.
        source: what it is called in messages.

    Raises:
        DeclarationError: it is no TOML, or what it says is wrong.
    """
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(f"{source}: {error}") from None

    if odd := sorted(found.keys() - {"arch"}):
        raise DeclarationError(f"{source}: {odd[0]!r} is none of the keys at the top: arch")

    rows = found.get("arch", [])
    tables = [rows] if isinstance(rows, dict) else rows
    if not isinstance(tables, list) or not tables:
        raise DeclarationError(f"{source}: there is no table [arch]")

    if tables is not rows:
        return [_take_table(f"{source}: arch", rows)]

    return [_take_table(f"{source}: arch[{number}]", it) for number, it in enumerate(tables)]


def _take_table(where: str, raw: object) -> DeclaredArch:
    readers: dict[str, Callable[[str, Any], object]] = {
        "types": _take_map,
        "errnos": _take_map,
        "overlaps": _take_lists,
        "order": _take_texts,
        "flags": _take_texts,
        "quirks": _take_texts,
        "cpus": _take_cpus,
        "firmware": _take_firmware,
        "model": _take_model,
        "kernel": lambda place, it: _take_fields(KernelLayout, place, it, {}),
        "releases": _take_releases,
    }

    return _take_fields(DeclaredArch, where, raw, readers)


def _take_fields(
    kind: Callable[..., T],
    where: str,
    raw: object,
    readers: Mapping[str, Callable[[str, Any], object]],
) -> T:
    """A dataclass of the keys of a table; each key is a field."""
    if not isinstance(raw, dict):
        raise DeclarationError(f"{where}: {raw!r:.60} is not a table")

    known = {it.name: str(it.type) for it in fields(kind)}  # type: ignore[arg-type]
    for key in raw:
        if key not in known:
            raise DeclarationError(f"{where}: {key!r} is none of the keys {', '.join(known)}")

    try:
        taken = {
            key: readers[key](f"{where}.{key}", it)
            if key in readers
            else _take_plain(f"{where}.{key}", it, known[key])
            for key, it in raw.items()
        }
        for it in fields(kind):  # type: ignore[arg-type]
            if it.default is MISSING and it.default_factory is MISSING and it.name not in raw:
                raise DeclarationError(f"{where}: the key {it.name!r} is missing")

        return kind(**taken)
    except DeclarationError:
        raise
    except ValueError as error:
        raise DeclarationError(f"{where}: {error}") from None


def _take_plain(where: str, value: object, annotation: str) -> object:
    kind, words = _KINDS.get(annotation, (str, "a text"))
    if kind is float and type(value) is int:
        return float(value)

    if type(value) is not kind:
        raise DeclarationError(f"{where}: {value!r:.60} is not {words}")

    return value


def _take_texts(where: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise DeclarationError(f"{where}: {value!r:.60} is not a list of texts")

    return tuple(value)


def _take_map(where: str, value: object) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(it, str) for it in value.values()):
        raise DeclarationError(f"{where}: {value!r:.60} is not a table of texts")

    return value


def _take_lists(where: str, value: object) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise DeclarationError(f"{where}: {value!r:.60} is not a table of lists")

    return {key: _take_texts(f"{where}.{key}", it) for key, it in value.items()}


def _take_bits(where: str, value: object) -> dict[str, int]:
    if not isinstance(value, dict) or not all(type(it) is int for it in value.values()):
        raise DeclarationError(f"{where}: {value!r:.60} is not a table of bit numbers")

    return value


def _take_tables(where: str, value: object) -> list[tuple[str, object]]:
    if not isinstance(value, list):
        raise DeclarationError(f"{where}: {value!r:.60} is not a list of tables")

    return [(f"{where}[{number}]", it) for number, it in enumerate(value)]


def _take_cpus(where: str, value: object) -> CpuRule:
    readers = {
        "vendors": _take_texts,
        "signature": lambda place, rows: tuple(
            [_take_fields(SignatureRule, at, it, {}) for at, it in _take_tables(place, rows)]
        ),
    }

    return _take_fields(CpuRule, where, value, readers)


def _take_firmware(where: str, value: object) -> tuple[FirmwareSlot, ...]:
    return tuple(
        [
            _take_fields(FirmwareSlot, at, it, {"attributes": _take_bits})
            for at, it in _take_tables(where, value)
        ]
    )


def _take_model(where: str, value: object) -> object:
    names = [it.name for it in DATA_MODELS]
    if value not in names:
        raise DeclarationError(f"{where}: {value!r:.60} is none of {', '.join(names)}")

    return data_model(str(value))


def _take_releases(where: str, value: object) -> Releases:
    if value not in RELEASES:
        raise DeclarationError(f"{where}: {value!r:.60} is none of {', '.join(RELEASES)}")

    return RELEASES[str(value)]
