"""Page-attribute reservations of a hub's machine with Linux, as its drivers make them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub import Hub, Region
from memhub.arches import load_arches
from memhub.audit import AuditLog, read_records
from memhub.audit.history.rebuild import rebuild
from memhub.core.files import Principal
from memhub.core.requests import Open
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import open_file
from memhub.errors import (
    DeviceError,
    InvalidArgument,
    NoSuchDevice,
    RangeBusy,
    UnknownIoctl,
)
from memhub.plugin import Cpu
from memhub.rig import trace_lines
from memhub.rig.log_replay import replay_log
from memhub_linux.pat.page_modes import MODE_NAMES
from memhub_linux.pat.page_runs import PageRun, PageRuns, changed_runs
from memhub_linux.replay.recorded import read_registers
from memhub_linux.served.settings import join_signature
from service.service_rig import lab

if TYPE_CHECKING:
    Json = dict[str, Any]

DATA = Path(__file__).parents[1] / "data" / "kernels"
ARCHES = load_arches()
#: Every so many of the scenarios that a machine's description can express.
EVERY = 5
SCREEN = 0xD0000000
LINUX = MachineSpec(
    name="pc",
    arch="amd64",
    kernel="linux-6.18",
    memory=(Region(base=0, length=1 << 24),),
    msrs={0xFE: 0x508, 0x2FF: 0x800, 0x200: 0x6, 0x201: 0xF80000800},
)
#: What each recorded step is called here, and what of it is an argument.
CALLS = {
    "reserve": ("memtype_reserve", ("start", "end", "want", "substitute", "no_memory")),
    "free": ("memtype_free", ("start", "end")),
    "reserve_io": ("memtype_reserve_io", ("start", "end", "want")),
    "free_io": ("memtype_free_io", ("start", "end")),
    "reserve_wc": ("io_reserve_memtype_wc", ("start", "size")),
    "free_wc": ("io_free_memtype_wc", ("start", "size")),
    "map_track": ("pfnmap_track", ("pfn", "size", "want")),
    "map_setup": ("pfnmap_setup", ("pfn", "size", "want")),
    "map_untrack": ("pfnmap_untrack", ("pfn", "size")),
    "immune_to_uc_mtrr": ("pfn_immune_to_uc_mtrr", ("pfn",)),
    "dev_mem_prot": ("dev_mem_prot", ("sync", "range_allowed")),
}


def spec_of(raw: Json) -> MachineSpec:
    """The recorded machine; the recorder did not trim RAM."""
    cpu = raw["cpu"]
    words = ["disable_mtrr_trim", *["nopat"] * raw["nopat"], *["debugpat"] * raw["debug"]]

    return MachineSpec(
        name="pc",
        arch="amd64-mtrr",
        cpu=Cpu(
            vendor=cpu["vendor"],
            signature=join_signature(cpu["family"], cpu["model"], cpu["stepping"]),
            phys_bits=cpu["phys_bits"],
            mtrr="mtrr" in cpu["features"],
            count=1,
        ),
        msrs=read_registers(raw["msr"]),
        memory=tuple(Region(base=start, length=last + 1 - start) for start, last in raw["ram"]),
        kernel="linux-6.18",
        kernel_options={
            "features": [it for it in cpu["features"] if it in ("mtrr", "pat", "xenpv")],
            "cmdline": " ".join(words),
            "strict": False,
        },
    )


def table(hub: Hub) -> Json:
    found: Json = hub.kernels.call("memtype_table")

    return found


def pages_of(found: Json) -> PageRuns:
    return PageRuns(PageRun(first, last + 1, mode) for first, last, mode in found["pages"])


def logged(rows: list[list[Any]]) -> list[str]:
    return [f"{row[0]}: {row[1]}" for row in rows for _ in range(row[2] if len(row) > 2 else 1)]


def differences(raw: Json) -> list[tuple[Any, ...]]:
    """Where a hub's machine answers otherwise than the recorded kernel."""
    hub = Hub([spec_of(raw)])
    rows: list[Json] = []
    hub.begin()
    hub.engine.listen(rows.append)
    served = hub.kernels.of("pc")
    now = table(hub)
    pairs: list[tuple[Any, Any]] = [
        (raw["enabled"], now["enabled"]),
        (raw["pat_msr"], served.state.msrs.get(0x277, 0)),
        (raw["modes"], now["modes"]),
        (logged(raw["log"]), [f"{level}: {text}" for level, text in served.boot_log]),
    ]
    wrong: list[tuple[Any, ...]] = [(raw["id"], "boot", *it) for it in pairs if it[0] != it[1]]
    for number, step in enumerate(raw["steps"]):
        call, names = CALLS[step["op"]]
        args = {name: step[name] for name in names if name in step}
        if "who" in step:
            args["command"], args["pid"] = step["who"]

        before, read = now, len(rows)
        errno: str | int = 0
        answer: Any = {}
        try:
            answer = hub.kernels.call(call, **args)
        except DeviceError as error:
            errno = error.code.name

        printed = [line for row in rows[read:] for line in row.get("printed", ())]
        now = table(hub)
        same = now["reservations"] == before["reservations"]
        tracked = [[start, end, MODE_NAMES[mode]] for start, end, mode in now["reservations"]]
        changed = changed_runs(pages_of(before), pages_of(now))
        pairs = [
            (step.get("errno", 0), errno),
            (step.get("tracked"), None if same else tracked),
            (step.get("pages", []), [[it.first, it.end - 1, it.mode] for it in changed]),
            (logged(step.get("log", [])), printed),
        ]
        if not errno:
            pairs += [
                (step[name], answer[name]) for name in ("got", "asked", "allowed") if name in step
            ]
            if "answer" in step:
                pairs.append((step["answer"], answer))

        wrong += [(raw["id"], number, *it) for it in pairs if it[0] != it[1]]

    listed = hub.kernels.call("memtype_list")
    if listed != raw["list"]:
        wrong.append((raw["id"], "list", raw["list"], listed))

    hub.end()

    return wrong


