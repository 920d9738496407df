"""What a machine's description may say: one rule for each value, in a file or made in Python.

A converter returns the value that it was given as a checked one, or raises ValueError with the
reason. `memhub.config` reads TOML through the same converters; `checked_spec` applies them to a
MachineSpec.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args

from memhub.abi import U64_MAX
from memhub.arguments import LONGEST_MS, take_integer, take_text
from memhub.core.cache_limits import say_table_of, wrong_limits
from memhub.core.drivers.driver import UNSAID_CPU, Cpu
from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.kernel import OptionError
from memhub.core.kernel_rules import is_kernel, wrong_kernel
from memhub.core.spec import (
    BusKind,
    Content,
    Firmware,
    KernelEntry,
    KernelMapping,
    MachineSpec,
    Region,
    RegionKind,
    UnsaidRegisters,
    WpWrites,
)
from memhub.escape import escape_controls

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from memhub.core.drivers.driver import Arch

    Converter = Callable[[object], "T"]

T = TypeVar("T")
Row = TypeVar("Row", Region, Content, KernelMapping, KernelEntry, Cpu, MachineSpec)

REGISTER_MAX: Final = 0xFFFFFFFF


def type_name(value: object) -> str:
    """TOML's name for the type of `value`."""
    names = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    names |= {list: "an array", dict: "a table"}

    return names.get(type(value), f"a {type(value).__name__}")


def suggest(word: str, known: Iterable[str]) -> str:
    """`; did you mean …?` where a known word is near, else an empty string."""
    near = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)

    return f"; did you mean {near[0]!r}?" if near else ""


def unknown_key(name: object, known: Iterable[str]) -> str:
    """Why a key is refused that none of a table's readers knows."""
    words = list(known)
    hint = suggest(str(name), words) or f" (known: {', '.join(words)}){say_table_of(name)}"

    return f"is not a key of this table{hint}"


def check_between(number: int, least: int, most: int, shown: Callable[[int], str] = hex) -> int:
    """An integer in `[least, most]`; `shown` renders it in messages."""
    if not least <= number <= most:
        raise ValueError(f"{shown(number)} is not between {shown(least)} and {shown(most)}")

    return number


def check_register(number: int) -> int:
    """The number of a model-specific register."""
    if not 0 <= number <= REGISTER_MAX:
        raise ValueError(f"register number {number:#x} does not fit 32 bits")

    return number


def text(value: object) -> str:
    """A string that is not empty."""
    if not isinstance(value, str):
        raise ValueError(f"is {type_name(value)}, not a string")

    if not value:
        raise ValueError("is an empty string")

    return value


