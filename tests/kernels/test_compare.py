"""`memhub compare`: several kernels answer one script, and where they part is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memhub.arches import load_arches
from memhub.compare import (
    Outcome,
    UnknownKernel,
    choose_kernels,
    compare,
    known_script,
    ordinary_machine,
    parse_script,
)
from memhub.compare.table import table_lines
from memhub.kernels import load_kernels
from memhub.machines import load, pc
from memhub.plugin.kernels import KernelProfile, hookimpl

if TYPE_CHECKING:
    from memhub import MachineSpec

ARCHES = load_arches()
KERNELS = load_kernels()
FRAME = "set -b 0xd0000000 -l 0x1000000 write-combine\n"


def compared(script: str, *names: str, machine: MachineSpec | None = None) -> Outcome:
    chosen = choose_kernels(names, ARCHES, KERNELS)

    return compare(parse_script(script), chosen, machine or ordinary_machine())


def words(outcome: Outcome) -> dict[str, list[str]]:
    told = zip(outcome.kernels, outcome.answers, strict=True)

    return {name: [it.word for it in answers] for name, answers in told}


# Kernels


def test_names_patterns_beginnings_and_all_choose_kernels() -> None:
    def names(*given: str) -> list[str]:
        return [it.name for it in choose_kernels(given, ARCHES, KERNELS)]

    assert names("i386", "netbsd", "i386") == ["i386", "netbsd-7"]
    assert names("openbsd-*") == ["openbsd-amd64", "openbsd-i386", "openbsd-k6"]
    assert names("linux-6.18:32") == ["linux-6.18:32"]
    assert {"k6", "powerpc", "dragonfly", "linux-2.6.32", "linux-6.18"} <= {*names("all")}


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("linux", "there is no kernel 'linux'"),
        ("plan9", "there is no kernel 'plan9' (there are "),
        ("i387", "did you mean 'i386'"),
        ("i386:32", "an architecture has the bits that it has"),
        ("", "there is no kernel ''"),
    ],
)
def test_a_kernel_that_is_none_is_named(name: str, why: str) -> None:
    with pytest.raises(UnknownKernel, match=re.escape(why)):
        choose_kernels([name], ARCHES, KERNELS)


def test_no_kernel_at_all_is_refused() -> None:
    with pytest.raises(UnknownKernel, match="no kernel is named; there are amd64"):
        choose_kernels([], ARCHES, KERNELS)


def test_a_plugin_without_it_is_not_compared() -> None:
    profile = KernelProfile(name="plan9", summary="", recorded=(), replay=lambda *_: None)

    class Plugin:
        def memhub_kernels(self) -> list[KernelProfile]:
            return [profile]

    Plugin.memhub_kernels = hookimpl(Plugin.memhub_kernels)  # type: ignore[method-assign]
    kernels = load_kernels(plugins=[("plan9", Plugin())], installed=False)
    with pytest.raises(UnknownKernel, match="there is no kernel 'plan9'"):
        choose_kernels(["plan9"], ARCHES, kernels)


# What they answer: each of these is a rule of other-kernels.md's, seen from outside


@pytest.mark.parametrize(
    ("script", "told"),
    [
        # a part of a range of the same type is counted, takes a slot, or is busy
        (FRAME + "set -b 0xd0000000 -l 0x400000 write-combine", ("ok", "ok", "EBUSY")),
        # no power of two
        ("set -b 0xd8001000 -l 0x3000 write-combine", ("EINVAL", "EINVAL", "ok")),
        # write-through over write-back
        ("set -b 0x50000000 -l 0x1000000 write-through", ("EINVAL", "ok", "ok")),
        # what is not there
        ("clear -b 0xe0000000 -l 0x1000000", ("ENOENT", "EINVAL", "ok")),
        # above the width
        ("base=0x10000000000 size=0x1000 type=uncachable", ("ok", "EINVAL", "panic")),
        # no type
        ("set -b 0xe0000000 -l 0x1000000", ("EINVAL", "-", "-")),
        ("clear -o user", ("ok", "-", "-")),
        ("disable=7", ("-", "EINVAL", "-")),
        # bigger than the 32 bits of a KILL's size
        ("clear -b 0x100000000 -l 0x100000000", ("ENOENT", "EINVAL", "ok")),
        ("clear -b 0x1000 -l 0x100000000000", ("ENOENT", "-", "ok")),
    ],
)
def test_kernels_part_as_their_rules_say(script: str, told: tuple[str, ...]) -> None:
    found = words(compared(script, "i386", "linux-6.18", "netbsd"))

    assert tuple(it[-1] for it in found.values()) == told


def test_a_kernel_that_died_stays_dead() -> None:
    found = words(compared("base=0x10000000000 size=0x1000 type=uncachable\n" + FRAME, "netbsd"))

    assert found["netbsd-7"] == ["panic", "panic"]


def test_releases_of_linux_part_by_the_width() -> None:
    """2.6.32 tests the size alone: 2**36 bytes are one more than it takes."""
    script = "disable=0\nbase=0 size=0x1000000000 type=write-back"
    found = words(compared(script, "linux-6.18", "linux-2.6.32"))

    assert found == {"linux-6.18": ["ok", "ok"], "linux-2.6.32": ["ok", "EINVAL"]}


def test_a_32_bit_linux_sees_32_bits_of_pages() -> None:
    script = "base=0x100000000000 size=0x1000 type=uncachable"  # the page number has 33 bits
    found = words(compared(script, "linux-6.18", "linux-6.18:32"))

    assert found == {"linux-6.18": ["EINVAL"], "linux-6.18:32": ["ok"]}


def test_a_clear_by_number_names_the_range_of_that_slot() -> None:
    outcome = compared("disable=0", "i386", "linux-6.18", "netbsd")

    assert [it for told in words(outcome).values() for it in told] == ["ok"] * 3
    assert outcome.letters(1) == ["a", "a", "a"]
    assert outcome.maps(1)[0] != outcome.maps(0)[0]


def test_a_label_clears_its_ranges_on_a_kernel_that_has_labels() -> None:
    script = (
        "set -b 0xd0000000 -l 0x1000000 -o me write-combine\n"
        "set -b 0xe0000000 -l 0x1000000 -o you write-combine\n"
        "clear -o me\n"
    )
    outcome = compared(script, "amd64-mtrr", "linux-6.18")
    mtrr = {it.base: it.type for it in outcome.maps(3)[0]}

    assert (0xD0000000 in mtrr, mtrr[0xE0000000]) == (False, "WC")
    assert words(outcome)["linux-6.18"] == ["ok", "ok", "-"]


# What comes of it


def test_kernels_that_agree_do_not_part() -> None:
    outcome = compared(FRAME, "i386", "amd64-mtrr", "linux-6.18", "netbsd")

    assert (outcome.part, outcome.partings(), outcome.letters(1)) == (False, [], ["a"] * 4)


def test_a_parting_says_step_answer_and_address() -> None:
    outcome = compared(
        f"{FRAME}set -b 0x50000000 -l 0x1000000 write-through", "i386", "linux-6.18", "k6"
    )
    found = [tuple(it) for it in outcome.partings()]

    assert found == [
        ("linux-6.18", 2, "ok", "EINVAL", (0x50000000, "WT", "WB")),
        ("k6", 0, "ok", "ok", (0xA0000, "WB", "UC")),
        ("k6", 2, "EOPNOTSUPP", "EINVAL", None),
    ]


def test_all_start_from_the_registers_of_one_machine() -> None:
    spec = load("acer-aspire-one-8-slots-full")
    outcome = compared(FRAME, "i386", "linux-6.18", "netbsd", "openbsd-i386", machine=spec)

    assert len({*outcome.starts}) == 1
    assert words(outcome) == {
        "i386": ["ENOSPC"],
        "linux-6.18": ["ENOSPC"],
        "netbsd-7": ["EBUSY"],
        "openbsd-i386": ["ENOSPC"],
    }


@pytest.mark.parametrize(
    "name", ["desktop-2g-mixed-mask-widths-3x-wt", "edk2-ovmf-like-38bit", "amd-tom2-9200m-uc-top"]
)
def test_odd_machines_are_compared(name: str) -> None:
    outcome = compared(known_script(), "all", machine=load(name))

    assert len(outcome.answers) == len(outcome.kernels)
    assert json.loads(json.dumps(outcome.facts()))["steps"][14]["step"] == 15


def test_a_machine_whose_ranges_are_off_is_compared() -> None:
    spec = pc(arch="amd64-mtrr")
    off = {**spec.msrs, 0x2FF: 0}
    found = words(
        compared(FRAME, "i386", "linux-6.18", "linux-2.6.32", machine=replace(spec, msrs=off))
    )

    assert found == {"i386": ["ENXIO"], "linux-6.18": ["EIO"], "linux-2.6.32": ["ok"]}


STEPS = st.lists(
    st.one_of(
        st.builds(
            "set -b {:#x} -l {:#x} {}".format,
            st.integers(0, 40).map(lambda it: it << 24),
            st.integers(12, 30).map(lambda it: 1 << it),
            st.sampled_from(["uncacheable", "write-back", "write-combine", "write-through"]),
        ),
        st.builds("disable={}".format, st.integers(0, 9)),
        st.builds(
            "clear -b {:#x} -l 0x1000000".format, st.integers(0, 40).map(lambda it: it << 24)
        ),
    ),
    min_size=1,
    max_size=8,
)


@given(STEPS)
@settings(max_examples=15, deadline=None)
def test_a_comparison_of_any_requests_is_whole(steps: list[str]) -> None:
    outcome = compared("\n".join(steps), "i386", "linux-6.18", "linux-2.6.32", "netbsd", "k6")
    for step in range(len(steps) + 1):
        letters, maps = outcome.letters(step), outcome.maps(step)
        assert letters[0] == "a"
        for one, other, first, second in zip(letters, letters[1:], maps, maps[1:], strict=False):
            if first[-1].end == second[-1].end:
                assert (one == other) == (first == second)

        for types in maps:
            assert types[0].base == 0
            assert all(one.end == other.base for one, other in pairwise(types))

    assert all(len(line) <= 80 for line in table_lines(outcome))


@given(st.lists(st.sampled_from(["set", "remove"]), min_size=1, max_size=3))
@settings(max_examples=5, deadline=None)
def test_a_narrow_table_is_as_wide_as_is_asked(ops: list[str]) -> None:
    outcome = compared(FRAME * len(ops), "i386", "openbsd-amd64", "linux-2.6.32:32")

    assert all(len(line) <= 40 for line in table_lines(outcome, 40))


def test_two_runs_are_alike() -> None:
    facts = [compared(known_script(), "all").facts() for _ in range(2)]

    assert facts[0] == facts[1]


def test_a_narrow_machine_hides_no_difference_of_wide_ones() -> None:
    script = "set -b 0x200000000 -l 0x1000 write-combine"
    outcome = compared(script, "k6", "i386", "linux-6.18", "amd64")
    other = compared("set -b 0x200001000 -l 0x2000 write-combine", "k6", "i386", "amd64")

    assert outcome.letters(1) == ["a", "b", "b", "b"]
    assert other.letters(1) == ["a", "b", "c"]
