"""The binary interface: what goes in comes out, and the numbers are the kernel's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import strategies as sts
from memhub import abi
from memhub.abi import ILP32, LP64, DataModel, RangeDesc

ABI_CHECK = Path(__file__).parent / "data" / "abi_check.c"
FIELDS = ("mr_base", "mr_len", "mr_flags", "mr_owner")

both_models = pytest.mark.parametrize("model", abi.DATA_MODELS, ids=lambda model: model.name)

#: FreeBSD's numbers, from sys/sys/errno.h.
FREEBSD_ERRNO = {
    "EPERM": 1,
    "ENOENT": 2,
    "EIO": 5,
    "ENXIO": 6,
    "EBADF": 9,
    "EDEADLK": 11,
    "ENOMEM": 12,
    "EACCES": 13,
    "EFAULT": 14,
    "EBUSY": 16,
    "EEXIST": 17,
    "ENODEV": 19,
    "EINVAL": 22,
    "ENOTTY": 25,
    "ENOSPC": 28,
    "ESPIPE": 29,
    "EAGAIN": 35,
    "EOPNOTSUPP": 45,
    "ETIMEDOUT": 60,
    "ENOSYS": 78,
    "ECANCELED": 85,
    "EPROTO": 92,
}


# Round trips


@given(model=sts.data_models(), desc=sts.range_descs())
def test_a_descriptor_survives_the_structure(model: DataModel, desc: RangeDesc) -> None:
    data = model.pack(desc)

    assert len(data) == model.desc.size
    assert model.unpack(data) == desc
    assert model.unpack(bytearray(data)) == desc
    assert model.unpack(memoryview(data)) == desc


@given(model=sts.data_models(), table=st.lists(sts.range_descs(), max_size=12))
def test_a_table_survives_the_array_of_structures(model: DataModel, table: list[RangeDesc]) -> None:
    data = model.pack_table(table)

    assert data == b"".join(model.pack(desc) for desc in table)
    assert model.unpack_table(data) == tuple(table)


@given(model=sts.data_models(), table=st.lists(sts.range_descs(), max_size=12))
def test_an_array_shows_the_fields_of_the_table(model: DataModel, table: list[RangeDesc]) -> None:
    data = model.pack_table(table)
    array = model.array(data)

    assert array.shape == (len(table),)
    assert array["mr_base"].tolist() == [desc.mr_base for desc in table]
    assert array["mr_len"].tolist() == [desc.mr_len for desc in table]
    assert array["mr_flags"].tolist() == [desc.mr_flags for desc in table]
    assert [owner.tobytes() for owner in array["mr_owner"]] == [desc.mr_owner for desc in table]
    assert model.from_array(array) == data


@given(
    model=sts.data_models(),
    table=st.lists(sts.range_descs(), max_size=6),
    order=st.permutations(FIELDS),
    align=st.booleans(),
)
def test_an_array_may_have_its_fields_in_any_order_and_padding(
    model: DataModel, table: list[RangeDesc], order: list[str], align: bool
) -> None:
    formats = {"mr_base": ">u8", "mr_len": "<u8", "mr_flags": "<u4", "mr_owner": "V8"}
    dtype = np.dtype([(name, formats[name]) for name in order], align=align)
    array = np.zeros(len(table), dtype=dtype)
    for name in FIELDS:
        array[name] = model.array(model.pack_table(table))[name]

    assert model.from_array(array) == model.pack_table(table)


@given(model=sts.data_models(), data=st.binary(min_size=32, max_size=32))
def test_bytes_that_are_no_padding_survive_a_reading(model: DataModel, data: bytes) -> None:
    data = data[: model.desc.size]
    kept = data[:28].ljust(model.desc.size, b"\0")

    assert model.pack(model.unpack(data)) == kept


def test_a_view_shares_memory_with_a_writable_buffer() -> None:
    data = bytearray(LP64.pack_table(abi.descs([(0, 4096, 1, "a"), (4096, 4096, 8, "b")])))
    LP64.array(data)["mr_base"][1] = 0xC0000000

    assert LP64.unpack_table(data)[1].mr_base == 0xC0000000


def test_a_view_of_bytes_is_read_only() -> None:
    array = LP64.array(LP64.pack(RangeDesc(0, 4096)))

    with pytest.raises(ValueError, match="read-only"):
        array["mr_base"] = 1


def test_the_two_models_differ_in_padding_alone() -> None:
    desc = RangeDesc(0x0102030405060708, 0x1112131415161718, 0x21222324, b"ABCDEFGH")
    wanted = bytes.fromhex("0807060504030201 1817161514131211 24232221") + b"ABCDEFGH"

    assert ILP32.pack(desc) == wanted
    assert LP64.pack(desc) == wanted + bytes(4)


# Numbers and flags


def test_ioctl_numbers_are_the_kernels() -> None:
    assert LP64.get == 0xC0106D32
    assert LP64.set == (0x80106D33, 0x40106D33)
    assert ILP32.get == 0xC00C6D32
    assert ILP32.set == (0x800C6D33, 0x400C6D33)


def test_structure_sizes_are_the_kernels() -> None:
    assert (LP64.desc.size, LP64.op.size) == (32, 16)
    assert (ILP32.desc.size, ILP32.op.size) == (28, 12)


def test_flags_sit_on_the_bits_of_memrange_h() -> None:
    attributes = [1 << bit for bit in range(6)]
    status = [1 << bit for bit in range(24, 32)]

    assert attributes == [
        abi.MDF_UNCACHEABLE,
        abi.MDF_WRITECOMBINE,
        abi.MDF_WRITETHROUGH,
        abi.MDF_WRITEBACK,
        abi.MDF_WRITEPROTECT,
        abi.MDF_UNKNOWN,
    ]
    assert status == [
        abi.MDF_FIXBASE,
        abi.MDF_FIXLEN,
        abi.MDF_FIRMWARE,
        abi.MDF_ACTIVE,
        abi.MDF_BOGUS,
        abi.MDF_FIXACTIVE,
        abi.MDF_BUSY,
        abi.MDF_FORCE,
    ]


def test_defined_and_reserved_flags_make_up_all_32_bits() -> None:
    defined = abi.MDF_SETTABLE | abi.MDF_UNKNOWN | ~abi.MDF_ATTRMASK & 0xFFFFFFFF

    assert abi.MDF_SETTABLE == 0x1F
    assert defined & abi.MDF_RESERVED == 0
    assert defined | abi.MDF_RESERVED == 0xFFFFFFFF


@both_models
def test_the_sign_bit_of_mr_flags_is_force_and_stays_positive(model: DataModel) -> None:
    data = bytearray(model.desc.size)
    data[16:20] = (-(2**31)).to_bytes(4, "little", signed=True)

    assert model.unpack(data).mr_flags == abi.MDF_FORCE == 0x80000000
    assert model.array(data)["mr_flags"].tolist() == [0x80000000]
    assert model.pack(model.unpack(data)) == data


def test_words_come_in_the_order_of_memcontrol() -> None:
    everything = (
        "uncacheable write-combine write-through write-back write-protect force unknown "
        "fixed-base fixed-length set-by-firmware active bogus"
    )

    assert " ".join(abi.flag_words(0xFFFFFFFF, extra=False)) == everything
    assert " ".join(abi.flag_words(0xFFFFFFFF)) == f"{everything} fixed-active busy"


@given(sts.flags())
def test_every_defined_bit_has_one_word_and_no_other_bit_has_any(flags: int) -> None:
    assert len(abi.flag_words(flags)) == (flags & ~abi.MDF_RESERVED).bit_count()


def test_error_numbers_are_freebsds() -> None:
    assert {code.name: code.value for code in abi.Errno} == FREEBSD_ERRNO


@given(sts.labels())
def test_a_label_of_seven_bytes_is_kept(label: str) -> None:
    assert RangeDesc(0, 0, 0, abi.owner_bytes(label)).owner == label


@given(st.binary())
@example(b"12345678")
@example(b"a\0b")
def test_a_label_is_cut_at_seven_bytes(label: bytes) -> None:
    owner = abi.owner_bytes(label)

    assert (len(owner), owner[7]) == (8, 0)
    assert owner.startswith(label[:7])
    assert not any(owner[len(label) :])


def test_a_label_outside_latin_1_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="owner 'Ω' has a character"):
        abi.owner_bytes("Ω")


def test_bytes_behind_the_first_nul_are_kept_but_not_shown() -> None:
    desc = LP64.unpack(LP64.pack(RangeDesc(0, 4096, 0, b"\0IOS\0\0\0\0")))

    assert desc.owner == ""
    assert desc.mr_owner == b"\0IOS\0\0\0\0"


@given(base=sts.u64(), length=sts.u64())
def test_the_end_of_a_range_never_wraps(base: int, length: int) -> None:
    assert RangeDesc(base, length).mr_end == base + length


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((-1, 0), "mr_base -0x1 does not fit an unsigned 64-bit field"),
        ((1 << 64, 0), "mr_base 0x10000000000000000 does not fit"),
        ((0, -1), "mr_len -0x1 does not fit an unsigned 64-bit field"),
        ((0, 1 << 64), "mr_len 0x10000000000000000 does not fit"),
        ((0, 0, -1), "mr_flags -0x1 does not fit 32 bits"),
        ((0, 0, 1 << 32), "mr_flags 0x100000000 does not fit 32 bits"),
        ((0, 0, 0, b"BIOS"), "mr_owner b'BIOS' is not 8 bytes long (owner_bytes pads a label)"),
        ((0, 0, 0, b"123456789"), "mr_owner b'123456789' is not 8 bytes long"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_its_value(
    fields: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        RangeDesc(*fields)  # type: ignore[arg-type]


def test_a_descriptor_prints_range_owner_and_words() -> None:
    (named, bare) = abi.descs([(0xA0000, 0x4000, 1 << 27 | 1, "BIOS"), (0, 0, 0, b"")])

    assert str(named) == "0xa0000/0x4000 BIOS uncacheable active"
    assert str(bare) == "0x0/0x0 - no flags"


# Wrong sizes


@given(model=sts.data_models(), size=st.integers(0, 100))
def test_one_descriptor_takes_exactly_its_size(model: DataModel, size: int) -> None:
    assume(size != model.desc.size)

    with pytest.raises(ValueError, match=rf"is {model.desc.size} bytes, not {size}$"):
        model.unpack(bytes(size))


@given(model=sts.data_models(), size=st.integers(0, 200))
def test_a_table_takes_whole_descriptors_only(model: DataModel, size: int) -> None:
    (slots, rest) = divmod(size, model.desc.size)
    if not rest:
        assert len(model.unpack_table(bytes(size))) == len(model.array(bytes(size))) == slots
        return

    with pytest.raises(ValueError, match=f"^{size} bytes are not a whole number"):
        model.unpack_table(bytes(size))

    with pytest.raises(ValueError, match=f"^{size} bytes end inside"):
        model.array(bytes(size))


# Against other authorities


@pytest.mark.parametrize("name", ["memhub.abi", "memhub.errors"])
def test_importing_it_does_not_load_numpy(name: str) -> None:
    code = f"import sys, {name}; raise SystemExit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def _compiled(*options: str) -> dict[str, int]:
    """The facts of abi_check.c as the compiler sees them under `options`."""
    compiler = shutil.which(os.environ.get("CC", "cc"))
    if compiler is None:
        pytest.skip("no C compiler")

    command = [compiler, "-S", "-o", "-", *options, str(ABI_CHECK)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "-m32" in options:
        pytest.skip(f"the compiler has no -m32: {done.stderr.strip()}")

    assert not done.returncode, done.stderr
    found = re.findall(r'"-> (\w+) [#$]?(-?\d+)"', done.stdout)

    return {name: int(value) & 0xFFFFFFFF for name, value in found}


@pytest.mark.parametrize(
    ("model", "options"),
    [(LP64, ["-O0"]), (ILP32, ["-m32"]), (ILP32, ["-DEMULATE_ILP32"])],
    ids=["LP64", "ILP32-m32", "ILP32-emulated"],
)
def test_a_c_compiler_lays_out_the_same_structures(model: DataModel, options: list[str]) -> None:
    facts = _compiled(*options)
    if model is LP64 and facts["pointer"] != 8:
        pytest.skip("this machine's own data model is not LP64")

    dtype = model.dtype()
    assert dtype.itemsize == model.desc.size == facts["desc"]
    assert {name: dtype.fields[name][1] for name in FIELDS} == {  # type: ignore[index]
        name: facts[name] for name in FIELDS
    }
    assert model.op.size == facts["op"]
    assert model.op.pack(7, 0, 0)[facts["mo_desc"]] == 7
    assert model.op.pack(0, 7, 9)[facts["mo_arg"] :] == bytes([7, 0, 0, 0, 9, 0, 0, 0])
    assert model.get == facts["bsd_get"] == facts["linux_get"]
    assert model.set == (facts["bsd_set"], facts["linux_set"])


def test_this_systems_own_macros_make_numbers_that_are_accepted() -> None:
    facts = _compiled("-DHOST_MACROS")
    model = LP64 if facts["pointer"] == 8 else ILP32

    assert facts["host_get"] == model.get
    assert facts["host_set"] in model.set
