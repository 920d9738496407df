"""Linux's page-attribute reservations: which memory type each stretch of addresses is mapped with.

Source: Linux 6.18 `arch/x86/mm/pat/memtype.c` and `memtype_interval.c`.
"""

from __future__ import annotations

from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub_linux.pat.page_modes import MODE_NAMES, MODES, real_modes
from memhub_linux.pat.page_runs import PageRuns
from memhub_linux.refused import Refused
from memhub_linux.registers.type_map import WB

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from memhub_linux.mtrr.layer import LinuxMtrr

_PAGE: Final = 4096
_ISA_START: Final = 0xA0000
_ISA_END: Final = 0x100000
#: Bits of an address that count.
_PHYSICAL: Final = (1 << 52) - 1
_U64: Final = (1 << 64) - 1
#: What a request must not become when it is mapped for input and output.
_FORBIDDEN: Final = frozenset({("UC-", "WB"), ("WC", "WB"), ("WT", "WB"), ("WT", "WC")})


class Task(NamedTuple):
    """Who asks, as the log names it."""

    command: str = "swapper"
    pid: int = 0

    def __str__(self) -> str:
        return f"{self.command}:{self.pid}"


class Reservation(NamedTuple):
    """A stretch of addresses that is no RAM, and its mode."""

    start: int
    end: int
    mode: str


