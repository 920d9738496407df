"""Types of the small kernel by its debug information, and its processes by them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from images.files import Segment, elf
from kvm.kernel_rig import BASE, KERNEL, kernel_machine
from memhub import Hub
from memhub.images import ImageError
from memhub.kvm import CType, KernelTypes, Kvm, open_image, open_live
from memhub.kvm.dwarf import _number
from memhub.service.local import LocalClient

pytestmark = pytest.mark.anyio

PS = Path(__file__).parents[2] / "examples" / "ps.py"
SHOWN = """\
  PID  PPID   UID STATE   COMMAND
    0     0     0 run     kernel
    1     0     0 run     init
   17     1  1001 run     sh
   42    17  1001 run     ps
"""


@pytest.fixture(scope="module")
def types() -> KernelTypes:
    return KernelTypes(KERNEL)


def value(types: KernelTypes, name: str, symbol: int) -> Any:
    """A value in the kernel's file; its data begins at its base."""
    kind = types[name]
    data = KERNEL.read_bytes()[0x1000 + symbol - BASE :]

    return kind.decode(data)


def test_sizes_and_offsets_are_those_of_the_compiler(types: KernelTypes) -> None:
    proc = types["struct proc"]

    assert (proc.kind, proc.size) == ("struct", 80)
    assert proc.offset_of("p_list") == 0
    assert proc.offset_of("p_pptr") == 24
    assert proc.offset_of("p_pid") == 32
    assert proc.members["p_list"].type.offset_of("le_prev") == 8
    assert proc.members["p_ucred"].type.target == "struct ucred"
    assert types["pid_t"] == types["int"]
    assert types["enum state"].size == 4
    assert "struct nix" not in types
    with pytest.raises(KeyError):
        types["struct nix"]


def test_a_value_is_read_of_its_bytes(types: KernelTypes) -> None:
    ps = value(types, "struct proc", BASE + 0x180)

    assert ps["p_pid"] == 42
    assert ps["p_comm"] == b"ps"
    assert ps["p_priority"] == (-1, 2)
    assert (ps["p_flag"], ps["p_nice"]) == (5, 20)
    assert ps["p_wchan"] == ps["p_word"] == 0x1234
    assert ps["p_list"]["le_next"] == 0
    with pytest.raises(ValueError, match="struct proc has 80 bytes, and 79 are given"):
        types["struct proc"].decode(bytes(79))


def test_a_float_and_a_big_endian_integer_are_read() -> None:
    assert CType("double", "float", 8, "big").decode(b"\x40\x09\x21\xfb\x54\x44\x2d\x18") > 3.14
    assert CType("short", "integer", 2, "big", signed=True).decode(b"\xff\xfe") == -2
    with pytest.raises(ValueError, match="long double has 16 bytes, which Python has no float of"):
        CType("long double", "float", 16).decode(bytes(16))


async def test_processes_are_walked_in_a_live_kernel_and_in_its_core(
    types: KernelTypes, tmp_path: Path
) -> None:
    async with Hub([kernel_machine()]) as hub:
        async with await open_live(hub) as kd:
            (head,) = kd.nlist(["_allproc"])
            proc, found = types["struct proc"], []
            address = types["struct proclist"].decode(await kd.read(head.n_value, 8))["lh_first"]
            while address:
                row = proc.decode(await kd.read(address, proc.size))
                found.append((row["p_pid"], row["p_comm"]))
                address = row["p_list"]["le_next"]

        hub.dump_memory().save(tmp_path / "core")

    assert found == [(0, b"kernel"), (1, b"init"), (17, b"sh"), (42, b"ps")]
    assert run_example(tmp_path / "core") == SHOWN


def run_example(core: Path) -> str:
    command = [sys.executable, str(PS), str(KERNEL), str(core)]

    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def example() -> dict[str, Any]:
    """What the example defines."""
    names: dict[str, Any] = {"__name__": "ps"}
    exec(compile(PS.read_text(), str(PS), "exec"), names)

    return names


def test_the_example_sees_a_process_that_was_unlinked_and_refuses_a_circle(
    types: KernelTypes,
) -> None:
    from memhub.kvm import open_blocking

    ps = example()
    with LocalClient([kernel_machine()]) as client, open_blocking(client, mode="r+") as kd:
        ahead = BASE + 0x180
        kd.write(BASE + 0xC0, ahead.to_bytes(8, "little"))  # init's le_next: past the shell
        assert [row.pid for row in ps["processes"](kd, types)] == [0, 1, 42]

        kd.write(BASE + 0x180, (BASE + 0x60).to_bytes(8, "little"))
        with pytest.raises(OSError, match="allproc goes in a circle at 0xffffffff80200060"):
            ps["processes"](kd, types)

        kd.write(BASE + 0x180, (0x1000).to_bytes(8, "little"))
        with pytest.raises(OSError, match="EFAULT: kvm_read: kernel address 0x1000"):
            ps["processes"](kd, types)


def test_a_file_without_debug_information_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(elf(Segment(0, b"x")))

    with pytest.raises(ImageError, match="has no debug information"):
        KernelTypes(path)


WHOLE = KERNEL.read_bytes()


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.integers(0x1000, len(WHOLE) - 1), st.integers(0, 255)), max_size=6))
def test_damaged_debug_information_is_refused_or_read(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]]
) -> None:
    data = bytearray(WHOLE)
    for at, byte in damage:
        data[at] = byte

    path = tmp_path_factory.getbasetemp() / "damaged-kernel"
    path.write_bytes(data)
    try:
        found = KernelTypes(path)
    except ImageError:
        return

    if "struct proc" in found and found["struct proc"].size < 4096:
        assert isinstance(found["struct proc"].decode(bytes(4096)), dict)


def test_a_kvm_of_an_image_is_blocking(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(elf(Segment(0, b"x", vaddr=5)))

    assert isinstance(open_image(path), Kvm)


@pytest.mark.parametrize(
    ("value", "number"), [(24, 24), ([0x23, 24], 24), ([0x23, 0xE5, 0x8E, 0x26], 624485)]
)
def test_places_are_read_as_each_version_says_them(value: object, number: int) -> None:
    """Version 2 says them as DW_OP_plus_uconst; the last is the example of LEB128 there."""
    assert _number(SimpleNamespace(name="DW_AT_data_member_location", value=value)) == number


def test_a_place_that_is_computed_otherwise_is_refused() -> None:
    with pytest.raises(TypeError, match="DW_AT_data_member_location is computed"):
        _number(SimpleNamespace(name="DW_AT_data_member_location", value=[0x06]))


def test_a_type_that_is_not_there_is_named_with_what_it_may_be() -> None:
    types = KernelTypes(KERNEL)
    with pytest.raises(KeyError, match=r"kernel has no type 'proc': did you mean 'struct proc'\?"):
        types["proc"]

    with pytest.raises(KeyError, match=r"no type 'struct prox'; did you mean 'struct proc'\?"):
        types["struct prox"]

    with pytest.raises(TypeError, match="name"):
        types[3]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: python ps.py KERNEL CORE"),
        ([str(KERNEL), str(PS)], "ps: "),
    ],
)
def test_ps_says_what_it_cannot_do_in_one_line(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, PS, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
