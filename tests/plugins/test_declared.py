"""Declared architectures: the value, the file, and what both refuse."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import memhub_k6
import memhub_powerpc
from memhub import abi, errors
from memhub.abi import RangeDesc, owner_bytes
from memhub.arches import load_arches
from memhub.core.drivers.driver import Cpu, RangeState
from memhub.core.kernel import KernelLayout
from memhub.plugin.declared import (
    DeclaredArch,
    FirmwareSlot,
    SignatureRule,
    make_arch,
    make_driver,
)
from memhub.plugin.declared_toml import DeclarationError, parse_declared
from memhub.rig import check_arch

ROOT = Path(__file__).parents[2]
UC, WC, WB = abi.MDF_UNCACHEABLE, abi.MDF_WRITECOMBINE, abi.MDF_WRITEBACK
PLAIN = DeclaredArch(
    name="plain",
    summary="four ranges",
    slots=4,
    types={"uncacheable": "UC", "write-combine": "WC", "write-back": "WB"},
)
NESTED = replace(PLAIN, power_of_two=True, overlaps={"write-back": ("uncacheable",)})
POWERPC = """
[[arch]]
name = "powerpc"
summary = "ranges in software, unchecked, without registers"
model = "ILP32"
releases = "FreeBSD powerpc"
slots = 8
order = ["same", "full"]
search = "first free slot"
mixed = "default"
keep_flags = true
quirks = ["grants-empty", "grants-beyond", "grants-wrapping"]

