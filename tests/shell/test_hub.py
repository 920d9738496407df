"""A hub: many machines behind device names, how it is made, and how it ends."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import anyio
import pytest

from memhub import Hub, MachineSpec
from memhub.abi import LP64, MDF_ATTRMASK, MDF_BUSY, MDF_UNCACHEABLE, MDF_WRITECOMBINE
from memhub.arches import ArchNotInstalled, load_arches
from memhub.errors import BadHandle, NotPermitted
from memhub.plugin import Arch, KernelLayout, hookimpl
from shell.kit import ARCHES, BOARD, K6, MODELS, MTRR, OLD, PAT, PPC, SECURE, desc, lab, op

if TYPE_CHECKING:
    from pathlib import Path

    from memhub.abi import DataModel

# Opening


async def test_a_bare_name_is_the_default_machines_and_a_prefix_is_anothers(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR, OLD, default="mtrr") as rig:
        paths = ["/dev/mem", "/dev/kmem", "pat:/dev/mem", "old:/dev/kmem", "mtrr:/dev/mem"]
        handles = [await rig.hub.open(path) for path in paths]

        assert [handle.path for handle in handles] == [
            "mtrr:/dev/mem",
            "mtrr:/dev/kmem",
            "pat:/dev/mem",
            "old:/dev/kmem",
            "mtrr:/dev/mem",
        ]
        assert [r["machine"] for r in rig.news()] == ["mtrr", "mtrr", "pat", "old", "mtrr"]
        for handle in handles:
            handle.close()


async def test_the_first_machine_is_the_default_unless_another_is_named() -> None:
    async with Hub([OLD, PAT], arches=ARCHES) as hub:
        assert hub.default == "old"
        assert list(hub.machines) == ["old", "pat"]


async def test_machines_share_nothing(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR, OLD) as rig:
        process = rig.hub.process("both")
        a = await process.open("pat:/dev/mem", "r+")
        b = await process.open("mtrr:/dev/mem", "r+")
        await a.write(b"to pat alone")
        await a.set_range(0x200000, 0x1000, MDF_UNCACHEABLE)

        assert await b.read(12) == bytes(12)
        assert not any(d.mr_base == 0x200000 for d in await b.ranges())
        assert rig.hub.claims("mtrr") == []
        assert len(rig.hub.claims("pat")) == 1
        process.close()


# Ioctls in each layout


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("machine", ["pat", "mtrr", "old", "k6", "ppc"])
async def test_each_machine_answers_in_either_data_model(
    tmp_path: Path, machine: str, model: DataModel
) -> None:
    async with lab(tmp_path) as rig:
        process = rig.hub.process()
        async with await process.open(f"{machine}:/dev/mem", model=model) as handle:
            count = await handle.ioctl(model.get, op(model, 0))
            slots = model.op.unpack(count.op)[1]
            set_ = desc(model, 0x2000000, 0x20000, MDF_UNCACHEABLE)

            await handle.ioctl(model.set[0], op(model, 0), set_)
            reply = await handle.ioctl(model.get, op(model, slots), bytes(slots * model.desc.size))

            table = model.unpack_table(reply.descs)
            assert len(table) == slots
            assert list(table) == list(rig.hub.machines[machine].table.state.slots)  # type: ignore[union-attr]
            assert [d.owner for d in table if d.mr_base == 0x2000000] == ["test"]


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
async def test_linux_encoding_and_sign_extension_of_the_request_number_are_accepted(
    tmp_path: Path, model: DataModel
) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", model=model) as handle:
        numbers = [*model.set, model.set[0] | 0xFFFFFFFF_00000000]
        for place, number in enumerate(numbers):
            row = desc(model, place << 20, 0x1000, MDF_WRITECOMBINE)
            await handle.ioctl(number, op(model, 0), row)

        assert [d.mr_base for d in await handle.ranges()][:3] == [0, 1 << 20, 2 << 20]


@pytest.mark.parametrize(
    ("asked", "given", "descs"),
    [(-1, 4, 0), (-(1 << 31), 4, 0), (0, 4, 0), (1, 1, 1), (4, 4, 4), (5, 4, 4), (2**31 - 1, 4, 4)],
)
async def test_get_counts_as_signed_and_gives_no_more_than_the_table_has(
    tmp_path: Path, asked: int, given: int, descs: int
) -> None:
    async with lab(tmp_path, PAT) as rig:
        async with await rig.hub.open("/dev/mem") as handle:
            reply = await handle.ioctl(LP64.get, LP64.op.pack(7, asked, 9))

        assert LP64.op.unpack(reply.op) == (7, given, 9)
        assert len(reply.descs) == descs * LP64.desc.size


async def test_an_owner_in_bytes_is_cut_at_seven(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem") as handle:
        row = desc(LP64, 0, 0x1000, MDF_WRITECOMBINE, b"ABCDEFGH")
        await handle.ioctl(LP64.set[0], op(LP64, 0), row)
        await handle.set_range(0x1000, 0x1000, MDF_WRITECOMBINE, owner=b"a long label")

        assert [d.mr_owner for d in (await handle.ranges())[:2]] == [b"ABCDEFG\0", b"a long \0"]


async def test_range_ioctls_are_answered_on_kmem_too_and_on_read_only_handles(
    tmp_path: Path,
) -> None:
    async with lab(tmp_path, MTRR) as rig, await rig.hub.open("/dev/kmem", "r") as kmem:
        await kmem.set_range(0x2000000, 0x20000, MDF_WRITECOMBINE)
        async with await rig.hub.open("/dev/mem", "w") as mem:
            seen = [d for d in await mem.ranges() if d.mr_base == 0x2000000]

            assert [d.mr_flags & (MDF_ATTRMASK | MDF_BUSY) for d in seen] == [
                MDF_WRITECOMBINE | MDF_BUSY
            ]


async def test_a_raised_securelevel_forbids_writing_and_not_range_ioctls(tmp_path: Path) -> None:
    async with lab(tmp_path, SECURE) as rig:
        for mode in ("w", "r+"):
            with pytest.raises(NotPermitted, match="securelevel 1"):
                await rig.hub.open("/dev/mem", mode)

        async with await rig.hub.open("/dev/mem", "r") as handle:
            await handle.set_range(0, 0x1000, MDF_WRITECOMBINE)

            assert (await handle.ranges())[0].mr_flags & MDF_WRITECOMBINE


async def test_seek_is_absolute_or_relative_and_reads_go_on_from_there(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig, await rig.hub.open("/dev/mem", "r+") as handle:
        await handle.pwrite(b"0123456789", 0x100000)

        assert await handle.seek(0x100002) == 0x100002
        assert await handle.read(3) == b"234"
        assert await handle.seek(2, os.SEEK_CUR) == 0x100007
        assert await handle.write(b"XY") == 2
        assert await handle.seek(-9, os.SEEK_CUR) == 0x100000
        assert await handle.pread(4, 0x100006) == b"6XY9"
        assert await handle.read(10) == b"0123456XY9"
        assert await handle.seek((1 << 64) - 1) == (1 << 64) - 1


# Making a hub


@pytest.mark.parametrize(
    ("specs", "default", "words"),
    [
        ([], None, "at least one machine"),
        ([PAT, PAT], None, "two machines are named 'pat'"),
        ([PAT], "mtrr", "default machine 'mtrr' is not among"),
    ],
)
def test_a_hub_that_contradicts_itself_is_refused(
    specs: list[MachineSpec], default: str | None, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Hub(specs, default=default, arches=ARCHES)


def test_an_architecture_that_is_not_installed_is_named_with_those_that_are() -> None:
    with pytest.raises(ArchNotInstalled, match=r"'vax' is not installed \(installed: .*k6"):
        Hub([MachineSpec(name="old", arch="vax")])


class _Twin:
    @hookimpl
    def memhub_arches(self) -> list[Arch]:
        return [Arch(name="vax", summary="", kernel=KernelLayout(kernel_base=0))]


class _Broken:
    @hookimpl
    def memhub_arches(self) -> list[Arch]:
        raise ImportError("no module named 'pdp'")


@pytest.mark.parametrize(
    ("plugins", "words"),
    [
        ([("broken", _Broken())], "plugin 'broken' of the caller: .*no module named 'pdp'"),
        ([("one", _Twin()), ("two", _Twin())], "provided twice, by 'one' of .* and 'two' of"),
    ],
)
async def test_faulty_plugins_are_named_and_cost_the_other_machines_nothing(
    plugins: list[tuple[str, object]], words: str
) -> None:
    arches = load_arches(plugins=plugins)
    with pytest.raises(ArchNotInstalled, match=words):
        Hub([MachineSpec(name="old", arch="vax")], arches=arches)

    async with Hub([K6, PPC, BOARD], arches=arches) as hub, await hub.open("k6:/dev/mem") as handle:
        assert len(await handle.ranges()) == 2


# The end


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
async def test_an_exception_of_the_body_comes_out_bare(error: type[BaseException]) -> None:
    with pytest.raises(error, match="mine"):
        async with Hub([PAT], arches=ARCHES):
            raise error("mine")


async def test_cancellation_passes_through_a_hub() -> None:
    with anyio.CancelScope() as scope:
        async with Hub([PAT], arches=ARCHES):
            scope.cancel()
            await anyio.sleep_forever()

    assert scope.cancelled_caught


async def test_the_hubs_end_closes_every_handle_with_cause_stop(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT, MTRR) as rig:
        process = rig.hub.process("late")
        handles = [await process.open(path, "r+") for path in ("/dev/mem", "mtrr:/dev/kmem")]
        await handles[0].set_range(0, 0x1000, MDF_WRITECOMBINE)
        rig.news()

    assert all(handle.closed for handle in handles)
    events = [(r["event"], r["machine"], r.get("cause")) for r in rig.news()[:-1]]
    assert events == [
        ("claim.release", "pat", "stop"),
        ("request.close", "pat", "stop"),
        ("request.close", "mtrr", "stop"),
        ("device.detach", "pat", None),
        ("device.detach", "mtrr", None),
    ]
    with pytest.raises(BadHandle):
        await handles[0].read(1)


async def test_the_log_begins_with_every_machine_and_continues_over_a_restart(
    tmp_path: Path,
) -> None:
    grown = dataclasses.replace(PAT, options={"slots": 2})
    async with lab(tmp_path, PAT, MTRR) as rig:
        first = rig.path.read_bytes()
        async with await rig.hub.open("/dev/mem") as handle:
            await handle.set_range(0, 0x1000, MDF_WRITECOMBINE)

    async with lab(tmp_path, grown, MTRR):
        whole = rig.path.read_bytes()

    assert first.count(b'"event":"device.attach"') == 2
    assert whole.startswith(first)
    assert whole.count(b'"event":"device.attach"') == 4
    assert whole.count(b'"event":"log.resume"') == 1


async def test_process_numbers_and_names_identify_who_opened(tmp_path: Path) -> None:
    async with lab(tmp_path, PAT) as rig:
        named = rig.hub.process("xorg", pid=42, uid=7)
        async with await named.open("/dev/mem"), await rig.hub.open("/dev/mem"):
            first, second = rig.news()

    assert [first[key] for key in ("process", "process_id", "pid", "uid")] == ["xorg", 1, 42, 7]
    assert [second[key] for key in ("process", "process_id", "pid", "uid")] == [
        "process-2",
        2,
        None,
        None,
    ]


def test_a_hub_that_was_never_entered_refuses_to_be_used() -> None:
    """Its log would have no start, and no lease would end."""
    hub = Hub([PAT], arches=ARCHES)
    with pytest.raises(RuntimeError, match="async with Hub"):
        hub.process("early")