def test_a_hub_answers_recorded_reservations_alike() -> None:
    lines = trace_lines(DATA / "linux-pat-6.18.2.open.jsonl.gz")
    scenarios = [*map(json.loads, lines)]
    under_xen = [raw for raw in scenarios if "xenpv" in raw["cpu"]["features"]]
    assert len(under_xen) > 10
    wrong = [it for raw in [*scenarios[::EVERY], *under_xen] for it in differences(raw)]

    assert wrong[:5] == []


@pytest.mark.anyio
async def test_what_a_mapping_gets_follows_what_is_reserved() -> None:
    async with Hub([LINUX]) as hub:
        call = hub.kernels.call
        assert call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="WC") == {"got": "WC"}
        assert call("memtype_reserve_io", start=SCREEN, end=SCREEN + 4096, want="WC")
        with pytest.raises(RangeBusy, match="conflicting memory types d0000000-d0001000"):
            call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="UC", substitute=False)

        assert call("pfnmap_track", pfn=0x200, size=4096, want="WC")["got"] == "WB"
        assert call("memtype_list") == (
            "PAT memtype list:\n"
            "PAT: [mem 0x00000000d0000000-0x00000000d0001000] write-combining\n"
            "PAT: [mem 0x00000000d0000000-0x00000000d0001000] write-combining\n"
        )
        # page attributes are on, so that a driver's range is not needed
        assert call("wc_add", base=SCREEN, size=1 << 24) == 0


@pytest.mark.anyio
async def test_the_palette_is_written_at_boot_and_after_a_sleep() -> None:
    async with Hub([LINUX]) as hub:
        served = hub.kernels.of("pc")
        assert served.boot_log[-1] == (
            "info",
            "x86/PAT: Configuration [0-7]: WB  WC  UC- UC  WB  WP  UC- WT  ",
        )
        booted = served.state.msrs[0x277]
        hub.hardware.suspend()
        hub.hardware.resume()
        assert served.state.msrs[0x277] == booted == 0x0407050600070106


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("options", "enabled", "words"),
    [
        ({"cmdline": "nopat"}, False, "WB  WT  UC- UC  WB  WT  UC- UC  "),
        ({"features": ["mtrr"]}, False, "WB  WT  UC- UC  WB  WT  UC- UC  "),
        ({"pat": False}, False, None),
        ({"pat": True}, True, None),
    ],
)
async def test_page_attributes_may_be_off(
    options: dict[str, Any], enabled: bool, words: str | None
) -> None:
    spec = replace(LINUX, kernel_options=options)
    async with Hub([spec]) as hub:
        served = hub.kernels.of("pc")
        printed = [text for _, text in served.boot_log if "x86/PAT: Configuration" in text]
        assert printed == ([] if words is None else [f"x86/PAT: Configuration [0-7]: {words}"])
        assert table(hub)["enabled"] == enabled
        assert (hub.kernels.call("wc_add", base=SCREEN, size=1 << 24) == 0) == enabled


@pytest.mark.anyio
async def test_wrong_calls_change_nothing_and_say_why() -> None:
    span = {"start": SCREEN, "end": SCREEN + 4096}
    async with Hub([LINUX, replace(LINUX, name="old", kernel="linux-2.6.32")]) as hub:
        before = hub.kernels.of("pc").state
        cases: list[tuple[str, dict[str, Any], str]] = [
            ("memtype_reserve", span, "memtype_reserve needs an argument 'want'"),
            ("memtype_reserve", {**span, "want": "XX"}, "want 'XX' is no mode"),
            ("memtype_reserve", {**span, "want": ["WC"]}, "is no mode"),
            ("memtype_reserve", {**span, "want": "WC", "substitute": 5}, "5 is not true or false"),
            ("memtype_reserve", {**span, "want": "WC", "command": 5}, "command 5 is no text"),
            ("memtype_free", {"start": -1, "end": 5}, "start -0x1 is not between"),
            ("pfnmap_track", {"pfn": 1 << 60, "size": 1, "want": "WC"}, "pfn 0x10"),
        ]
        for op, args, why in cases:
            with pytest.raises(InvalidArgument, match=why):
                hub.kernels.call(op, **args)

        assert hub.kernels.of("pc").state == before
        with pytest.raises(InvalidArgument, match=r"page attributes are those of Linux 6.18"):
            hub.kernels.call("memtype_list", machine="old")


