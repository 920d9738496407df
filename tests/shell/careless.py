"""A driver that answers what a test makes of its sound answers, and kinds of nonsense for it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio

from memhub import AuditLog, Hub, MachineSpec, load_arches
from memhub.abi import MDF_BUSY, MDF_UNCACHEABLE, MDF_WRITEBACK, MDF_WRITECOMBINE
from memhub.audit import read_records
from memhub.errors import InvalidRange
from memhub.plugin import Arch, Change, KernelLayout, RangeDesc, hookimpl
from memhub.plugin.software import SoftwareRangeDriver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

PAGE = 0x1000
SLOTS = 4


class Careless(SoftwareRangeDriver):
    """A sound driver, each of whose answers passes through a fault while one is set."""

    def __init__(self, faults: Mapping[str, Callable[[Any], Any]]) -> None:
        super().__init__(SLOTS, address_bits=65)  # takes what wraps, as FreeBSD's powerpc
        self.faults = faults
        self.unfound = ""

    def stored(self, desc: RangeDesc) -> RangeDesc:
        return desc

    def type_of(self, desc: RangeDesc) -> str:
        return "UC" if desc.mr_flags & MDF_UNCACHEABLE else "WB"

    def __getattribute__(self, name: str) -> Any:
        sound = super().__getattribute__(name)
        if name == super().__getattribute__("__dict__").get("unfound"):
            raise SystemExit(9)

        if name not in ("attach", "update", "remove", "restore", "types", "extent"):
            return sound

        return lambda *given: self.faults.get(name, lambda it: it)(sound(*given))


def careless(faults: Mapping[str, Callable[[Any], Any]]) -> dict[str, Arch]:
    """The architecture of a Careless, as a plugin of the name `lab` brings it."""
    arch = Arch(
        name="careless",
        summary="fails",
        kernel=KernelLayout(kernel_base=0xF0000000),
        driver=lambda _cpu, _options: Careless(faults),
        attributes=MDF_UNCACHEABLE | MDF_WRITEBACK,
    )

    class Plugin:
        @hookimpl
        def memhub_arches(self) -> list[Arch]:
            return [arch]

    return dict(load_arches(plugins=[("lab", Plugin())], installed=False))


@asynccontextmanager
async def lab(
    folder: Path,
    faults: Mapping[str, Callable[[Any], Any]],
    latency: float = 0,
    driver_failures: int = 0,
) -> AsyncIterator[Hub]:
    """Two machines of that kind behind a hub with a log, which is left in order."""
    specs = [
        MachineSpec(name=name, arch="careless", commit_latency=latency) for name in ("one", "two")
    ]
    with AuditLog.open(folder / "a.jsonl") as log:
        arches = careless(faults)
        async with Hub(specs, arches=arches, log=log, driver_failures=driver_failures) as hub:
            with anyio.fail_after(20):
                yield hub


def names(method: str) -> str:
    """How each message begins: plugin, driver, method, architecture and machine."""
    where = f"{Careless.__module__}.Careless.{method}, the driver of careless on one, "

    return f"EIO: plugin 'lab' of the caller: {where}"


def raising(error: BaseException) -> Callable[[Any], Any]:
    def fault(_: object) -> Any:
        raise error

    return fault


def refusing_with(reason: Any) -> Callable[[Any], Any]:
    """A refusal that is made only when the driver is asked."""

    def fault(_: object) -> Any:
        raise InvalidRange(reason)

    return fault


def answering(answer: object) -> Callable[[Any], Any]:
    return lambda _: answer


def holding(slot: Any, desc: Any) -> Callable[[Any], Any]:
    """A Change that writes this into a slot, and names it."""
    return lambda _: Change((slot,), {slot: desc})


class NoWords(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


class ExitsInWords(Exception):
    def __str__(self) -> str:
        raise SystemExit(9)


class InterruptsInWords(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt


class Nameless(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]
        raise SystemExit(9)


class ExitsInItsName(Exception, metaclass=Nameless):
    pass


class Endless(Mapping[int, Any]):
    """A mapping that does not end, though its length says one."""

    def __init__(self, value: object) -> None:
        self.value = value

    def __getitem__(self, key: int) -> Any:
        return self.value

    def __iter__(self) -> Iterator[int]:
        return itertools.count()

    def __len__(self) -> int:
        return 1


class Unshown:
    def __repr__(self) -> str:
        raise SystemExit(9)


def endless(_: object) -> Iterator[Change]:
    yield Change(())


SOUND = RangeDesc(PAGE, PAGE, MDF_WRITEBACK)

#: What a method that changes the table answers, and what is said of it.
NONSENSE: dict[str, tuple[Callable[[Any], Any], str]] = {
    "raises": (raising(ZeroDivisionError("a divisor")), "failed with ZeroDivisionError: a divisor"),
    "exits": (raising(SystemExit(3)), "failed with SystemExit: 3"),
    "raises without words": (raising(NoWords()), "failed with NoWords: an error that cannot be"),
    "exits in its words": (
        raising(ExitsInWords()),
        "failed with ExitsInWords: an error that cannot be shown",
    ),
    "exits in its name": (raising(ExitsInItsName("x")), "failed with ExitsInItsName: x"),
    "raises at length": (
        raising(ValueError("x" * 20_000_000)),
        r"failed with ValueError: x{4096}… \(20000000 characters\)$",
    ),
    "a reason of 5": (
        refusing_with(5),
        "failed with TypeError: the reason of InvalidRange, 5, is not text",
    ),
    "recurses": (raising(RecursionError("deep")), "failed with RecursionError: deep"),
    "surrogate words": (raising(ValueError("\ud800")), r"failed with ValueError: \\ud800"),
    "None": (answering(None), "answered None, which is not a Change"),
    "a generator": (endless, "answered <generator object endless at"),
    "the class": (
        answering(Change),
        "answered <class 'memhub.core.drivers.driver.Change'>, which is not",
    ),
    "another class": (answering(Unshown()), "answered a Unshown that cannot be shown, which is"),
    "slot -1": (holding(-1, SOUND), "slot -1 is not an integer from 0 to 3"),
    "slot 4": (holding(4, SOUND), "slot 4 is not an integer from 0 to 3"),
    "slot True": (holding(True, SOUND), "slot True is not an integer from 0 to 3"),
    "slot 0.0": (holding(0.0, SOUND), "slot 0.0 is not an integer from 0 to 3"),
    "slot of text": (holding("0", SOUND), "slot '0' is not an integer from 0 to 3"),
    "no slot named -1": (answering(Change((-1,))), "slot -1 is not an integer"),
    "a list of slots": (answering(Change([0])), r"`wrote` \[0\] is not a tuple"),  # type: ignore[arg-type]
    "a slot twice": (answering(Change((0, 0))), r"`wrote` \(0, 0\) names a slot twice"),
    "a slot not named": (
        lambda it: replace(it, slots={**it.slots, 3: SOUND}),
        r"changes slot 3, which `wrote` \(0,\) does not name",
    ),
    "all slots not named": (answering(Change((), {0: SOUND})), "changes slot 0, which `wrote`"),
    "slots that are a list": (answering(Change((0,), [SOUND])), "`slots` .* is not a mapping"),  # type: ignore[arg-type]
    "slots that do not end": (
        answering(Change((0,), Endless(SOUND))),
        "`slots` has more than 65536 entries",
    ),
    "a million slots named": (
        answering(Change((*range(SLOTS), *range(1_000_000)))),
        r"slot 4 is not an integer|`wrote` .* names a slot twice",
    ),
    "a slot of None": (holding(0, None), "slot 0 holds None, which is not a RangeDesc"),
    "a slot of numbers": (holding(0, (0, 0, 0)), r"slot 0 holds \(0, 0, 0\), which is not"),
    "an owner of text": (
        lambda _: Change((0,), {0: RangeDesc(0, PAGE, 0, "abcdefgh")}),  # type: ignore[arg-type]
        "slot 0: mr_owner 'abcdefgh' is not bytes",
    ),
    "a base of text": (
        lambda _: Change((0,), {0: RangeDesc("0", PAGE)}),  # type: ignore[arg-type]
        "failed with TypeError: mr_base '0' is not an integer",
    ),
    "a base of 100000 bits": (
        lambda _: Change((0,), {0: RangeDesc(1 << 100_000, PAGE)}),
        r"failed with ValueError: mr_base 0x1.* \(25\d{3} characters\)$",
    ),
    "a negative base": (
        lambda _: Change((0,), {0: RangeDesc(-PAGE, PAGE)}),
        "failed with ValueError: mr_base -0x1000",
    ),
    "a range that wraps": (
        holding(0, RangeDesc((1 << 64) - PAGE, 2 * PAGE)),
        r"slot 0: 0xfffffffffffff000 \+ 0x2000 does not fit 64 bits",
    ),
    "an unknown flag": (
        holding(0, RangeDesc(0, PAGE, 1 << 20)),
        r"slot 0: flags 0x100000 \(no kno",
    ),
    "a flag of others": (
        holding(0, RangeDesc(0, PAGE, MDF_WRITECOMBINE)),
        r"slot 0: flags 0x2 \(write-combine\) are none of the architecture's",
    ),
    "busy": (holding(0, RangeDesc(0, PAGE, MDF_BUSY)), r"slot 0: flags 0x40000000 \(busy\)"),
    "a register of text": (answering(Change((0,), {}, {"x": 1})), "register 'x' is not an int"),  # type: ignore[dict-item]
    "register -1": (answering(Change((0,), {}, {-1: 1})), "register -1 is not an integer"),
    "register 2^32": (answering(Change((0,), {}, {1 << 32: 1})), "register 4294967296 is not an"),
    "a register of None": (answering(Change((0,), {}, {1: None})), "register 0x1: None is not an"),  # type: ignore[dict-item]
    "a register of 2^64": (answering(Change((0,), {}, {1: 1 << 64})), "register 0x1: 18446744"),
    "100,000 registers": (
        lambda _: Change((0,), {}, dict.fromkeys(range(100_000), 1)),
        "changes 100000 registers, which is more than 4096",
    ),
    "registers that do not end": (
        answering(Change((0,), {}, Endless(1))),
        "`msrs` has more than 4096 entries",
    ),
    "registers of None": (answering(Change((0,), {}, None)), "`msrs` None is not a mapping"),  # type: ignore[arg-type]
    "settled of text": (answering(Change((0,), {}, {}, "no")), "`settled` 'no' is not True or"),  # type: ignore[arg-type]
}


def rows_of(folder: Path, event: str) -> list[dict[str, Any]]:
    """The records of one kind in the log of a `lab`."""
    return [it for it in read_records(folder / "a.jsonl") if it["event"] == event]
