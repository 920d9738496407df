"""The listing of FreeBSD's `memcontrol list`, with or without `-a`.

Source: memcontrol(8), FreeBSD `usr.sbin/memcontrol/memcontrol.c` (listfunc).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from memhub.abi import (
    EXTRA_FLAG_WORDS,
    FLAG_WORDS,
    MDF_ACTIVE,
    MDF_FIXBASE,
    MDF_UNCACHEABLE,
    MDF_WRITEBACK,
    MDF_WRITECOMBINE,
    MDF_WRITEPROTECT,
    MDF_WRITETHROUGH,
    RangeDesc,
    owner_bytes,
)
from memhub.config.importers.checks import settle_default
from memhub.config.importers.model import RESERVED_TYPE, Findings, WidthHint, quote
from memhub.x86.registers import (
    FIXED_COUNT,
    FIXED_RANGES,
    MASK_VALID,
    MAX_VARIABLE,
    UC,
    WB,
    WC,
    WP,
    WT,
    MtrrRegisters,
    VariableMtrr,
    address_mask,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_LINE: Final = re.compile(r"\b0x([0-9a-f]{1,16})/0x([0-9a-f]{1,16}) (?=\S)", re.I)
_FLAGS: Final = {word: bit for bit, word in (*FLAG_WORDS, *EXTRA_FLAG_WORDS)}
_TYPES: Final[Mapping[int, int]] = {
    MDF_UNCACHEABLE: UC,
    MDF_WRITECOMBINE: WC,
    MDF_WRITETHROUGH: WT,
    MDF_WRITEBACK: WB,
    MDF_WRITEPROTECT: WP,
}


def parse_memcontrol(lines: Iterable[str], hint: WidthHint) -> Findings:
    """Read a listing back into the registers that it came from.

    Args:
        lines: the text; other lines are skipped.
        hint: what is known of the physical address width; the length of an inactive slot,
            which is the whole address space, tells it too.

    Returns:
        the registers; the default type is not in the listing (see `settle_default`). The fixed
        ranges are enabled if they are listed. Without `-a` inactive slots are not listed, so
        slot numbers are those of the listing.
    """
    found = Findings()
    descs = [desc for line in lines if (desc := _parse_desc(line, found.oddities)) is not None]
    fixed = [desc for desc in descs if desc.mr_flags & MDF_FIXBASE]
    variable = [desc for desc in descs if not desc.mr_flags & MDF_FIXBASE]
    if not descs:
        return found

    if len(variable) > MAX_VARIABLE:
        found.oddities.append(f"{len(variable)} variable ranges: {MAX_VARIABLE} are kept")
        del variable[MAX_VARIABLE:]

    bits = _address_width(variable, hint, found.oddities)
    pairs = _variable_pairs(variable, bits, found.oddities)
    found.registers = MtrrRegisters(
        phys_bits=bits,
        default_type=settle_default(pairs, bits, found.oddities),
        fixed_enabled=bool(fixed),
        fixed_types=_fixed_types(fixed, found.oddities) if fixed else bytes(FIXED_COUNT),
        variable=pairs,
    )

    return found


def _parse_desc(line: str, oddities: list[str]) -> RangeDesc | None:
    match = _LINE.search(line)
    if match is None:
        return None

    words = line[match.end() :].split()
    flags = 0
    while len(words) > 1 and words[-1] in _FLAGS:
        flags |= _FLAGS[words.pop()]

    owner = " ".join(words)
    base, length = int(match[1], 16), int(match[2], 16)
    if len(owner) > 7 or not flags or (base | length) & 0xFFF or not 0 < length <= 1 << 52:
        oddities.append(f"line not understood: {quote(line)}")
        return None

    label = "" if owner == "-" else owner
    if label not in ("", "BIOS"):
        where = f"{base:#x}/{length:#x}"
        oddities.append(f"{where} was owned by {label!r}: labels are not kept in registers")

    return RangeDesc(base, length, flags, owner_bytes(label.encode("utf-8", "replace")))


def _address_width(variable: Sequence[RangeDesc], hint: WidthHint, oddities: list[str]) -> int:
    told = None
    used = 0
    for desc in variable:
        used = max(used, desc.mr_base.bit_length(), (desc.mr_len - 1).bit_length())
        if not desc.mr_flags & MDF_ACTIVE and not desc.mr_base:
            told = max(told or 0, (desc.mr_len - 1).bit_length())

    if used > 52:
        oddities.append(f"addresses need {used} bits; no CPU has more than 52")

    return min(hint.settle(min(used, 52), told, oddities), 52)


def _encode_type(desc: RangeDesc, oddities: list[str]) -> int:
    kinds = [kind for bit, kind in _TYPES.items() if desc.mr_flags & bit]
    if len(kinds) == 1:
        return kinds[0]

    oddities.append(f"{desc}: its type is unknown, so the register's type byte is not known")

    return RESERVED_TYPE


def _fixed_types(fixed: Sequence[RangeDesc], oddities: list[str]) -> bytes:
    places = {place: index for index, place in enumerate(FIXED_RANGES)}
    types: dict[int, int] = {}
    for desc in fixed:
        index = places.get((desc.mr_base, desc.mr_len))
        if index is None:
            oddities.append(f"{desc}: there is no fixed range there")
        else:
            types[index] = _encode_type(desc, oddities)

    if len(types) < FIXED_COUNT:
        missing = FIXED_COUNT - len(types)
        oddities.append(f"assumed: uncacheable for {missing} fixed ranges, which are not listed")

    return bytes(types.get(index, UC) for index in range(FIXED_COUNT))


def _variable_pairs(
    variable: Sequence[RangeDesc], bits: int, oddities: list[str]
) -> tuple[VariableMtrr, ...]:
    limit = address_mask(bits)
    pairs = []
    for desc in variable:
        active = bool(desc.mr_flags & MDF_ACTIVE)
        mask = -desc.mr_len & limit | (MASK_VALID if active else 0)
        pairs.append(VariableMtrr(desc.mr_base & limit | _encode_type(desc, oddities), mask))

    if all(desc.mr_flags & MDF_ACTIVE for desc in variable) and len(pairs) < 8:
        oddities.append("assumed: 8 variable slots (inactive ones are listed with -a alone)")
        pairs += [VariableMtrr()] * (8 - len(pairs))

    return tuple(pairs)
