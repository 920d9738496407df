"""Any machine can be written as TOML and read back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from machines import loaded
from memhub import CacheLimits
from memhub.audit.rows.description import describe_spec, spec_of
from memhub.config import to_toml
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import KernelEntry, KernelMapping, MachineSpec, Region
from memhub.x86.registers import MtrrRegisters, VariableMtrr

U64 = st.integers(0, (1 << 64) - 1)
NAMES = st.text("abcXYZ019_-.é", min_size=1, max_size=8).filter(
    lambda name: any(letter.isalnum() for letter in name)
)
WORDS = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable() or "\x7f" in text)
PAGES = st.integers(1, 64).map(lambda count: count << 12)


def laid_out(sizes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """`(gap, length)` rows as `(base, length)`, one after another."""
    rows, at = [], 0
    for gap, length in sizes:
        rows.append((at + gap, length))
        at += gap + length

    return rows


REGIONS = st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 1 << 20)), max_size=4).flatmap(
    lambda sizes: st.tuples(
        *[
            st.builds(
                Region,
                base=st.just(base),
                length=st.just(length),
                kind=st.sampled_from(["ram", "rom", "reserved", "acpi", "nvs", "unusable"]),
                data=st.binary(max_size=min(length, 8)),
            )
            for base, length in laid_out(sizes)
        ]
    )
)
MAPPINGS = st.lists(st.tuples(PAGES, PAGES), max_size=3).flatmap(
    lambda sizes: st.tuples(
        *[
            st.builds(
                KernelMapping,
                virtual=st.just((0xFFFFFFFF80000000 if index else 0) + base),
                physical=PAGES,
                length=st.just(length),
                writable=st.booleans(),
            )
            for index, (base, length) in enumerate(laid_out(sizes))
        ]
    )
)
TYPES = st.sampled_from([0, 1, 4, 5, 6])
PAIRS = st.one_of(
    st.just(VariableMtrr()),
    st.builds(
        lambda base, mask, kind: VariableMtrr(base << 12 | kind, mask << 12 | 0x800),
        st.integers(0, 0xFFFFF),
        st.integers(0, 0xFFFFF),
        TYPES,
    ),
)
REGISTERS = st.builds(
    lambda **fields: MtrrRegisters(phys_bits=32, **fields).encode(),
    fixed_supported=st.booleans(),
    write_combining=st.booleans(),
    enabled=st.booleans(),
    fixed_enabled=st.booleans(),
    default_type=TYPES,
    fixed_types=st.lists(TYPES, min_size=88, max_size=88).map(bytes),
    variable=st.lists(PAIRS, max_size=10).map(tuple),
)
OPTION: st.SearchStrategy[Any] = st.recursive(
    st.booleans() | st.integers(-5, (1 << 63) - 1) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)
ENTRIES = st.lists(st.integers(0, (1 << 52) - 1), max_size=3, unique=True).flatmap(
    lambda at: st.tuples(
        *[
            st.builds(
                KernelEntry,
                virtual=st.just(page << 12),
                length=st.just(4096),
                readable=st.booleans(),
                writable=st.booleans(),
            )
            for page in at
        ]
    )
)
SPECS = st.builds(
    MachineSpec,
    name=NAMES,
    arch=st.sampled_from(["amd64", "someone-elses"]),
    cpu=st.builds(
        Cpu,
        vendor=WORDS,
        signature=st.integers(0, 0xFFFFFFFF),
        phys_bits=st.just(32),
        mtrr=st.booleans(),
    ),
    msrs=REGISTERS | st.dictionaries(st.integers(0, 0xFFFFFFFF), U64, max_size=4),
    options=st.dictionaries(NAMES, OPTION, max_size=3),
    memory=REGIONS,
    kmem=MAPPINGS,
    kmem_entries=st.none() | ENTRIES,
    symbols=st.dictionaries(NAMES, U64, max_size=3),
    securelevel=st.integers(-1, 3),
    wp_writes=st.sampled_from(["fault", "drop", "allow"]),
    upages=st.integers(1, 16),
    commit_latency=st.none() | st.floats(0, 10),
)
LIMITS = st.builds(
    CacheLimits,
    lines=st.integers(1, 1 << 16),
    line_size=st.sampled_from([8, 64, 4096]),
    buffers=st.integers(1, 64),
    seed=st.integers(0, (1 << 64) - 1),
    logged=st.booleans(),
    forget_flush=st.booleans(),
)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(SPECS)
def test_any_machine_survives_being_written_and_loaded(spec: MachineSpec) -> None:
    assert loaded(to_toml(spec), spec.name) == spec


@given(SPECS, st.sampled_from(["snooping", "blind"]), LIMITS)
def test_so_does_one_that_is_not_coherent(spec: MachineSpec, bus: Any, limits: CacheLimits) -> None:
    spec = replace(spec, coherent=False, bus=bus, caches=limits)
    assert loaded(to_toml(spec), spec.name) == spec
    text = describe_spec(spec)
    again = spec_of(spec.name, spec.arch, text, spec.msrs)
    assert (again.coherent, again.bus, again.caches) == (False, bus, limits)
