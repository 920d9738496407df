"""What `@pytest.mark.memhub(...)` says, and the machines that it names."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from memhub import machines
from memhub.core.spec import MachineSpec
from memhub.core.spec_rules import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import pytest

    from memhub.core.driver import Arch

#: The first day of the rigs' clocks, 2026-01-01, in nanoseconds since 1970.
EPOCH_NS: Final = 1_767_225_600 * 10**9

_KEYS: Final = ("machines", "arch", "over", "seed")
_OVER: Final = ("hub", "service")
_EACH: Final = "each"


@dataclass(frozen=True, slots=True)
class Settings:
    """What the markers of a test say.

    Attributes:
        machines: names of the library and descriptions; empty for an ordinary machine.
        arch: the architecture of all of them, or None.
        over: `hub`, `service`, or None where nothing is said.
        seed: of `memhub_random`.
        cases: fixtures that have several values, one test for each.
    """

    machines: tuple[str | MachineSpec, ...] = ()
    arch: str | None = None
    over: str | None = None
    seed: int = 0
    cases: Mapping[str, list[Any]] = field(default_factory=dict)


def read_marker(node: pytest.Item | pytest.Function) -> Settings:
    """What the markers of a test say; the nearest one that says a thing decides it.

    Raises:
        ValueError: an argument is unknown, or says what cannot be.
    """
    said: dict[str, Any] = {}
    for marker in node.iter_markers("memhub"):
        if marker.args:
            raise ValueError(f"marker memhub takes arguments by name alone, not {marker.args!r}")

        for key, value in marker.kwargs.items():
            if key not in _KEYS:
                hint = suggest(key, _KEYS) or f" (known: {', '.join(_KEYS)})"
                raise ValueError(f"marker memhub has no argument {key!r}{hint}")

            said.setdefault(key, value)

    return _make_settings(said)


def _make_settings(said: Mapping[str, Any]) -> Settings:
    cases: dict[str, list[Any]] = {}
    wanted, arch, over = said.get("machines", ()), said.get("arch"), said.get("over")
    if wanted == _EACH:
        cases["memhub_machines"] = list(machines.names())
        wanted = ()
    elif isinstance(wanted, str | MachineSpec):
        wanted = (wanted,)

    if arch is not None and (arch == _EACH or not isinstance(arch, str)):
        cases["memhub_arch"] = _list_arches() if arch == _EACH else list(arch)
        arch = None

    if over == _EACH:
        cases["memhub_over"] = list(_OVER)
        over = None
    elif over is not None and over not in _OVER:
        raise ValueError(f"marker memhub: over {over!r} is none of hub, service, each")

    return Settings(tuple(wanted), arch, over, said.get("seed", 0), cases)


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
    found = tuple(_make_spec(it, arch) for it in wanted)

    return found or (machines.pc(arch=arch or "i386", arches=arches),)


def _make_spec(it: str | MachineSpec, arch: str | None) -> MachineSpec:
    if isinstance(it, MachineSpec):
        return it if arch is None else replace(it, arch=arch)

    return machines.load(it) if arch is None else machines.load(it, arch=arch)
