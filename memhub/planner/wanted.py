"""A wanted map of memory types."""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol, Self

from memhub.arguments import take_integer, take_integers, take_text
from memhub.planner.mixing import CLASH, NONE, TYPES, mix_classes

if TYPE_CHECKING:
    from collections.abc import Iterable

#: Any type will do, but no undefined mix.
ANY: Final = "*"
#: Fixed ranges decide here, and variable registers do nothing.
FIXED: Final = "-"

PAGE: Final = 4096
_FIXED_END: Final = 1 << 20
_FOUR_GIB: Final = 1 << 32
_WIDTH_MAX: Final = 52


class Want(NamedTuple):
    """One stretch of a wanted map.

    Attributes:
        start: first byte.
        end: one past the last byte.
        want: a type, ANY or FIXED.
    """

    start: int
    end: int
    want: str


class Stretch(NamedTuple):
    """One stretch in which every address wants the same and has the same default.

    Attributes:
        end: one past the last byte.
        want: a type, ANY or FIXED.
        bare: the type of an address that no register covers; None is the map's default.
        held: the class of the registers that cover it and stay as they are.
    """

    end: int
    want: str
    bare: str | None
    held: str = NONE


class StretchMap(Protocol):
    """A map that can be planned."""

    @property
    def width(self) -> int:
        """Physical address bits; the space is [0, 2**width)."""

    def stretches(self) -> list[Stretch]:
        """The map from address 0 to the end of the space, without gaps."""


@dataclass(frozen=True, slots=True)
class WantedMap:
    """The types that a whole address space is to have.

    Attributes:
        width: physical address bits; the space is [0, 2**width).
        wants: the stretches, in order, without gaps, over the whole space.
        tom2: addresses from 4 GiB to here are write-back where no register covers them (AMD's
            TOM2), a whole page from 4 GiB to the end of the space; None for none.

    Raises:
        ValueError: the stretches do not make one space, one is not of whole pages, or `tom2` is
            wrong.
    """

    width: int
    wants: tuple[Want, ...]
    tom2: int | None = None

    def __post_init__(self) -> None:
        take_integers(self, ["width"], optional=["tom2"])
        _check_width(self.width)
        at = 0
        for start, end, want in self.wants:
            if start != at or end <= start:
                raise ValueError(
                    f"{start:#x}-{end:#x} does not go on at {at:#x}: a map has no gaps and no "
                    "overlaps"
                )

            if end % PAGE:
                raise ValueError(f"{start:#x}-{end:#x} is not made of whole pages of {PAGE}")

            _check_want(start, end, want)
            at = end

        if at != 1 << self.width:
            raise ValueError(f"the map ends at {at:#x}, and the space at {1 << self.width:#x}")

        if self.tom2 is not None and (self.tom2 % PAGE or not _FOUR_GIB <= self.tom2 <= at):
            raise ValueError(
                f"tom2 {self.tom2:#x} is not a page from {_FOUR_GIB:#x} to {at:#x}, the end of the "
                "space"
            )

    @classmethod
    def of_ranges(
        cls,
        width: int,
        ranges: Iterable[tuple[int, int, str]],
        *,
        otherwise: str = ANY,
        fixed: bool = True,
        tom2: int | None = None,
    ) -> Self:
        """A map from some ranges, of which later ones replace what earlier ones said.

        Args:
            width: physical address bits.
            ranges: first byte, one past the last byte, and what is wanted.
            otherwise: what is wanted where no range says; anything is right by default
                (`memhub plan` wants uncacheable there).
            fixed: whether fixed ranges decide below 1 MiB.
            tom2: see the class.

        Raises:
            ValueError: a range is empty, ends past the space or is not of whole pages; see also
                the class.
            TypeError: a number is no integer, or a range is no start, end and type.
        """
        width = take_integer("width", width)
        _check_width(width)
        top = 1 << width
        said = [(0, top, otherwise), *map(_take_range, ranges)]
        if fixed:
            said.append((0, min(_FIXED_END, top), FIXED))

        for start, end, want in said:
            check_range(start, end, width)
            _check_want(start, end, want)

        return cls(width, _lay_over(said), tom2)

    def stretches(self) -> list[Stretch]:
        """The map, cut where the default changes too."""
        found: list[Stretch] = []
        for start, end, want in self.wants:
            cuts = [it for it in (_FOUR_GIB, self.tom2 or 0) if start < it < end]
            for stop in (*sorted(cuts), end):
                begin = found[-1].end if found else 0
                inside = self.tom2 is not None and _FOUR_GIB <= begin < self.tom2
                if stop > begin:
                    found.append(Stretch(stop, want, "WB" if inside else None))

        return found


def accepts(stretch: Stretch, covered: str, default: str) -> bool:
    """Whether an address of a stretch has what it wants.

    Args:
        stretch: where it lies.
        covered: the class of the registers that cover it.
        default: the default type.
    """
    if stretch.want == FIXED:
        return True

    got = effective_type(stretch, covered, default)

    return got != CLASH and stretch.want in (ANY, got)


def effective_type(stretch: Stretch, covered: str, default: str) -> str:
    """The type of an address; arguments are those of `accepts`."""
    covered = mix_classes(stretch.held, covered)

    return (stretch.bare or default) if covered == NONE else covered


def check_range(start: int, end: int, width: int) -> None:
    """Refuse a range that no part of an address space is.

    Args:
        start: first byte.
        end: one past the last byte.
        width: physical address bits.

    Raises:
        ValueError: it is empty, lies outside of the space or is not of whole pages.
    """
    top = 1 << width
    why = (
        "it begins below 0" if start < 0
        else "its end, the first byte behind it, is not above its start" if end <= start
        else f"{width} address bits reach no further" if end > top
        else ""
    )  # fmt: skip
    if why:
        raise ValueError(
            f"{start:#x}-{end:#x} is not a range of a space that ends at {top:#x}: {why}"
        )

    if (start | end) % PAGE:
        raise ValueError(f"{start:#x}-{end:#x} is not made of whole pages of {PAGE}")


def _check_width(width: int) -> None:
    if not 12 <= width <= _WIDTH_MAX:
        raise ValueError(f"width {width}: an address space has 12 to {_WIDTH_MAX} bits")


def _check_want(start: int, end: int, want: str) -> None:
    if want not in (*TYPES, ANY, FIXED):
        known = ", ".join((*TYPES, ANY, FIXED))
        raise ValueError(f"{start:#x}-{end:#x}: {want!r:.80} is not one of {known}")


def _take_range(it: object) -> tuple[int, int, str]:
    if not isinstance(it, tuple | list) or len(it) != len(("start", "end", "type")):
        raise TypeError(f"range {it!r:.80} is not a start, an end and a type")

    start, end, want = it

    return take_integer("start", start), take_integer("end", end), take_text("type", want)


def _lay_over(said: list[tuple[int, int, str]]) -> tuple[Want, ...]:
    """Ranges of which later ones hide earlier ones; neighbours that want the same are one."""
    begins = sorted((start, -number, end, want) for number, (start, end, want) in enumerate(said))
    edges = sorted({edge for start, end, _ in said for edge in (start, end)})
    top: list[tuple[int, int, str]] = []  # ranges that have begun, the latest said first
    found: list[Want] = []
    at = 0
    for start, end in pairwise(edges):
        while at < len(begins) and begins[at][0] <= start:
            heappush(top, begins[at][1:])
            at += 1

        while top[0][1] <= start:
            heappop(top)

        want = top[0][2]
        if found and found[-1].want == want:
            start = found.pop().start

        found.append(Want(start, end, want))

    return tuple(found)
