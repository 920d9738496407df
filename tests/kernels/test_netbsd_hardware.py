"""NetBSD on sick hardware is a value too: its log leads to it, and its facts can be taken back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from kernels.linux_traffic import LinuxTraffic
from kernels.test_linux_log import check_rebuilt
from memhub import AuditLog, MachineSpec
from memhub.arches import load_arches
from memhub.audit import read_records, verify
from memhub.audit.schema import problems
from memhub.core.deciding.kernel_requests import CallKernel
from memhub.core.requests import Open
from memhub.engine.lifecycle import close_file, open_file
from memhub.errors import DeviceError
from memhub.plugin import Cpu
from memhub.rig.log_replay import replay_log
from value.sick_traffic import random_sickness
from value.test_value import go_and_come_back

if TYPE_CHECKING:
    from pathlib import Path

ARCHES = load_arches()
SPECS = {
    "i686": MachineSpec(
        name="pc",
        arch="amd64",
        kernel="netbsd-7",
        msrs={0xFE: 0x508, 0x2FF: 0xC00, 0x200: 0x6, 0x201: 0xF80000800},
        cpu=Cpu(count=2),
    ),
    "k6": MachineSpec(name="pc", arch="k6", kernel="netbsd-7"),
}
every_driver = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


class SickNetbsd(LinuxTraffic):
    """Processes that set ranges of NetBSD, on hardware that gets sick and well."""

    def step(self) -> None:
        """Ask something; what is refused is refused."""
        acts = [self._set] * 6 + [self._open_mem] * 2 + [self._close, self._sicken, self._power]
        with suppress(DeviceError):
            self.rng.choice(acts)()

    def _open_mem(self) -> None:
        request = Open(self.rng.choice(self.processes), "/dev/mem")
        self.files.append(open_file(self.engine, request))

    def _close(self) -> None:
        if self.files:
            close_file(self.engine, self.files.pop(self.rng.randrange(len(self.files))))

    def _set(self) -> None:
        if not self.files:
            self._open_mem()

        draw = self.rng.choice
        size = draw([1 << 17, 1 << 20, 1 << 24])
        base = draw([0x80000000, 0xC0000000, 0xD0000000])
        entry = [base + draw([0, size]), size, draw([0, 1, 4, 6]), draw([4, 4, 5, 0]), 0]
        call = CallKernel(draw(self.files), "set", {"entries": [entry]}, system=True)
        self.engine.submit(call)

    def _sicken(self) -> None:
        hardware, names = self.hub.hardware, [it.sickness.name for it in self.hub.hardware]
        if names and self.rng.random() < 0.5:
            hardware.remove(self.rng.choice(names))
        else:
            slots = self.rng.choice([2, 96])
            hardware.add(random_sickness(self.rng, slots))

    def _power(self) -> None:
        hardware = self.hub.hardware
        self.rng.choice([hardware.reinit, hardware.check_cpus, hardware.suspend])()
        if self.machine.refusing:
            hardware.resume()


@every_driver
@pytest.mark.parametrize("seed", range(3))
def test_the_log_alone_makes_the_machine_again(
    tmp_path: Path, seed: int, spec: MachineSpec
) -> None:
    path = tmp_path / "a.jsonl"
    with AuditLog.open(path) as log:
        traffic = SickNetbsd(seed, log, spec)
        traffic.hub.hardware.begin()
        for number in range(120):
            traffic.step()
            if number % 30 == 29:
                check_rebuilt(path, traffic.machine)

        traffic.hub.end()

    assert verify(path).ok
    assert [fault for row in read_records(path) for fault in problems(row)] == []
    assert {row["event"] for row in read_records(path)} >= {"hardware.sicken", "hardware.check"}
    done = replay_log(path, arches=ARCHES)
    assert [str(it) for it in done.differences] == []


@every_driver
def test_every_fact_can_be_taken_back(monkeypatch: pytest.MonkeyPatch, spec: MachineSpec) -> None:
    traffic = SickNetbsd(7, spec=spec)
    traffic.hub.hardware.begin()
    go_and_come_back(monkeypatch, traffic, 120)
