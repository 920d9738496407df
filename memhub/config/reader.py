"""Read one TOML table: each key once, by its converter; mistakes are collected and not raised."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from memhub.config.errors import Problem
from memhub.core.spec_rules import type_name, unknown_key

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

T = TypeVar("T")


class Problems:
    """The mistakes found so far in one file.

    Attributes:
        folder: where the file's relative paths begin.
        found: the mistakes.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.found: list[Problem] = []

    def add(self, key: str, reason: str) -> None:
        """Keep one mistake."""
        self.found.append(Problem(key, reason))


class Table:
    """A cursor over one table; `finish`, at the end, reports keys that were not read.

    A wrong or missing value is reported and replaced by the fallback, so that reading goes on;
    what is built from fallbacks never leaves the loader.
    """

    def __init__(self, data: Mapping[str, Any], key: str, problems: Problems) -> None:
        self._data = data
        self._key = key
        self._problems = problems
        self._known: dict[str, None] = {}
        self._before = len(problems.found)

    @property
    def sound(self) -> bool:
        """Whether nothing has been reported since the table was opened."""
        return len(self._problems.found) == self._before

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self._problems.folder

    def __contains__(self, name: str) -> bool:
        return name in self._data

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def path(self, name: str) -> str:
        """The dotted key of an entry."""
        return f"{self._key}.{name}" if self._key else name

    def wrong(self, name: str, reason: str) -> None:
        """Report a mistake at an entry, or at the table itself where `name` is empty."""
        self._problems.add(self.path(name) if name else self._key, reason)

    def take(self, name: str, convert: Callable[[object], T], default: T) -> T:
        """An optional entry."""
        self._known[name] = None
        if name not in self._data:
            return default

        try:
            return convert(self._data[name])
        except ValueError as error:
            self.wrong(name, str(error))
            return default

    def need(self, name: str, convert: Callable[[object], T], fallback: T) -> T:
        """An entry that must be there."""
        if name not in self._data:
            self._known[name] = None
            self.wrong(name, "is missing")

            return fallback

        return self.take(name, convert, fallback)

    def table(self, name: str) -> Table | None:
        """A sub-table, or None where there is none."""
        value = self._take_kind(name, dict)

        return None if value is None else Table(value, self.path(name), self._problems)

    def tables(self, name: str) -> list[Table]:
        """An array of tables; an absent one is empty."""
        value: list[object] = self._take_kind(name, list) or []
        rows = []
        for index, row in enumerate(value):
            if isinstance(row, Mapping):
                key = f"{self.path(name)}[{index}]"
                rows.append(Table(row, key, self._problems))
            else:
                self.wrong(f"{name}[{index}]", f"is {type_name(row)}, not a table")

        return rows

    def array(self, name: str, convert: Callable[[object], T]) -> tuple[T, ...]:
        """An array of values; an absent one is empty."""
        value: list[object] = self._take_kind(name, list) or []
        found = []
        for index, item in enumerate(value):
            try:
                found.append(convert(item))
            except ValueError as error:
                self.wrong(f"{name}[{index}]", str(error))

        return tuple(found)

    def entries(self, convert: Callable[[object], T]) -> dict[str, T]:
        """Every entry of a table whose keys are the user's own."""
        found = {}
        for name, value in self._data.items():
            self._known[name] = None
            try:
                found[name] = convert(value)
            except ValueError as error:
                self.wrong(name, str(error))

        return found

    def finish(self) -> None:
        """Report the keys that were not read."""
        for name in self._data:
            if name not in self._known:
                self.wrong(name, unknown_key(name, self._known))

    def _take_kind(self, name: str, kind: type[Any]) -> Any:  # noqa: ANN401 - narrowed by callers
        self._known[name] = None
        value = self._data.get(name)
        if value is None or isinstance(value, kind):
            return value

        wanted = "a table" if kind is dict else "an array"
        self.wrong(name, f"is {type_name(value)}, not {wanted}")

        return None
