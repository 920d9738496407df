"""Hypothesis strategies for what mem(4) speaks of, biased to where the rules change.

Uniform 64-bit integers almost never touch, align or reach a limit; these do so often.
"""

from __future__ import annotations

from hypothesis import strategies as st

from memhub import abi

U64_MAX = abi.U64_MAX
PAGE = abi.PAGE_SIZE

#: Addresses at which some rule changes: fixed-range borders, 4 GiB, widths of CPUs, kernel bases.
BORDERS: tuple[int, ...] = (
    0,
    PAGE,
    0x80000,
    0xA0000,
    0xC0000,
    0x100000,
    0xC0000000,
    0xF0000000,
    1 << 31,
    1 << 32,
    1 << 36,
    1 << 40,
    1 << 52,
    1 << 63,
    0xFFFFF80000000000,
    0xFFFFFFFF80000000,
)

ATTRIBUTES: tuple[int, ...] = (
    abi.MDF_UNCACHEABLE,
    abi.MDF_WRITECOMBINE,
    abi.MDF_WRITETHROUGH,
    abi.MDF_WRITEBACK,
    abi.MDF_WRITEPROTECT,
)

STATUS_FLAGS: tuple[int, ...] = tuple(1 << bit for bit in range(24, 32))


def u64() -> st.SearchStrategy[int]:
    """Any unsigned 64-bit integer, most often at a border, a power of two or the maximum."""
    borders = st.builds(
        lambda border, delta: (border + delta) & U64_MAX,
        st.sampled_from(BORDERS),
        st.integers(-1, 1) | st.sampled_from((-PAGE, PAGE)),
    )
    powers = st.builds(
        lambda bit, delta: ((1 << bit) + delta) & U64_MAX, st.integers(0, 63), st.integers(-1, 1)
    )

    return st.one_of(borders, powers, st.integers(0, U64_MAX))


def data_models() -> st.SearchStrategy[abi.DataModel]:
    """LP64 or ILP32."""
    return st.sampled_from(abi.DATA_MODELS)


def attributes() -> st.SearchStrategy[int]:
    """Exactly one of the five attributes that a client can ask for."""
    return st.sampled_from(ATTRIBUTES)


def flags() -> st.SearchStrategy[int]:
    """Any 32 bits: sets of defined flags, one attribute with status bits, or anything at all."""
    defined = st.lists(st.sampled_from(ATTRIBUTES + STATUS_FLAGS + (abi.MDF_UNKNOWN,))).map(_union)
    likely = st.builds(
        lambda attribute, status: attribute | _union(status),
        attributes(),
        st.lists(st.sampled_from(STATUS_FLAGS), max_size=2),
    )

    return st.one_of(likely, defined, st.sampled_from((0, 1 << 31, 0xFFFFFFFF)), _u32())


def labels() -> st.SearchStrategy[str]:
    """Owner labels that mem(4) keeps whole: at most seven Latin-1 characters, none NUL."""
    return st.sampled_from(("", "BIOS", "xf86", "seven77")) | st.text(
        st.characters(min_codepoint=1, max_codepoint=255), max_size=abi.OWNER_SIZE - 1
    )


def owners() -> st.SearchStrategy[bytes]:
    """Any eight bytes of `mr_owner`: labels, labels with bytes behind the NUL, or no NUL."""
    raw = st.binary(min_size=abi.OWNER_SIZE, max_size=abi.OWNER_SIZE)

    return st.one_of(labels().map(abi.owner_bytes), st.just(b"\0IOS\0\0\0\0"), raw)


def range_descs() -> st.SearchStrategy[abi.RangeDesc]:
    """Any descriptor that fits its structure; most break some architecture's rule."""
    return st.builds(abi.RangeDesc, u64(), u64(), flags(), owners())


def page_ranges(
    *, phys_bits: int = 36, max_pages: int = 1 << 20
) -> st.SearchStrategy[tuple[int, int]]:
    """`(base, length)` in whole pages, wholly below `2**phys_bits`, never empty.

    Bases crowd at borders and lengths are mostly small, so two ranges often touch or overlap.
    """
    end = 1 << phys_bits
    bases = st.one_of(
        st.integers(0, min(64, end // PAGE - 1)).map(lambda page: page * PAGE),
        st.sampled_from([border for border in BORDERS if border < end]),
        st.integers(0, end // PAGE - 1).map(lambda page: page * PAGE),
    )
    pages = st.integers(1, min(16, max_pages)) | st.integers(1, max_pages)

    return st.builds(lambda base, count: (base, min(count * PAGE, end - base)), bases, pages)


def power_of_two_ranges(
    *, phys_bits: int = 36, min_length: int = PAGE
) -> st.SearchStrategy[tuple[int, int]]:
    """`(base, length)` that an MTRR can hold: a power of two, the base a multiple of it.

    `min_length` is itself a power of two. The whole address space is among them.
    """
    lowest = min_length.bit_length() - 1

    return st.integers(lowest, phys_bits).flatmap(
        lambda bit: st.tuples(
            _blocks(1 << (phys_bits - bit)).map(lambda block: block << bit), st.just(1 << bit)
        )
    )


def _blocks(count: int) -> st.SearchStrategy[int]:
    return st.integers(0, min(count, 4) - 1) | st.integers(0, count - 1) | st.just(count - 1)


def _u32() -> st.SearchStrategy[int]:
    return st.integers(0, 0xFFFFFFFF)


def _union(bits: list[int]) -> int:
    result = 0
    for bit in bits:
        result |= bit

    return result