@dataclass(slots=True)
class Memtype:
    """The reservations of one kernel.

    Attributes:
        mtrr: the MTRR layer, for its map and the log.
        ram: the RAM, first and last byte, in order.
        enabled: whether page attributes are in use.
        palette: the eight entries.
        debug: whether the kernel was asked to print more (`debugpat`).
        reservations: in the order of their starts; of equal starts, the first made first.
        pages: RAM pages that are not write-back, and their mode.
        warned: whether the one warning of a UC reservation of RAM was printed.
    """

    mtrr: LinuxMtrr
    ram: Sequence[tuple[int, int]]
    enabled: bool
    palette: tuple[str, ...]
    debug: bool = False
    reservations: list[Reservation] = field(default_factory=list)
    pages: PageRuns = field(default_factory=PageRuns)
    warned: bool = False

    def real_mode(self, mode: str) -> str:
        """What a mapping of a mode really gets."""
        return real_modes(self.palette)[mode]

    # Reservations

    def reserve(
        self,
        start: int,
        end: int,
        want: str,
        *,
        substitute: bool = True,
        no_memory: bool = False,
        task: Task = Task(),  # noqa: B008 - a value
    ) -> str:
        """Reserve a stretch (memtype_reserve).

        Args:
            start: first byte.
            end: one past the last byte.
            want: the mode that is wanted.
            substitute: whether the caller takes another mode.
            no_memory: the kernel's allocation fails.
            task: who asks.

        Returns:
            the mode.

        Raises:
            Refused: the kernel answers an error; `got` is the mode that it tells nevertheless.
        """
        start, end = start & _PHYSICAL, (end - 1 & _PHYSICAL) + 1
        if start >= end:
            self._warn(
                f"memtype_reserve failed: [mem {start:#010x}-{end - 1:#010x}], "
                f"req {MODE_NAMES[want]}"
            )
            raise Refused("EINVAL")

        if not self.enabled:
            return want

        if _is_isa(start, end):
            return "WB"

        actual = self._hint(start, end, want)
        is_ram = self.is_ram(start, end)
        if is_ram == 1:
            return self._reserve_ram(start, end, want)

        if is_ram < 0:
            raise Refused("EINVAL", _mixed(start, end), got=actual)

        if no_memory:
            raise Refused("ENOMEM", "there is no memory for the reservation", got=actual)

        new = Reservation(start, end, actual)
        mode = self._find_mode(new, want, task, substitute=substitute)
        insort(self.reservations, new._replace(mode=mode), key=lambda it: it.start)
        shown = MODE_NAMES[mode] if substitute else "-"
        self._debug(
            f"memtype_reserve added [mem {start:#010x}-{end - 1:#010x}], "
            f"track {MODE_NAMES[mode]}, req {MODE_NAMES[want]}, ret {shown}"
        )

        return mode

    def _find_mode(self, new: Reservation, want: str, task: Task, *, substitute: bool) -> str:
        """The mode of a new reservation among those that it overlaps.

        Raises:
            Refused: EBUSY; they have another one.
        """
        mode = new.mode
        overlaps = self._overlaps(new.start, new.end)
        first = next(overlaps, None)
        other = first if first is not None and first.mode != mode and not substitute else None
        if first is not None and other is None:
            self._debug(f"Overlap at {first.start:#x}-{first.end:#x}")
            mode = first.mode
            other = next((it for it in overlaps if it.mode != mode), None)

        if other is None:
            return mode

        self._info(
            f"{task} conflicting memory types {new.start:x}-{new.end:x} "
            f"{MODE_NAMES[mode]}<->{MODE_NAMES[other.mode]}"
        )
        self._info(
            f"memtype_reserve failed [mem {new.start:#010x}-{new.end - 1:#010x}], "
            f"track {MODE_NAMES[new.mode]}, req {MODE_NAMES[want]}"
        )
        raise Refused("EBUSY", got=new.mode)

    def free(self, start: int, end: int, *, task: Task = Task()) -> None:  # noqa: B008 - a value
        """Free a stretch (memtype_free): one reservation with exactly this start and end.

        Raises:
            Refused: EINVAL; there is none, or the stretch is RAM in part.
        """
        if not self.enabled:
            return

        start, end = start & _PHYSICAL, end & _PHYSICAL
        if _is_isa(start, end):
            return

        is_ram = self.is_ram(start, end)
        if is_ram == 1:
            self.pages.set(start >> 12, end >> 12, "WB")
            return

        if is_ram < 0:
            raise Refused("EINVAL", _mixed(start, end))

        found = next((it for it in self.reservations if it[:2] == (start, end)), None)
        if found is None:
            self._info(f"{task} freeing invalid memtype [mem {start:#010x}-{end - 1 & _U64:#010x}]")
            raise Refused("EINVAL")

        self.reservations.remove(found)
        self._debug(f"memtype_free request [mem {start:#010x}-{end - 1:#010x}]")

    def _overlaps(self, start: int, end: int) -> Iterator[Reservation]:
        return (it for it in self.reservations if it.start < end and start < it.end)

    def _hint(self, start: int, end: int, want: str) -> str:
        """Write-back only where every byte is so by MTRR; else UC-."""
        if want != "WB" or self.mtrr.look_up(start, end)[0] == WB:
            return want

        return "UC-"

    # RAM

    def is_ram(self, start: int, end: int) -> int:
        """1 for RAM, 0 for none, -1 for a hole before RAM (pat_pagerange_is_ram)."""
        at, hole, found = start >> 12, False, False
        low, high = max(start >> 12, _ISA_END >> 12) << 12, -(-end // _PAGE) << 12
        for begin, last in self.ram:
            if last < low or begin >= high:
                continue

            page, stop = -(-max(begin, low) // _PAGE), min(last + 1, high) >> 12
            if stop > page:
                hole, found, at = hole or page > at, True, stop
                if hole:
                    return -1

            if not found:  # the kernel's walk ends at a first piece of less than a page
                return 0

        return int(found)

    def _reserve_ram(self, start: int, end: int, want: str) -> str:
        if want == "WP":
            raise Refused("EINVAL", "RAM is never WP", got="UC-")

        if want == "UC":
            if not self.warned:
                self.warned = True
                self._warn("1")

            want = "UC-"

        pages = (start >> 12, end >> 12)
        mode = self.pages.first_unusual(*pages)
        if mode is not None:
            self._info(
                f"reserve_ram_pages_type failed [mem {start:#010x}-{end - 1:#010x}], "
                f"track {MODES.index(mode):#x}, req {MODES.index(want):#x}"
            )
            raise Refused("EBUSY", got=mode)

        self.pages.set(*pages, want)

        return want

    def mode_of(self, address: int) -> str:
        """The mode of a page (lookup_memtype)."""
        if _is_isa(address, address + _PAGE):
            return "WB"

        if self.is_ram(address, address + _PAGE):
            return self.pages.mode(address >> 12)

        found = next(self._overlaps(address, address + _PAGE), None)

        return "UC-" if found is None else found.mode

    def is_uniform(self, start: int, size: int) -> bool:
        """Whether every page of a stretch has the mode of its first."""
        edges = {_ISA_START, _ISA_END}
        edges |= {edge for it in self.reservations for edge in it[:2]}
        edges |= {edge << 12 for it in self.pages for edge in it[:2]}
        edges |= {edge for begin, last in self.ram for edge in (begin, last + 1)}
        # a page differs from the one before it only next to an edge
        pages = {(edge & -_PAGE) + more for edge in edges for more in (-_PAGE, 0, _PAGE)}
        inside = (start + (page - start & -_PAGE) for page in pages)
        mode = self.mode_of(start)

        return all(self.mode_of(it) == mode for it in inside if start < it < start + size)

    # What is printed

    def list_text(self) -> str:
        """The list of reservations as debugfs shows it; empty without page attributes."""
        if not self.enabled:
            return ""

        rows = [
            f"PAT: [mem {it.start:#018x}-{it.end:#018x}] {MODE_NAMES[it.mode]}\n"
            for it in self.reservations
        ]

        return "".join(["PAT memtype list:\n", *rows])

    def _info(self, text: str) -> None:
        self.mtrr.log.add("info", f"x86/PAT: {text}")

    def _warn(self, text: str) -> None:
        self.mtrr.log.add("WARN", text)

    def _debug(self, text: str) -> None:
        if self.debug:
            self._info(text)


def _mixed(start: int, end: int) -> str:
    return f"[{start:#x}, {end:#x}) has RAM behind what is none; it is to be one or the other"


def _is_isa(start: int, end: int) -> bool:
    """Whether a stretch lies in the ISA hole, which is always mapped write-back."""
    return start >= _ISA_START and end <= _ISA_END


def is_allowed(want: str, got: str) -> bool:
    """Whether a mapping for input and output may have another mode than was wanted."""
    return (want, got) not in _FORBIDDEN