[arch.types]
uncacheable = "UC"
write-combine = "WC"
write-through = "WT"
write-back = "WB"
write-protect = ""
"""


class Rig:
    """One driver, and the state that its answers make."""

    def __init__(self, declared: DeclaredArch, cpu: Cpu | None = None) -> None:
        self.driver = make_driver(declared, cpu or Cpu(), {})
        self.state: RangeState = self.driver.attach({})

    def update(self, base: int, length: int, flags: int, owner: str = "me") -> int:
        """Set a range, counted in pages; the slot that was written."""
        desc = RangeDesc(base << 12, length << 12, flags, owner_bytes(owner))
        change = self.driver.update(self.state, desc)
        self.state = self.state.apply(change)
        (slot,) = change.wrote

        return slot

    def type_at(self, page: int) -> str:
        return self.driver.types(self.state).at(page << 12)


# The file and the value are the same


def test_the_k6_of_the_page_is_the_one_that_is_shipped() -> None:
    page = (ROOT / "docs" / "architectures.md").read_text()
    found = re.search(r"<!-- declared k6 -->\n```toml\n(.*?)```", page, re.DOTALL)
    assert found is not None

    assert parse_declared(found.group(1)) == [memhub_k6.DECLARED]


def test_powerpc_in_toml_is_the_one_that_is_shipped() -> None:
    assert parse_declared(POWERPC) == [memhub_powerpc.DECLARED]


def test_the_shipped_ones_have_no_driver_of_their_own() -> None:
    for module in (memhub_k6, memhub_powerpc):
        assert module.__file__ is not None
        assert "class " not in Path(module.__file__).read_text()


# What is declared holds


def test_errors_come_in_the_declared_order() -> None:
    both = RangeDesc(0x1001, 0x1000, UC | WC)
    for order, word in ((("base", "attribute"), "base"), (("attribute", "base"), "attributes")):
        driver = Rig(replace(PLAIN, order=order)).driver
        with pytest.raises(errors.InvalidRange, match=f"^EINVAL: {word}"):
            driver.update(Rig(PLAIN).state, both)


def test_an_errno_can_be_declared() -> None:
    rig = Rig(replace(PLAIN, errnos={"attribute": "EOPNOTSUPP"}))
    with pytest.raises(errors.NotSupported, match="write-protect"):
        rig.update(0, 1, abi.MDF_WRITEPROTECT)


SLOT = FirmwareSlot(
    register=1, base_mask=0xF000, mask_shift=0, mask_bits=4, unit=1, attributes={"write-protect": 0}
)


@pytest.mark.parametrize(
    ("base", "length", "flags", "words"),
    [
        (0x800, 0x1000, UC, "base 0x800 is not a multiple of 0x1000"),
        (0, 0x1800, UC, "length 0x1800 is not a power of two of at least 0x1000"),
        (0, 0, UC, "length 0x0 is not a power of two"),
        (0x1000, 0x2000, UC, "base 0x1000 is not a multiple of the length 0x2000"),
        (1 << 36, 0x1000, UC, "ends past 0x1000000000"),
        (0, 0x1000, UC | WB, "are not exactly one of uncacheable, write-combine, write-back"),
        (0, 0x1000, 0, r"attributes 0x0 \(none that is known\)"),
    ],
)
def test_each_check_names_the_value_and_the_rule(
    base: int, length: int, flags: int, words: str
) -> None:
    rig = Rig(NESTED)
    with pytest.raises(errors.InvalidRange, match=words):
        rig.driver.update(rig.state, RangeDesc(base, length, flags))


def test_overlaps_follow_the_matrix_whichever_was_first() -> None:
    for first, second, works in (
        (WB, UC, True),
        (UC, WB, True),
        (WC, UC, False),
        (WB, WC, False),
        (WC, WC, True),
    ):
        rig = Rig(NESTED)
        rig.update(0, 4, first)
        if works:
            assert rig.update(2, 1, second) == 1
        else:
            with pytest.raises(errors.InvalidRange, match="overlaps slot 0 0x0/0x4000") as caught:
                rig.update(2, 1, second)

            assert [it.slot for it in caught.value.obstacles] == [0]


def test_of_overlapping_ranges_the_first_slot_or_the_first_attribute_wins() -> None:
    for declared, wins in ((NESTED, "WB"), (replace(NESTED, winner="attribute"), "UC")):
        rig = Rig(declared)
        rig.update(0, 4, WB)
        rig.update(2, 1, UC)
        assert (rig.type_at(0), rig.type_at(2)) == ("WB", wins)


def test_the_same_range_is_taken_over_or_refused_as_declared() -> None:
    rig = Rig(PLAIN)
    assert [rig.update(0, 1, UC), rig.update(0, 1, WC)] == [0, 0]
    strict = Rig(replace(PLAIN, order=("same",)))
    strict.update(0, 1, UC)
    with pytest.raises(errors.RangeExists):
        strict.update(0, 1, UC)


def test_a_busy_range_is_not_taken_over() -> None:
    rig = Rig(PLAIN)
    rig.update(0, 1, UC)
    (row, *rest) = rig.state.slots
    rig.state = RangeState((replace(row, mr_flags=row.mr_flags | abi.MDF_BUSY), *rest))
    with pytest.raises(errors.RangeBusy, match=r"slot 0 .* is busy"):
        rig.update(0, 1, WC)


@pytest.mark.parametrize(
    "declared",
    [
        PLAIN,
        NESTED,
        replace(NESTED, winner="attribute", commit_latency=0.01),
        replace(PLAIN, granule=0x20000, length_least=0x100000, slots=1),
        replace(
            PLAIN, search="first free slot", order=("base", "length", "end", "attribute", "same")
        ),
        replace(PLAIN, types={**PLAIN.types, "write-protect": ""}),
        replace(PLAIN, address_bits=32, model=abi.ILP32, default_type="UC"),
    ],
    ids=["plain", "nested", "attribute", "coarse", "in order", "untyped", "32 bits"],
)
def test_what_is_declared_in_the_usual_way_is_sound(declared: DeclaredArch) -> None:
    check_arch(make_arch(declared), sequences=4).require_sound()


# What is refused


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"register": -1}, "register -1 is not an integer from 0 to 0xffffffff"),
        ({"base_mask": -1}, "base_mask -1 is not an integer from 0"),
        ({"shift": -1}, "shift -1 is not an integer from 0 to 63"),
        ({"shift": 10**20}, "shift 100000000000000000000 is not an integer from 0 to 63"),
        ({"mask_shift": -1}, "mask_shift -1 is not an integer from 0 to 63"),
        ({"mask_bits": 0}, "mask_bits 0 is not an integer from 1 to 64"),
        ({"mask_bits": 1500000000}, "mask_bits 1500000000 is not an integer from 1 to 64"),
        ({"unit": 0}, "unit 0 is not an integer from 1"),
        ({"attributes": {"uncacheable": 99}}, "the bit of uncacheable 99 is not an integer from 0"),
    ],
)
def test_a_slot_of_firmware_that_cannot_be_read_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        replace(SLOT, **fields)


def test_a_signature_rule_that_no_cpu_meets_is_refused() -> None:
    with pytest.raises(ValueError, match="first 0x2 is above last 0x1"):
        SignatureRule(mask=3, first=2, last=1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": "a b"}, "architecture 'a b': name 'a b' does not begin with a lower-case letter"),
        ({"slots": 0}, "slots 0 is not an integer from 1 to 65536"),
        ({"slots": True}, "slots True is not an integer"),
        ({"types": {}}, "types is empty"),
        ({"types": {"cached": "WB"}}, "types: 'cached' is none of uncacheable, write-combine"),
        ({"types": {"write-back": "BW"}}, "types: write-back is 'BW', none of UC, WC"),
        ({"order": ("bases",)}, "order: 'bases' is none of base, length"),
        ({"order": ("base", "base")}, "order base, base names a check twice"),
        ({"order": ("full", "base")}, "order: 'base' comes before 'full'"),
        ({"errnos": {"base": "EHUH"}}, "errnos: base is 'EHUH', which is no errno of mem"),
        ({"search": "last"}, "search 'last' is none of whole table, first free slot"),
        ({"search": "first free slot"}, "order: 'busy' needs search 'whole table'"),
        ({"granule": 0}, "granule 0 is not an integer above 0"),
        ({"granule": 3, "power_of_two": True}, "granule 0x3 is no power of two"),
        ({"address_bits": 65}, "address_bits 65 is more than 64"),
        ({"flags": ("uncacheable",)}, "flags: 'uncacheable' is no word of a flag beside"),
        ({"overlaps": {"write-protect": ()}}, "overlaps: 'write-protect' is none of uncacheable"),
        ({"order": ("base",), "overlaps": {"write-back": ()}}, "order does not name 'overlap'"),
        ({"default_type": "?"}, "default_type '?' is none of"),
        ({"name": 5}, "architecture 5: name 5 does not begin"),
        ({"name": "Größe"}, "name 'Größe' does not begin with a lower-case letter"),
        ({"name": "UPPER"}, "name 'UPPER' does not begin with a lower-case letter"),
        ({"summary": 5}, "summary 5 is not one line of text"),
        ({"summary": "a\nb"}, "summary 'a\\nb' is not one line of text"),
        ({"types": 5}, "types 5 is not a mapping of texts to texts"),
        ({"types": {"uncacheable": []}}, "types {'uncacheable': []} is not a mapping of texts"),
        ({"errnos": 5}, "errnos 5 is not a mapping"),
        ({"errnos": {"flags": "EINVAL"}}, "errnos: 'flags' is not checked, as order does not"),
        ({"order": None}, "order None is not a tuple of texts"),
        ({"order": "base"}, "order 'base' is not a tuple of texts"),
        ({"flags": "force"}, "flags 'force' is not a tuple of texts"),
        ({"granule": 1 << 64}, "granule 0x10000000000000000 is more than an address can be"),
        ({"power_of_two": "no"}, "power_of_two 'no' is not true or false"),
        ({"keep_flags": "no"}, "keep_flags 'no' is not true or false"),
        ({"cpus": "AMD"}, "cpus 'AMD' is not a CpuRule"),
        ({"firmware": [1]}, "firmware [1] is not a tuple of FirmwareSlot"),
        ({"firmware": 5}, "firmware 5 is not a tuple of FirmwareSlot"),
        ({"model": "LP64"}, "model 'LP64' is not a data model"),
        ({"kernel": 5}, "kernel 5 is not a KernelLayout"),
        ({"kernel": KernelLayout(kernel_base=-1)}, "kernel: kernel_base -1 is not an integer"),
        ({"releases": 5}, "releases 5 is not a Releases"),
        ({"commit_latency": "x"}, "commit_latency 'x' is not from 0 to 3600 seconds"),
        ({"commit_latency": -1}, "commit_latency -1 is not from 0 to 3600 seconds"),
        ({"commit_latency": float("nan")}, "commit_latency nan is not from 0"),
        ({"firmware": (SLOT,)}, "firmware[0]: attributes: 'write-protect' is none of uncacheable"),
    ],
)
def test_a_declaration_that_contradicts_itself_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        replace(PLAIN, **fields)


HEAD = '[arch]\nname = "x"\nsummary = "x"\nslots = 2\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "f: there is no table [arch]"),
        ("arch", "f: Expected '=' after a key"),
        ("x = 1", "f: 'x' is none of the keys at the top"),
        ("arch = 3", "f: there is no table [arch]"),
        (HEAD, "arch: the key 'types' is missing"),
        (HEAD + "colour = 1", "arch: 'colour' is none of the keys name, summary"),
        (HEAD + 'granule = "big"', "arch.granule: 'big' is not an integer"),
        (HEAD + "power_of_two = 1", "arch.power_of_two: 1 is not true or false"),
        (HEAD + "order = 1", "arch.order: 1 is not a list of texts"),
        (HEAD + "types = 1", "arch.types: 1 is not a table of texts"),
        (HEAD + 'model = "LP32"', "arch.model: 'LP32' is none of LP64, ILP32"),
        (HEAD + 'releases = "BSD"', "arch.releases: 'BSD' is none of FreeBSD amd64"),
        (HEAD + "types.cached = 'WB'", "arch: architecture 'x': types: 'cached' is none"),
        (HEAD + "firmware = [1]", "arch.firmware[0]: 1 is not a table"),
        (HEAD + "[arch.cpus]\nmtrr = true", "arch.cpus: the key 'wants' is missing"),
        (HEAD + "[arch.kernel]\nbase = 1", "arch.kernel: 'base' is none of the keys"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_place_value_and_rule(text: str, words: str) -> None:
    with pytest.raises(DeclarationError, match=re.escape(words)):
        parse_declared(text, "f")


# Found by an entry point


def test_a_package_without_code_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install_declared(tmp_path, "declared_good", POWERPC.replace('"powerpc"', '"ppc-too"', 1))
    install_declared(tmp_path, "declared_bad", HEAD)
    monkeypatch.syspath_prepend(tmp_path)
    registry = load_arches()

    assert registry.sources["ppc-too"] == "declared_good"
    failures = [it for it in registry.failures if it.source == "declared_bad"]
    assert "declared_bad/arch.toml: arch: the key" in failures[0].reason


def install_declared(site: Path, name: str, text: str) -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[memhub.declared]\nit = {name}\n")
    (site / name).mkdir()
    (site / name / "arch.toml").write_text(text)
