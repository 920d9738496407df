"""What `@pytest.mark.memhub(...)` says, and the machines that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from memhub import machines
from memhub.arguments import take_integer
from memhub.core.spec import MachineSpec
from memhub.core.spec_rules import suggest
from memhub.escape import EscapedMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from memhub.core.drivers.driver import Arch

#: The first day of the rigs' clocks, 2026-01-01, in nanoseconds since 1970.
EPOCH_NS: Final = 1_767_225_600 * 10**9

_KEYS: Final = ("machines", "arch", "over", "seed", "answer_limit", "driver_limit")
_OVER: Final = ("hub", "service")
_EACH: Final = "each"
#: Seconds of a day.
_DAY: Final = 86400
_MACHINES: Final = "a name of the library, a MachineSpec, several of them, or 'each'"
_ARCHES: Final = "the name of an architecture, several of them, or 'each'"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the markers of a test say.

    Attributes:
        machines: names of the library and descriptions; empty for an ordinary machine.
        arch: the architecture of all of them, or None.
        over: `hub`, `service`, or None where nothing is said.
        seed: of `memhub_random`.
        answer_limit: seconds of real time after which a request fails that a fault rule leaves
            without an answer; None is never.
        driver_limit: seconds that one call of a range driver may last on the embedded hub; None
            is as long as it likes.
        cases: fixtures that have several values, one test for each.
    """

    machines: tuple[str | MachineSpec, ...] = ()
    arch: str | None = None
    over: str | None = None
    seed: int = 0
    cases: Mapping[str, list[Any]] = field(default_factory=dict)
    answer_limit: float | None = 10.0
    driver_limit: float | None = None


class WrongMarker(EscapedMessage, ValueError):
    """Raised for a marker that says what cannot be."""


def read_marker(node: pytest.Item | pytest.Function) -> Settings:
    """What the markers of a test say; of several, the nearest one that has an argument decides it.

    Raises:
        WrongMarker: an argument is unknown, or says what cannot be.
    """
    said: dict[str, Any] = {}
    for marker in node.iter_markers("memhub"):
        if marker.args:
            raise WrongMarker(f"marker memhub takes arguments by name alone, not {marker.args!r}")

        for key, value in marker.kwargs.items():
            if key not in _KEYS:
                hint = suggest(key, _KEYS) or f" (known: {', '.join(_KEYS)})"
                raise WrongMarker(f"marker memhub has no argument {key!r}{hint}")

            said.setdefault(key, value)

    return _make_settings(said)


def _make_settings(said: Mapping[str, Any]) -> Settings:
    cases: dict[str, list[Any]] = {}
    wanted = _take_several("machines", said, str | MachineSpec, _MACHINES)
    if wanted == (_EACH,):
        cases["memhub_machines"] = list(machines.names())
        wanted = ()

    arches = _take_several("arch", said, str, _ARCHES)
    if arches == (_EACH,):
        cases["memhub_arch"] = _list_arches()
    elif arches and not isinstance(said["arch"], str):
        cases["memhub_arch"] = list(arches)

    arch = arches[0] if arches and "memhub_arch" not in cases else None
    over = said.get("over")
    if "over" in said and over not in (*_OVER, _EACH):
        raise WrongMarker(f"marker memhub: over {over!r} is none of {', '.join((*_OVER, _EACH))}")

    if over == _EACH:
        cases["memhub_over"] = list(_OVER)
        over = None

    seed, limit = _take_seed(said.get("seed", 0)), _take_limit("answer_limit", said, 10.0)

    return Settings(wanted, arch, over, seed, cases, limit, _take_limit("driver_limit", said, None))


def _take_several(key: str, said: Mapping[str, Any], kind: Any, rule: str) -> tuple[Any, ...]:  # noqa: ANN401 - a class or several
    """One value or several, different ones; empty where nothing is said."""
    if key not in said:
        return ()

    value = said[key]
    several = value if isinstance(value, list | tuple) else (value,)
    if not several or not all(isinstance(it, kind) and it != "" for it in several):
        raise WrongMarker(f"marker memhub: {key} {value!r:.200} is not {rule}")

    names = [it if isinstance(it, str) else it.name for it in several]
    if _EACH in names and len(names) > 1:
        raise WrongMarker(f"marker memhub: {key} {names!r:.200} has {_EACH!r} beside others")

    for name in names:
        if names.count(name) > 1:
            raise WrongMarker(f"marker memhub: {key} {names!r:.200} has {name!r} twice")

    return tuple(several)


def _take_seed(seed: object) -> int:
    try:
        number = take_integer("seed", seed)
    except TypeError as error:
        raise WrongMarker(f"marker memhub: {error}") from None

    if number < 0:
        raise WrongMarker(f"marker memhub: seed {number} is negative")

    return number


def _take_limit(key: str, said: Mapping[str, Any], usual: float | None) -> float | None:
    limit = said.get(key, usual)
    if limit is None:
        return None

    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 < limit <= _DAY:
        rule = "is not a number of seconds above 0, at most a day, or None"
        raise WrongMarker(f"marker memhub: {key} {limit!r:.80} {rule}")

    return float(limit)


def _list_arches() -> list[str]:
    from memhub.arches import load_arches

    return list(load_arches())


def make_specs(
    wanted: Iterable[str | MachineSpec], arch: str | None, arches: Mapping[str, Arch]
) -> tuple[MachineSpec, ...]:
    """The machines that a marker names.

    Args:
        wanted: names of the library and descriptions; none takes an ordinary machine.
        arch: the architecture of all of them; None is that of each.
        arches: the installed ones.

    Raises:
        ValueError: there is no such machine.
        ArchNotInstalled: there is no such architecture.
    """
    if arch is not None:
        _ = arches[arch]  # raises, and says which there are

    found = tuple(_make_spec(it, arch) for it in wanted)

    return found or (machines.pc(arch=arch or "i386", arches=arches),)


def _make_spec(it: str | MachineSpec, arch: str | None) -> MachineSpec:
    if isinstance(it, MachineSpec):
        return it if arch is None else replace(it, arch=arch)

    return machines.load(it) if arch is None else machines.load(it, arch=arch)


def check_machine(
    machine: MachineSpec, wanted: Iterable[MachineSpec], said: Settings, arch: str | None
) -> None:
    """Hold a `memhub_machine` that replaces memhub's own to what the marker says.

    Args:
        machine: the description that the fixture gives.
        wanted: the machines that the marker names.
        said: what the marker says.
        arch: the architecture that the marker names, or None.

    Raises:
        WrongMarker: it is another machine, or of another architecture.
    """
    named = [it.name for it in wanted]
    gives = f"but the fixture memhub_machine gives {machine.name!r}, {machine.arch}"
    if (said.machines or "memhub_machines" in said.cases) and machine.name != named[0]:
        raise WrongMarker(f"marker memhub: machines says {named[0]!r}, {gives}")

    if arch is not None and machine.arch != arch:
        raise WrongMarker(f"marker memhub: arch says {arch!r}, {gives}")
