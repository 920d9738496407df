"""kvm(3) on live machines, over the service, and on images: the same calls, the same rules."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from images.files import Segment, elf
from kvm.kernel_rig import APART, BASE, KERNEL, NOTHING, READ_ONLY, kernel_machine
from memhub import AuditLog, Hub, MachineSpec, Region
from memhub.abi import Errno
from memhub.audit import read_records
from memhub.core.spec import Content
from memhub.errors import NotPermitted
from memhub.images import ImageError
from memhub.kvm import AsyncKvm, Kvm, KvmError, Nlist, open_blocking, open_image, open_live
from memhub.service.local import LocalClient
from service.service_rig import lab

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio

MISSING = Nlist("nix")


class Blocking:
    """A `Kvm` with the methods of an `AsyncKvm`, so that one test serves all faces."""

    def __init__(self, kd: Kvm) -> None:
        self.kd = kd
        self.nlist, self.geterr = kd.nlist, kd.geterr

    @property
    def alive(self) -> bool:
        return self.kd.alive

    async def read(self, address: int, length: int) -> bytes:
        return self.kd.read(address, length)

    async def write(self, address: int, data: bytes) -> int:
        return self.kd.write(address, data)

    async def aclose(self) -> None:
        self.kd.close()


FACES = ("hub", "process", "service", "local", "core", "raw", "lime")


@pytest.fixture(params=FACES)
async def face(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Any]:
    """The kernel, open for reading and writing where it is alive."""
    kind, spec = request.param, kernel_machine()
    if kind == "service":
        async with (
            lab(tmp_path, spec) as it,
            it.connect("gdb") as client,
            await open_live(client, "pc", "r+", symbols=KERNEL) as kd,
        ):
            yield kd

        return

    if kind == "local":
        with LocalClient([spec]) as local, open_blocking(local, mode="r+") as blocking:
            yield Blocking(blocking)

        return

    async with Hub([spec]) as hub:
        if kind in ("hub", "process"):
            opener = hub if kind == "hub" else hub.process("gdb")
            async with await open_live(opener, "pc", "r+") as kd:
                yield kd

            return

        dump = hub.dump_memory()

    path = tmp_path / kind
    if kind == "core":
        dump.save(path)
        opened = open_image(path)
    elif kind == "lime":
        dump.save(path, "lime")
        opened = open_image(path, spec)
    else:
        dump.save(path, "raw", base=0x100000)
        opened = open_image(path, spec, base=0x100000)

    with opened as blocking:
        yield Blocking(blocking)


async def test_symbols_are_found_by_name_with_or_without_an_underscore(face: AsyncKvm) -> None:
    nprocs, same, missing = face.nlist(["nprocs", "_nprocs", "nix"])

    assert (nprocs.n_name, same.n_name) == ("nprocs", "_nprocs")
    assert nprocs.n_value == same.n_value == BASE + 0x40
    assert missing == MISSING
    assert face.geterr() == "kvm_nlist: nix: No such file or directory"


async def test_kernel_memory_is_read_by_address(face: AsyncKvm) -> None:
    assert face.geterr() == ""
    (nprocs,) = face.nlist(["nprocs"])

    assert await face.read(nprocs.n_value, 4) == (4).to_bytes(4, "little")
    assert await face.read(APART, 6) == b"apart\0"
    assert await face.read(BASE, 0) == b""
    assert face.geterr() == ""


async def test_a_read_over_a_hole_is_short_and_says_so(face: AsyncKvm) -> None:
    assert await face.read(NOTHING - 2, 8) == bytes(2)
    assert face.geterr() == "short read"


async def test_what_the_kernel_does_not_map_is_efault(face: AsyncKvm) -> None:
    for address in (NOTHING, 0, 0x1000, (1 << 64) - 4096):
        with pytest.raises(KvmError, match=r"^EFAULT: kvm_read: kernel address ") as refused:
            await face.read(address, 4)

        assert refused.value.code is Errno.EFAULT
        assert face.geterr() == refused.value.reason


async def test_arguments_that_nobody_can_mean_are_refused(face: AsyncKvm) -> None:
    for address in (-1, 1 << 64):
        with pytest.raises(KvmError, match=r"EFAULT: invalid address \("):
            await face.read(address, 4)

    with pytest.raises(KvmError, match="EINVAL: kvm_read: length -1 is below 0"):
        await face.read(BASE, -1)

    with pytest.raises(KvmError, match="EINVAL: kvm_read: length 0x80000000 is not between 0"):
        await face.read(BASE, 1 << 31)

    for wrong in (3, "nprocs", [3]):
        with pytest.raises(TypeError, match="names"):
            face.nlist(wrong)  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="address"):
        await face.read("x", 1)  # type: ignore[arg-type]


async def test_a_live_kernel_is_written_and_a_dead_one_is_not(face: AsyncKvm) -> None:
    if not face.alive:
        with pytest.raises(KvmError, match="EOPNOTSUPP: kvm_write not implemented for dead"):
            await face.write(BASE, b"x")

        assert face.geterr() == "kvm_write not implemented for dead kernels"
        return

    assert await face.write(APART, b"AP") == 2
    assert await face.read(APART, 5) == b"APart"
    assert await face.write(NOTHING - 1, b"xy") == 1
    assert face.geterr() == "short write"
    with pytest.raises(KvmError, match=r"EFAULT: kvm_write: kernel address .* read-only"):
        await face.write(READ_ONLY, b"x")

    with pytest.raises(KvmError, match="EFAULT: invalid address"):
        await face.write(1 << 64, b"x")


async def test_nothing_is_done_after_close_and_closing_twice_is_once(face: AsyncKvm) -> None:
    await face.aclose()
    await face.aclose()
    for call in (face.read(BASE, 1), face.write(BASE, b"x")):
        with pytest.raises(KvmError, match=r"EBADF: kvm_.*: .* is closed"):
            await call

    with pytest.raises(KvmError, match="EBADF: kvm_nlist"):
        face.nlist(["nprocs"])


async def test_modes_and_rights_are_those_of_dev_kmem() -> None:
    async with Hub([kernel_machine(), kernel_machine("safe", securelevel=1)]) as hub:
        async with await open_live(hub) as kd:
            with pytest.raises(KvmError, match="EBADF: kvm_write: "):
                await kd.write(APART, b"x")

        with pytest.raises(NotPermitted):
            await open_live(hub, "safe", "r+")

        with pytest.raises(OSError, match="nix"):
            await open_live(hub, "nix")


async def test_the_kernel_of_a_suspended_machine_is_not_read() -> None:
    async with Hub([kernel_machine()]) as hub, await open_live(hub) as kd:
        await hub.suspend()
        with pytest.raises(KvmError, match=r"EAGAIN: .*machine pc is suspended"):
            await kd.read(APART, 5)

        await hub.resume()
        assert await kd.read(APART, 5) == b"apart"


async def test_a_live_kernel_is_read_in_the_log_as_the_process_that_opened_it(
    tmp_path: Path,
) -> None:
    with AuditLog.open(tmp_path / "log") as log:
        async with (
            Hub([kernel_machine()], log=log) as hub,
            hub.process("gdb") as process,
            await open_live(process) as kd,
        ):
            await kd.read(APART, 5)

    (record,) = (it for it in read_records(tmp_path / "log") if it["event"] == "request.read")
    assert (record["process"], record["device"], record["base"]) == ("gdb", "/dev/kmem", APART)


async def test_a_cancelled_open_leaves_nothing_open() -> None:
    async with Hub([kernel_machine()]) as hub:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await open_live(hub)

        assert not list(hub.machines["pc"].files)


async def test_a_core_says_of_which_machine_it_is_and_i386_rules_stand(tmp_path: Path) -> None:
    """On i386 progress is no short count: the error is answered."""
    old = MachineSpec(
        name="old",
        arch="i386",
        msrs={},
        memory=(Region(base=0, length=16 << 20, data=b"page zero"),),
        kmem=(replace(kernel_machine().kmem[2], virtual=0xC0400000),),
        contents=(Content(base=0x300000, data=b"apart"),),
        symbols={"apart": 0xC0400000},
        options={"release": "12.1"},
    )
    async with Hub([old]) as hub:
        hub.dump_memory().save(tmp_path / "core")

    with open_image(tmp_path / "core") as kd:
        (apart,) = kd.nlist(["apart"])
        assert kd.read(apart.n_value, 5) == b"apart"
        with pytest.raises(KvmError, match="EFAULT"):
            kd.read(apart.n_value + 0xFFF, 2)


def test_a_core_of_another_program_is_read_by_its_virtual_addresses(tmp_path: Path) -> None:
    path = tmp_path / "core"
    path.write_bytes(
        elf(
            Segment(0x1000, b"low", memsz=0x1000, vaddr=BASE),
            Segment(0x9000, b"next", vaddr=BASE + 0x1000),
            kind=4,
        )
    )
    with open_image(path, symbols={"low": BASE}) as kd:
        (low,) = kd.nlist(["low"])
        assert kd.read(low.n_value + 1, 4) == b"ow\0\0"
        assert kd.read(BASE + 0xFFE, 100) == b"\0\0next"
        assert kd.geterr() == "short read"
        with pytest.raises(KvmError, match=r"EFAULT: kvm_read: kernel address .* in no program"):
            kd.read(BASE + 0x1004, 1)


REFUSED: dict[str, tuple[bytes, dict[str, Any], str]] = {
    "no addresses": (
        elf(Segment(0x1000, b"x")),
        {},
        "says no virtual addresses, nor which machine",
    ),
    "twice": (
        elf(Segment(0, b"abc", vaddr=5), Segment(9, b"x", vaddr=6)),
        {},
        "has the virtual address 0x6 twice: give the machine",
    ),
    "raw": (b"bytes", {"base": 0}, "says no kernel addresses: give the machine whose memory it is"),
    "an image of another machine": (
        elf(Segment(1 << 35, b"x")),
        {"machine": kernel_machine()},
        r"does not fit the machine 'pc': .* nothing keeps the byte at 0x800000000",
    ),
    "no such architecture": (
        b"bytes",
        {"base": 0, "machine": MachineSpec(name="pc", arch="vax")},
        "is of the architecture 'vax', which is not installed",
    ),
    "a note of nothing": (
        elf(Segment(0, b"\7\0\0\0\2\0\0\0\1\0\0\0memhub\0\0{}\0\0", kind=4), Segment(0, b"x")),
        {},
        "describes no machine: KeyError 'name'",
    ),
    "a note that claims much": (
        elf(Segment(0, b"\7\0\0\0\xff\xff\xff\xff\1\0\0\0memhub\0\0{", kind=4), Segment(0, b"x")),
        {},
        "describes no machine",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_an_image_that_is_no_kernels_is_refused(tmp_path: Path, what: str) -> None:
    data, arguments, reason = REFUSED[what]
    path = tmp_path / "image"
    path.write_bytes(data)

    with pytest.raises(ImageError, match=reason):
        open_image(path, **arguments)
