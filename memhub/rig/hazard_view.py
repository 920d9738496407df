"""Assertions on the hazards of a rig's machine: expected by name, or forbidden."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, final

from memhub.core.caches.hazards import HAZARDS, LEVELS, Hazard
from memhub.core.spec_rules import suggest
from memhub.escape import escape_controls
from memhub.rig.expecting import judge, say_fields, say_found, say_wanted, show_value, take_times

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from memhub.core.spec import MachineSpec

_FIELDS = frozenset({*Hazard._fields, "level"} - {"name"})


@final
class HazardView:
    """The hazards that a machine has met.

    Args:
        read: returns them, the first met first; the argument is the machine's name or None.
        specs: the machines, of which those that are coherent have none; the first is the default.
    """

    def __init__(
        self,
        read: Callable[[str | None], Sequence[Hazard]],
        specs: Sequence[MachineSpec] = (),
    ) -> None:
        self._read = read
        self._specs = specs

    def __iter__(self) -> Iterator[Hazard]:
        return iter(self._read(None))

    def __len__(self) -> int:
        return len(self._read(None))

    def __repr__(self) -> str:
        return f"<HazardView of {len(self)} hazards>"

    def find(
        self, name: str | None = None, *, machine: str | None = None, **fields: object
    ) -> list[Hazard]:
        """The hazards of a name, or all, whose fields have these values, perhaps none.

        Args:
            name: as in docs/memory.md: `stale-bus-read`; None is any.
            machine: the machine's name; None is the default one.
            fields: values of `Hazard`, or functions that say whether a value is right.

        Raises:
            ValueError: there is no such hazard or field.
        """
        _check_names(name, fields)

        return [
            it
            for it in self._read(machine)
            if name in (None, it.name) and all(_is_right(it, *one) for one in fields.items())
        ]

    def expect(
        self, name: str, *, machine: str | None = None, times: int | None = None, **fields: object
    ) -> Hazard:
        """Assert that there is such a hazard; arguments are those of `find`.

        Args:
            name: its name.
            machine: the machine's name.
            times: how many hazards there are; None is one or more. How often one of them was met
                is its own `times`: `expect(name).times == 2`.
            fields: as for `find`.

        Returns:
            the first such hazard.

        Raises:
            AssertionError: there is none, or another number; it says what there is instead.
            ValueError, TypeError: as `find`; `times` is not at least 1.
        """
        __tracebackhide__ = True
        times = take_times(times, "hazard")
        found = self.find(name, machine=machine, **fields)
        if not found or (times is not None and len(found) != times):
            met = sum(it.times for it in found)
            often = f", met {met} times" if times is not None and met > len(found) else ""
            wanted = f"{say_wanted(times, 'hazard')} {name}{say_fields(fields, _is_address)}"
            nearest = () if found else self._explain_nearest(name, machine, fields)
            self._fail(f"expected {wanted}; {say_found(found)}{often}", machine, nearest)

        return found[0]

    def expect_none(
        self, name: str | None = None, *, machine: str | None = None, **fields: object
    ) -> None:
        """Assert that there is no such hazard so far; None forbids every hazard.

        Raises:
            AssertionError: there is one; it is shown.
        """
        __tracebackhide__ = True
        found = self.find(name, machine=machine, **fields)
        if found:
            wanted = (f" {name}" if name else "") + say_fields(fields, _is_address)
            self._fail(f"expected no hazard{wanted}", machine)

    def _explain_nearest(
        self, name: str, machine: str | None, fields: Mapping[str, object]
    ) -> Iterator[str]:
        """Of the hazards of a name, the newest of those with the fewest wrong fields, and these."""
        same = [it for it in reversed(self._read(machine)) if it.name == name]
        if same:
            nearest = min(same, key=lambda it: len(_wrong_fields(it, fields)))
            yield f"nearest: {escape_controls(str(nearest))}"
            for field in _wrong_fields(nearest, fields):
                value = show_value(getattr(nearest, field), in_hex=_is_address(field))
                yield f"  {field} is {value}"

    def _fail(self, what: str, machine: str | None, nearest: Iterable[str] = ()) -> NoReturn:
        __tracebackhide__ = True
        shown = [f"  {line}" for line in show_hazards(self._read(machine))]
        named = [it for it in self._specs if machine in (None, it.name)][:1]
        why = [
            f"  the memory of machine {escape_controls(repr(it.name))} is coherent, and has no "
            "hazards: MachineSpec(coherent=False) has some"
            for it in named
            if it.coherent
        ]

        lines = [*nearest]
        told = [what, *lines, "all hazards:"] if lines else [f"{what}; all hazards:"]
        raise AssertionError("\n".join([*told, *shown, *why]))


def show_hazards(hazards: Sequence[Hazard]) -> list[str]:
    """One line for each hazard."""
    return [escape_controls(str(it)) for it in hazards] or ["none"]


def _check_names(name: str | None, fields: Mapping[str, object]) -> None:
    if name is not None and name not in HAZARDS:
        hint = suggest(name, HAZARDS) or f"; hazards: {', '.join(HAZARDS)}"
        raise ValueError(f"there is no hazard {name!r}{hint}")

    for field in fields:
        if field not in _FIELDS:
            hint = suggest(field, _FIELDS) or f"; fields: {', '.join(sorted(_FIELDS))}"
            raise ValueError(f"a hazard has no field {field!r}{hint}")

    level = fields.get("level", LEVELS[0])
    if level not in LEVELS and not callable(level):
        raise ValueError(f"there is no level {level!r}: a hazard is {' or '.join(LEVELS)}")


def _wrong_fields(hazard: Hazard, fields: Mapping[str, object]) -> list[str]:
    return [field for field, wanted in fields.items() if not _is_right(hazard, field, wanted)]


def _is_address(field: str) -> bool:
    return field in ("address", "length")


def _is_right(hazard: Hazard, field: str, wanted: Any) -> bool:  # noqa: ANN401 - any value
    value = getattr(hazard, field)

    return judge(wanted, value) if callable(wanted) else bool(value == wanted)