@pytest.mark.anyio
async def test_a_log_and_a_snapshot_have_the_reservations(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        async with Hub([LINUX], log=log, arches=ARCHES) as hub:
            call = hub.kernels.call
            call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="WC")
            call("memtype_reserve", start=1 << 20, end=3 << 20, want="UC-")
            then = hub.snapshot()
            call("memtype_free", start=1 << 20, end=2 << 20)
            call("memtype_reserve", start=SCREEN, end=SCREEN + 8192, want="WC")
            again = rebuild(read_records(path), ARCHES)["pc"]
            assert again.served == hub.machines["pc"].served
            assert again.served is not None
            assert again.served.state.own["memtype"]["pages"] == [["0x200", "0x300", "UC-"]]
            hub.restore(then)
            assert hub.snapshot() == then
            assert table(hub)["pages"] == [[0x100, 0x2FF, "UC-"]]

    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []


def test_a_reservation_of_all_ram_is_one_run() -> None:
    spec = replace(
        LINUX,
        memory=(Region(base=0, length=1 << 39),),
        cpu=Cpu(phys_bits=46),
        kernel_options={"cmdline": "disable_mtrr_trim"},
    )
    hub = Hub([spec])
    hub.begin()
    found = hub.kernels.call("memtype_reserve", start=1 << 20, end=1 << 39, want="WC")
    assert found == {"got": "WC"}
    assert table(hub)["pages"] == [[0x100, (1 << 27) - 1, "WC"]]
    assert hub.kernels.call("pfnmap_setup", pfn=0x100, size=1 << 38, want="WB")["got"] == "WC"
    with pytest.raises(InvalidArgument):
        hub.kernels.call("pfnmap_setup", pfn=0, size=1 << 38, want="WB")


def test_ram_that_is_trimmed_is_none() -> None:
    """2 of 3 GiB are write-back by MTRR."""
    hub = Hub([replace(LINUX, memory=(Region(base=0, length=3 << 30),))])
    hub.begin()
    assert hub.kernels.call("memtype_reserve", start=1 << 31, end=3 << 30, want="WC")
    assert table(hub)["pages"] == []
    assert table(hub)["reservations"] == [[1 << 31, 3 << 30, "WC"]]


LIST = "pc:/sys/kernel/debug/x86/pat_memtype_list"
ROW = "PAT: [mem 0x00000000d0000000-0x00000000d0001000] write-combining\n"


@pytest.mark.anyio
async def test_the_list_is_a_file(tmp_path: Path) -> None:
    async with lab(tmp_path, LINUX) as it, it.connect() as client:
        it.hub.kernels.call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="WC")
        for opener in (it.hub, client):
            async with await opener.open(LIST) as file:
                assert (await file.read(20)).decode() == "PAT memtype list:\nPA"
                assert (await file.read(4096)).decode() == ROW[2:]
                assert await file.read(4096) == b""
                assert await file.seek(18) == 18
                assert (await file.pread(4096, 18)).decode() == ROW
                with pytest.raises(UnknownIoctl):
                    await file.ioctl(0x1234, b"")

            async with await opener.open(LIST, "r+") as file:
                with pytest.raises(InvalidArgument):
                    await file.write(b"x")


@pytest.mark.anyio
async def test_who_is_not_root_or_has_no_page_attributes_finds_no_list() -> None:
    off = replace(LINUX, name="off", kernel_options={"cmdline": "nopat"})
    old = replace(LINUX, name="old", kernel="linux-2.6.32")
    async with Hub([LINUX, off, old]) as hub:
        for name in ("off", "old"):
            with pytest.raises(NoSuchDevice):
                await hub.open(f"{name}:/sys/kernel/debug/x86/pat_memtype_list")

        with pytest.raises(DeviceError) as refused:
            open_file(hub.engine, Open(Principal(9, "user", privileged=False), LIST, "r"))

        assert refused.value.code.name == "EACCES"


@pytest.mark.anyio
async def test_a_list_that_was_opened_after_a_snapshot_is_one_after_it() -> None:
    async with Hub([LINUX]) as hub:
        hub.kernels.call("memtype_reserve", start=SCREEN, end=SCREEN + 4096, want="WC")
        then = hub.snapshot()
        hub.kernels.call("memtype_free", start=SCREEN, end=SCREEN + 4096)
        async with await hub.open(LIST) as file, await hub.open("pc:/proc/mtrr") as mtrr:
            assert (await file.read(4096)).decode() == "PAT memtype list:\n"
            hub.restore(then)
            assert (await file.pread(4096, 0)).decode() == "PAT memtype list:\n" + ROW
            assert (await mtrr.read(4096)).startswith(b"reg00")
