"""What people are shown of a machine's ranges are the registers that its kernel has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from kernels.linux_kit import LINE, MIB, SCREEN
from memhub import AuditLog, Hub
from memhub.audit.history.travel import state_at
from memhub.cli import main
from memhub.cli.top_view import sheets
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.files import Principal
from memhub.core.instant import Instant
from memhub.core.requests import ClaimRange, Open, Write
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import open_file
from memhub.hub.report import report
from memhub.maps import AddressMap, describe_map
from memhub.maps.text import headline, map_text
from memhub.plugin.kernels import KernelRange, KernelRanges, ServedKernel
from memhub.rig.picture import draw_hub
from memhub.shipping.sentence import record_sentence
from memhub_linux.served.kernel import LinuxKernel

if TYPE_CHECKING:
    from pathlib import Path

#: The other kernel's architecture has 64 slots of its own, none of which is in use.
NETBSD = MachineSpec(name="pc", arch="amd64", kernel="netbsd-7")
PRIVATE, VALID = 1, 4
RAM = KernelRange(0, 0, 1 << 30, "WB", uses=1)
FRAME = KernelRange(1, SCREEN, 16 * MIB, "WC", uses=1)


def linux_hub(log: AuditLog | None = None, arch: str = "amd64") -> Hub:
    """A hub whose machine has had one line written to its `/proc/mtrr`."""
    hub = Hub([MachineSpec(name="pc", arch=arch, kernel="linux-6.18")], log=log)
    hub.begin()
    file = open_file(hub.engine, Open(Principal(1, "X"), "/proc/mtrr", "r+"))
    hub.engine.submit(Write(file, LINE))

    return hub


def netbsd_hub() -> Hub:
    """A hub whose process 7 has set a private range."""
    hub = Hub([NETBSD])
    hub.begin()
    file = open_file(hub.engine, Open(Principal(7, "X"), "/dev/mem", "r+"))
    mine = [SCREEN, 16 * MIB, 1, PRIVATE | VALID, 0]
    hub.engine.submit(CallKernel(file, "set", {"entries": [mine]}))

    return hub


@pytest.mark.parametrize("arch", ["amd64", "amd64-mtrr", "i386"])
def test_a_kernel_names_its_registers_whatever_slots_the_architecture_has(arch: str) -> None:
    served = linux_hub(arch=arch).machines["pc"].served
    assert served is not None
    assert served.ranges() == KernelRanges(8, (RAM, FRAME))


def test_a_map_has_the_registers_of_linux_in_place_of_slots() -> None:
    it = describe_map(linux_hub().machines["pc"])
    assert headline(it).endswith("2 of 8 slots in use")
    assert [(slot.first, slot.base, slot.end, slot.type) for slot in it.slots] == [
        (0, 0, 1 << 30, "WB"),
        (1, SCREEN, SCREEN + 16 * MIB, "WC"),
    ]
    (frame,) = (piece for piece in it.pieces if piece.base == SCREEN)
    assert (frame.type, frame.slots) == ("WC", (1,))
    assert "WC   hole      WC 1" in map_text(it)
    assert AddressMap.of_facts(it.facts()) == it


def test_a_map_has_the_owners_of_private_ranges_of_netbsd() -> None:
    it = describe_map(netbsd_hub().machines["pc"])
    (frame,) = (piece for piece in it.pieces if piece.base == SCREEN)
    (slot,) = it.slots_of(frame)
    assert (slot.type, slot.owner, slot.fixed) == ("WC", "process 7", False)
    assert it.slot_count == 96
    assert {slot.fixed for slot in it.slots if slot.base < MIB and slot.end <= MIB} == {True}


def test_a_claim_on_a_machine_with_linux_is_told_by_addresses() -> None:
    hub = linux_hub()
    file = open_file(hub.engine, Open(Principal(2, "driver"), "/proc/mtrr", "r+"))
    hub.engine.submit(ClaimRange(file, SCREEN + MIB, MIB))
    it = describe_map(hub.machines["pc"])
    assert [(p.base, p.slots, p.busy) for p in it.pieces if p.busy] == [
        (SCREEN + MIB, (1,), ("driver",))
    ]
    assert [slot.busy for slot in it.slots] == [(), ()]


def test_a_report_counts_the_registers_of_the_kernel() -> None:
    (row,) = report([linux_hub().machines["pc"]], Instant(0, 0))["machines"]
    assert (row["kernel"], row["slots"], row["used"]) == ("linux-6.18", 8, 2)


@pytest.mark.parametrize("kernel", ["linux-2.6.32", "netbsd-7", "freebsd"])
def test_each_view_names_another_kernel_than_freebsd(kernel: str) -> None:
    hub = Hub([MachineSpec(name="pc", arch="amd64", kernel=kernel)])
    hub.begin()
    words = f"amd64, {kernel}" if kernel != "freebsd" else "amd64"
    it = describe_map(hub.machines["pc"])
    assert headline(it).startswith(f"{words}, 36 address bits")
    assert AddressMap.of_facts(it.facts()) == it
    machines, *_ = sheets(report([hub.machines["pc"]], Instant(0, 0)))
    assert machines.rows[0][1] == words.replace(",", "")


def test_slots_are_shown_of_a_kernel_that_names_no_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LinuxKernel, "ranges", ServedKernel.ranges)
    hub = linux_hub(arch="i386")
    it = describe_map(hub.machines["pc"])
    assert it.slot_count == 96
    assert [slot.first for slot in it.slots if slot.base == SCREEN] == [89]
    assert "  ranges in 96 slots, beside 88 below 1 MiB" in [*draw_hub(hub)]


def test_what_a_failing_test_shows_of_linux() -> None:
    lines = [*draw_hub(linux_hub())]
    assert lines[:4] == [
        "machine pc, amd64, linux-6.18, ordinary firmware",
        "  ranges in 8 registers",
        "      0 0x0+1G WB, count 1",
        "      1 0xd0000000+16M WC, count 1",
    ]


def test_what_a_failing_test_shows_of_netbsd() -> None:
    lines = [*draw_hub(netbsd_hub())]
    assert lines[1:3] == [
        "  ranges in 96 registers, beside 88 fixed ones",
        "     88 0x0+1G WB",
    ]
    assert lines[3].endswith(" 0xd0000000+16M WC of process 7")


def test_the_state_of_a_log_shows_the_registers_of_its_kernel(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        linux_hub(log)

    assert main(["audit", "state", str(path)]) == 0
    shown = capfd.readouterr().out.splitlines()
    assert shown[1] == "pc  amd64, linux-6.18, generation 1, 2 of 8 registers in use"
    assert shown[2:4] == [
        "  reg 0     0x0+1G WB, count 1",
        "  reg 1     0xd0000000+16M WC, count 1",
    ]
    facts = state_at(path).facts()["machines"][0]
    assert facts["kernel"]["name"] == "linux-6.18"
    assert facts["registers"]["total"] == 8
    assert facts["registers"]["used"][1] == FRAME._asdict()


@pytest.mark.parametrize(
    ("args", "answer", "words"),
    [
        ('{"data":"disable=1\\n"}', "10", 'data="disable=1\\n" -> 10'),
        ('{"base":3489660928,"type":1}', "null", "base=0xd0000000 type=1"),
        ('{"length":80}', '"' + "x" * 90 + '"', 'length=80 -> "' + "x" * 79 + "…"),
        ("{}", None, ""),
    ],
)
def test_a_call_in_the_log_says_what_was_asked_and_answered(
    args: str, answer: str | None, words: str
) -> None:
    row: dict[str, Any] = {"event": "kernel.call", "op": "write", "machine": "pc", "process": "X"}
    line = record_sentence({**row, "args": args, "answer": answer})
    assert line == f"kernel.call write pc X {words}".rstrip()
