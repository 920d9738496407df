"""Linux 2.6.32 differs from 6.18 as its own sources say."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from memhub_linux.machine import LinuxMachine
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.mtrr.proc_mtrr import Entry, ProcMtrr
from memhub_linux.refused import Refused
from memhub_linux.registers.cpus import Cpus
from memhub_linux.releases import LINUX_2_6_32, LINUX_6_18, Release

if TYPE_CHECKING:
    from collections.abc import Callable

RELEASES = pytest.mark.parametrize("release", [LINUX_2_6_32, LINUX_6_18], ids=lambda it: it.name)
LINE = b"base=0xd0000000 size=0x1000000 type=write-combining"
OLD = "2.6.32"


def kernel(
    release: Release,
    msrs: dict[int, int] | None = None,
    *,
    bits: int = 64,
    phys_bits: int = 36,
    vendor: str = "Intel",
    family: int = 6,
    features: frozenset[str] = frozenset({"mtrr"}),
    width_leaf: bool = True,
    cpus: int = 1,
) -> LinuxMtrr:
    machine = LinuxMachine(
        bits=bits,
        vendor=vendor,
        family=family,
        model=23,
        stepping=10,
        phys_bits=phys_bits,
        features=features,
        release=release,
        width_leaf=width_leaf,
    )
    firmware = {0xFE: 0x508, 0x2FF: 0xC00} if msrs is None else msrs

    return LinuxMtrr(machine, Cpus(cpus, phys_bits, strict=True, msrs=firmware))


def written(release: Release, data: bytes) -> int | str:
    try:
        return ProcMtrr(kernel(release)).write(data)
    except Refused as refused:
        return refused.errno


@pytest.mark.parametrize(
    ("data", "old", "new"),
    [
        (LINE + b"\n", len(LINE) + 1, len(LINE) + 1),
        (LINE, "EINVAL", len(LINE)),
        (LINE + b"\n\n", len(LINE) + 2, "EINVAL"),
        (LINE + b"\0", len(LINE) + 1, len(LINE) + 1),
        (LINE + b"x", len(LINE) + 1, "EINVAL"),
        (LINE + b"\0" * 100, len(LINE) + 100, 79),
        (b"", "EINVAL", "EINVAL"),
        (b"\n", "EINVAL", "EINVAL"),
    ],
)
def test_a_write_loses_its_last_byte_and_then_a_newline(
    data: bytes, old: int | str, new: int | str
) -> None:
    assert (written(LINUX_2_6_32, data), written(LINUX_6_18, data)) == (old, new)


@RELEASES
def test_anybody_opens_the_old_file_and_reads_it(release: Release) -> None:
    proc = ProcMtrr(kernel(release))
    if release.name != OLD:
        with pytest.raises(Refused, match="EPERM"):
            proc.open(admin=False)

        return

    file = proc.open(admin=False)
    proc.check_admin("GET", admin=False)
    assert proc.ioctl(file, "GET", Entry(register=0)) == (0, Entry())
    for command in ("", "ADD", "SET_PAGE", "DEL", "KILL"):
        with pytest.raises(Refused, match="EPERM"):
            proc.check_admin(command, admin=False)


@RELEASES
def test_a_call_without_a_back_end_answers_the_release_s_errno(release: Release) -> None:
    mtrr = kernel(release, features=frozenset())
    calls: list[Callable[[], int]] = [
        lambda: mtrr.add(0, 4096, 6, increment=True),
        lambda: mtrr.add(1, 4096, 6, increment=True),
        lambda: mtrr.delete(0, 0, 0),
        lambda: mtrr.delete_page(0, 0, 0),
        lambda: mtrr.add_page(0, 1, 6, increment=True),
    ]
    seen = []
    for call in calls:
        with pytest.raises(Refused) as refused:
            call()

        seen.append(refused.value.errno)

    old = ["ENXIO", "EINVAL", "ENXIO", "ENXIO", "ENXIO"]
    assert seen == (old if release.name == OLD else ["ENODEV"] * 4 + ["ENXIO"])


@RELEASES
def test_ranges_that_firmware_left_off_work_in_the_old_kernel_only(release: Release) -> None:
    mtrr = kernel(release, {0xFE: 0x508, 0x2FF: 0})
    assert (mtrr.back is not None) == (release.name == OLD)
    assert mtrr.look_up(0, 4096) == ((0xFF, None) if release.name == OLD else (0, True))
    if release.name == OLD:
        assert mtrr.add(0, 1 << 24, 6, increment=True) == 0


@pytest.mark.parametrize(
    ("start", "end", "type_"),
    [
        (0x100000, 0x200000, 6),
        (0x3FFFF000, 0x40001000, 254),
        (0xC0000000, 0xC0001000, 0),
        # both ends are write-back, so the range is, whatever lies between
        (0x3FFFF000, 0x100001000, 6),
        # below 1 MiB the fixed type of the start, although fixed ranges are off
        (0xA0000, 0x200000, 1),
    ],
)
def test_a_look_up_sees_the_two_ends(start: int, end: int, type_: int) -> None:
    msrs = {0xFE: 0x508, 0x2FF: 0x800, 0x259: 0x0101010101010101}
    msrs |= {0x200: 0x6, 0x201: 0xFC0000800, 0x202: 0x100000006, 0x203: 0xFC0000800}
    if (start, end) == (0x3FFFF000, 0x100001000):
        # one register for both: its mask leaves the bit between them out
        msrs |= {0x201: 0xEC0000800, 0x203: 0}

    assert kernel(LINUX_2_6_32, msrs).look_up(start, end) == (type_, None)


def test_memory_up_to_tom2_is_write_back_under_one_range_of_any_type() -> None:
    """Only two ranges that come to uncachable end the search before it."""
    msrs = {0xFE: 0x508, 0x2FF: 0xC00, 0xC0010010: 3 << 21, 0xC001001D: 0x240000000}
    msrs |= {0x200: 0x100000000, 0x201: 0xFC0000800}
    both = msrs | {0x202: 0x100000006, 0x203: 0xFC0000800}
    found = [
        kernel(LINUX_2_6_32, it, vendor="AMD", family=family).look_up(0x100000000, 0x100001000)
        for it in (msrs, both)
        for family in (0x10, 0x17)
    ]

    assert found == [(6, None), (0, None), (0, None), (0, None)]


@RELEASES
def test_an_odd_mask_is_told_once_by_the_old_kernel(release: Release) -> None:
    mtrr = kernel(release, {0xFE: 0x508, 0x2FF: 0xC00, 0x200: 6, 0x201: 0x740000800})
    proc = ProcMtrr(mtrr)
    mtrr.log.take()
    mtrr.table()
    texts = [proc.read_text(), proc.read_text()]
    lines = [line for line in mtrr.log.take() if "mask" in line[1]]

    assert texts[0] == texts[1]
    assert [level for level, _ in lines] == (["WARN"] if release.name == OLD else ["warn"] * 2)


@RELEASES
def test_the_width_holds_for_base_and_size_or_for_the_last_page(release: Release) -> None:
    mtrr = kernel(release)
    with pytest.raises(Refused, match="EINVAL"):
        mtrr.add_page(0, 1 << 24, 6, increment=True) if release.name == OLD else mtrr.add_page(
            1 << 24, 1, 6, increment=True
        )

    if release.name != OLD:
        assert mtrr.add_page(0, 1 << 24, 6, increment=True) == 0


@pytest.mark.parametrize(
    ("vendor", "leaf", "page", "errno"),
    [
        ("Intel", True, 1 << 28, "EINVAL"),
        # without the leaf, eight bits of a page number are looked at, and higher ones are not
        ("Intel", False, 1 << 24, "EINVAL"),
        ("Intel", False, 1 << 32, None),
        ("Centaur", False, 1 << 20, "EINVAL"),
        ("Centaur", False, 1 << 19, None),
    ],
)
def test_a_cpu_that_does_not_tell_its_width_is_taken_for_36_bits(
    vendor: str, leaf: bool, page: int, errno: str | None
) -> None:
    mtrr = kernel(LINUX_2_6_32, vendor=vendor, width_leaf=leaf, phys_bits=40)
    with contextlib.nullcontext() if errno is None else pytest.raises(Refused, match=errno):
        mtrr.add_page(page, 1, 6, increment=True)


@RELEASES
def test_a_64_bit_kernel_has_no_back_end_for_old_cpus(release: Release) -> None:
    made = [
        kernel(release, {}, bits=bits, vendor="AMD", family=5, features=frozenset({"k6_mtrr"}))
        for bits in (64, 32)
    ]

    assert [it.back is not None for it in made] == [False, True]


@RELEASES
def test_lines_of_the_old_layer_carry_its_name(release: Release) -> None:
    mtrr = kernel(release)
    mtrr.log.take()
    with pytest.raises(Refused, match="EINVAL"):
        mtrr.delete_page(-1, 1, 1)

    with pytest.raises(Refused, match="EINVAL"):
        mtrr.add_page(0, 1, 9, increment=True)

    old = [("debug", "mtrr: no MTRR for 1000,1000 found"), ("warn", "mtrr: type: 9 invalid")]
    assert mtrr.log.take() == (old if release.name == OLD else [("warn", "type: 9 invalid")])


def test_the_first_cpu_s_registers_are_not_stored_again_at_boot() -> None:
    """Bits that a CPU ignores in a mask stay on the first one."""
    msrs = {0xFE: 0x508, 0x2FF: 0xC00, 0x200: 6, 0x201: 0xF80000801}

    assert kernel(LINUX_2_6_32, msrs, cpus=2).cpus.files[0] == msrs