def boolean(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError(f"is {type_name(value)}, not true or false")

    return value


def seconds(value: object) -> float:
    """A finite time in seconds, zero or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"is {type_name(value)}, not a number of seconds")

    if not 0 <= value < float("inf"):
        raise ValueError(f"{value} is not a number of seconds from 0 on")

    return float(value)


def latency(value: object) -> float:
    """The seconds that a commit takes."""
    time = seconds(value)
    if time * 1000 > LONGEST_MS:
        raise ValueError(f"{time} is longer than {LONGEST_MS / 1000} seconds (49 days)")

    return time


def choice(known: Mapping[str, T], what: str) -> Converter[T]:
    """One of the words of `known`, in any case; `what` names the kind of word."""

    def convert(value: object) -> T:
        word = text(value)
        if word.lower() not in known:
            words = ", ".join(known)
            raise ValueError(f"{word!r} is not {what} ({words}){suggest(word, known)}")

        return known[word.lower()]

    return convert


_KINDS: Final[Mapping[str, RegionKind]] = {it: it for it in get_args(RegionKind) if it != "device"}
_WP_WRITES: Final[Mapping[str, WpWrites]] = {word: word for word in get_args(WpWrites)}
_FIRMWARE: Final[Mapping[str, Firmware]] = {word: word for word in get_args(Firmware)}

region_kind: Final = choice(_KINDS, "a kind of memory")
_BUSES: Final[Mapping[str, BusKind]] = {word: word for word in get_args(BusKind)}
bus_kind: Final = choice(_BUSES, "a kind of bus")
wp_rule: Final = choice(_WP_WRITES, "a rule")
firmware_word: Final = choice(_FIRMWARE, "a word for what is known of firmware")


def machine_name(name: object, folded: dict[str, str]) -> str:
    """A machine's name.

    Args:
        name: the name.
        folded: the names before it, each under its spelling without case; it is added.
    """
    bare = text(name).replace("-", "").replace("_", "").replace(".", "") if name != "" else ""
    if not bare.isalnum():
        rule = "letters, digits, '-', '_' and '.', with at least one letter or digit"
        raise ValueError(f"a machine's name is {rule}")

    word = take_text("name", name)
    twin = folded.setdefault(word.casefold(), word)
    if twin != word:
        raise ValueError(f"differs from machine {twin!r} by case alone")

    return word


def _whole_number(least: int, most: int, shown: Callable[[int], str] = hex) -> Converter[int]:
    def convert(value: object) -> int:
        try:
            number = take_integer("it", value)
        except TypeError:
            raise ValueError(f"is {type_name(value)}, not an integer") from None

        return check_between(number, least, most, shown)

    return convert


def _check_kernel(value: object) -> object:
    if not is_kernel(value):
        raise ValueError(f"is {type_name(value)}, neither a kernel's name nor a KernelLayout")

    return None if value == FREEBSD else value


def _check_content(value: object) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f"is {type_name(value)}, not bytes")

    return value


_U64: Final = _whole_number(0, U64_MAX)
_CPU: Final[Mapping[str, Converter[Any]]] = {
    "vendor": text,
    "signature": _whole_number(0, 0xFFFFFFFF),
    "phys_bits": _whole_number(32, 52, str),
    "mtrr": boolean,
    "tom2": _U64,
    "count": _whole_number(1, 1024, str),
}
_MACHINE: Final[Mapping[str, Converter[Any]]] = {
    "arch": text,
    "securelevel": _whole_number(-1, 3, str),
    "wp_writes": wp_rule,
    "upages": _whole_number(1, 16, str),
    "commit_latency": lambda value: None if value is None else latency(value),
    "kernel": _check_kernel,
    "coherent": boolean,
    "bus": bus_kind,
    "firmware": firmware_word,
}
_REGION: Final[Mapping[str, Converter[Any]]] = {
    "base": _U64,
    "length": _U64,
    "kind": lambda it: it if it == "device" else region_kind(it),  # of a machine that was made
    "data": _check_content,
}
_CONTENT: Final = {"base": _U64, "data": _check_content, "zeros": _U64}
_MAPPING: Final = {"virtual": _U64, "physical": _U64, "length": _U64, "writable": boolean}
_ENTRY: Final[Mapping[str, Converter[Any]]] = {
    "virtual": _U64,
    "length": _U64,
    "readable": boolean,
    "writable": boolean,
}


def checked_spec(spec: MachineSpec, arch: Arch) -> MachineSpec:
    """A machine's description with Python's own plain values.

    Args:
        spec: the description.
        arch: its architecture.

    Raises:
        OptionError: an option that the architecture does not have, and nothing else, is wrong.
        ValueError: names the machine, and each value with the rule that it breaks.
    """
    wrong: list[str] = []
    checked = replace(
        _checked_row(spec, "", _MACHINE, wrong),
        cpu=_checked_cpu(spec.cpu, wrong),
        msrs=spec.msrs
        if isinstance(spec.msrs, UnsaidRegisters)
        else _checked_table(spec.msrs, "msrs", _check_register, _U64, wrong),
        options=_checked_table(spec.options, "options", text, lambda it: it, wrong),
        kernel_options=_checked_table(
            spec.kernel_options, "kernel_options", text, lambda it: it, wrong
        ),
        memory=_checked_rows(spec.memory, "memory", Region, _REGION, wrong),
        contents=_checked_rows(spec.contents, "contents", Content, _CONTENT, wrong),
        kmem=_checked_rows(spec.kmem, "kmem", KernelMapping, _MAPPING, wrong),
        symbols=_checked_table(spec.symbols, "symbols", text, _U64, wrong),
    )
    wrong += wrong_limits(spec.caches)
    if spec.kmem_entries is not None:
        entries = _checked_rows(spec.kmem_entries, "kmem_entries", KernelEntry, _ENTRY, wrong)
        checked = replace(checked, kmem_entries=entries)

    wrong += wrong_kernel(checked, arch)
    if wrong:
        lines = [f"machine {spec.name!r}: {escape_controls(reason)}" for reason in wrong]
        raise ValueError("\n".join(lines))

    for name in checked.options:
        if name not in arch.machine_options:
            reason = unknown_key(name, sorted(arch.machine_options))
            raise OptionError(f"machine {spec.name!r}: options.{name}", reason)

    return checked


def _check_register(number: object) -> int:
    return check_register(_whole_number(-U64_MAX, U64_MAX)(number))


def _checked_row(row: Row, key: str, fields: Mapping[str, Converter[Any]], wrong: list[str]) -> Row:
    found: dict[str, Any] = {}
    for name, convert in fields.items():
        try:
            found[name] = convert(getattr(row, name))
        except ValueError as error:
            wrong.append(f"{key}{name}: {error}")

    return replace(row, **found)


def _checked_cpu(cpu: object, wrong: list[str]) -> Any:  # noqa: ANN401 - refused in the end
    if cpu is UNSAID_CPU:
        return cpu

    if isinstance(cpu, Cpu):
        return _checked_row(cpu, "cpu.", _CPU, wrong)

    wrong.append(f"cpu: is {type_name(cpu)}, not a Cpu")

    return cpu


def _checked_rows(
    rows: Any,  # noqa: ANN401 - whatever the embedder gave
    key: str,
    kind: type[Row],
    fields: Mapping[str, Converter[Any]],
    wrong: list[str],
) -> tuple[Row, ...]:
    if not isinstance(rows, tuple | list):
        wrong.append(f"{key}: is {type_name(rows)}, not a tuple")
        return ()

    found = []
    for place, row in enumerate(rows):
        where = f"{key}[{place}]"
        if isinstance(row, kind):
            found.append(_checked_row(row, f"{where}.", fields, wrong))
        else:
            wrong.append(f"{where}: is {type_name(row)}, not a {kind.__name__}")
            found.append(row)

    return tuple(found)


def _checked_table(
    table: Any,  # noqa: ANN401 - whatever the embedder gave
    key: str,
    name_of: Converter[Any],
    value_of: Converter[Any],
    wrong: list[str],
) -> dict[Any, Any]:
    found: dict[Any, Any] = {}
    try:
        rows = list(table.items())
    except AttributeError:
        wrong.append(f"{key}: is {type_name(table)}, not a mapping")
        return found

    for name, value in rows:
        try:
            found[name_of(name)] = value_of(value)
        except ValueError as error:
            shown = f"{name:#x}" if isinstance(name, int) else f"{name}"
            wrong.append(f"{key}.{shown}: {error}")

    return found
