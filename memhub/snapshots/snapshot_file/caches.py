"""What caches hold as JSON, both ways: in the file of a machine whose memory is not coherent.

A mask has a bit for each byte of a line, and is hexadecimal text, as it may have 4096 of them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any, Final

from memhub.audit.fields import Field
from memhub.audit.rows.held_check import check_shape
from memhub.core.caches.change import Overtaking, Posted, Turn, WriteBack
from memhub.core.caches.content import CachesContent
from memhub.core.caches.hazards import HAZARDS, Hazard
from memhub.core.caches.lines import Buffer, Line, Store
from memhub.core.effective.typemap import TYPE_OF_CODE
from memhub.core.files import Principal

if TYPE_CHECKING:
    from memhub.core.cache_limits import CacheLimits
    from memhub.core.caches.lines import Stores

_TEXT: Final = Field("str", "")
_INT: Final = Field("int", "")
_U64: Final = Field("u64", "")
_MAYBE: Final = Field("u64", "", nullable=True)
_NUMBER: Final = Field("int", "", nullable=True)
_WHO: Final = (_INT, _TEXT, _NUMBER, _NUMBER, Field("bool", ""))
_STORES: Final = [(_TEXT, _INT, _U64, _MAYBE)]
_SHAPE: Final = {
    "lines": [(_U64, _TEXT, range(len(TYPE_OF_CODE)), _MAYBE, _STORES, _STORES)],
    "buffers": [(_INT, [(_U64, _TEXT, _INT, _STORES)])],
    "turn": (_U64, _U64),
    "overtakings": [(_U64, range(1 << 65), _INT, _U64)],
    "posted": [(_INT, _INT, [(_U64, Field("bool", ""), _MAYBE, _U64)])],
    "hazards": [dict],
    "processes": [_WHO],
}


def describe_caches(it: CachesContent) -> dict[str, Any]:
    """What caches hold, as plain values for JSON; processes are written once."""
    known: dict[Principal, int] = {}

    def number_of(who: Principal | None) -> int:
        return -1 if who is None else known.setdefault(who, len(known))

    def rows_of(stores: Stores) -> list[Any]:
        return [[hex(mask), number_of(who), order, since] for mask, who, order, since in stores]

    lines = [
        [number, _text_of(data), code, since, rows_of(stores), rows_of(newer)]
        for number, (data, _, _, code, since, stores, newer) in sorted(it.lines.items())
    ]
    buffers = [
        [
            process,
            [
                [number, _text_of(data), number_of(who), rows_of(stores)]
                for number, (data, _, who, stores) in held.items()
            ],
        ]
        for process, held in it.buffers.items()
    ]
    posted = [
        [process, number_of(who), [[number, *how] for number, how in lines_of.items()]]
        for process, (who, lines_of) in it.posted.items()
    ]

    return {
        "lines": lines,
        "buffers": buffers,
        "turn": list(it.turn),
        "overtakings": [list(one) for one in it.overtakings],
        "posted": posted,
        "hazards": [{"line": key[1], **hazard._asdict()} for key, hazard in it.hazards.items()],
        "processes": [[who.id, who.name, who.pid, who.uid, who.privileged] for who in known],
    }


def caches_in(it: Any, limits: CacheLimits) -> CachesContent:  # noqa: ANN401 - JSON
    """The opposite.

    Raises:
        KeyError: a member is missing.
        ValueError: it is not what caches of this size hold; the value and its place are named.
    """
    check_shape("caches", it, _SHAPE)
    people = [Principal(*one) for one in it["processes"]]
    everybody: list[Principal | None] = [*people, None]

    def who_of(where: str, number: int) -> Principal | None:
        if not -1 <= number < len(people):
            raise ValueError(f"caches.{where}: {number} is the number of no process")

        return everybody[number]

    def some_of(where: str, number: int) -> Principal:
        who = who_of(where, number)
        if who is None:
            raise ValueError(f"caches.{where}: a process is due, and not {number}")

        return who

    if len(it["lines"]) > limits.lines:
        raise ValueError(f"caches.lines has {len(it['lines'])}, and the cache {limits.lines}")

    def stores_in(where: str, rows: list[Any]) -> tuple[int, Stores]:
        """The stores of a line or a buffer, and the mask of all their bytes."""
        found, whole = [], 0
        for text, who, order, since in rows:
            mask = _mask_in(limits, text)
            if not mask or mask & whole:
                raise ValueError(
                    f"caches.{where}: the mask {text!r:.80} of a store is empty, or "
                    "has bytes of another"
                )

            whole |= mask
            found.append(Store(mask, who_of(where, who), order, since))

        return whole, tuple(found)

    lines = {}
    for number, data, code, since, rows, newer_rows in it["lines"]:
        dirty, stores = stores_in("lines", rows)
        under, newer = stores_in("lines", newer_rows)
        lines[number] = Line(_bytes_in(limits, data), dirty, under, code, since, stores, newer)

    buffers: dict[int, dict[int, Buffer]] = {process: {} for process, _ in it["buffers"]}
    for process, held in it["buffers"]:
        for number, data, who, rows in held:
            mask, stores = stores_in("buffers", rows)
            whose = some_of("buffers", who)
            buffers[process][number] = Buffer(_bytes_in(limits, data), mask, whose, stores)

    for process, filled in buffers.items():
        if not 0 < len(filled) <= limits.buffers or not all(it.mask for it in filled.values()):
            raise ValueError(f"caches.buffers of {process} are none, empty, or too many")

    return CachesContent(
        lines,
        buffers,
        Turn(*it["turn"]),
        tuple(Overtaking(*one) for one in it["overtakings"]),
        {
            process: Posted(some_of("posted", who), {n: WriteBack(*how) for n, *how in held})
            for process, who, held in it["posted"]
        },
        dict(_hazard_in(number, one) for number, one in enumerate(it["hazards"])),
    )


def _hazard_in(number: int, one: dict[str, Any]) -> tuple[Any, Hazard]:
    where, fields = f"caches.hazards[{number}]", {"line", *Hazard._fields}
    if one.keys() != fields or one["name"] not in HAZARDS:
        raise ValueError(f"{where} is no hazard: {one!r:.80}")

    shapes = dict.fromkeys(("address", "length", "times"), _U64)
    shapes |= dict.fromkeys(("process_id", "slot", "since", "seen"), _NUMBER)
    shapes |= {"process": Field("str", "", nullable=True), "type": _TEXT, "what": _TEXT}
    for name, shape in {**shapes, "line": _INT}.items():
        check_shape(f"{where}.{name}", one[name], shape)

    hazard = Hazard(**{name: one[name] for name in Hazard._fields})

    return (hazard.name, one["line"], hazard.process_id), hazard


def _text_of(data: bytes) -> str:
    return b64encode(data).decode()


def _bytes_in(limits: CacheLimits, text: str) -> bytes:
    try:
        data = b64decode(text, validate=True)
    except ValueError as error:
        raise ValueError(f"caches: {text!r:.80} is not base64") from error

    if len(data) != limits.line_size:
        raise ValueError(f"caches: a line of {len(data)} bytes, where {limits.line_size} are due")

    return data


def _mask_in(limits: CacheLimits, text: str) -> int:
    try:
        mask = int(text, 16)
    except ValueError as error:
        raise ValueError(f"caches: the mask {text!r:.80} is not hexadecimal") from error

    if not 0 <= mask < 1 << limits.line_size:
        raise ValueError(f"caches: the mask {text!r:.80} has more bits than a line has bytes")

    return mask
