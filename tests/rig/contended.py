"""A contended rig: what four clients do in it depends on one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from memhub import DeviceError
from memhub.core.drivers.driver import Cpu
from memhub.core.spec import MachineSpec, Region
from memhub.rig.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from memhub.core.faults.fault_rules import FaultRule
    from memhub.hub.hub import Hub

MIB = 1 << 20
RAM = (Region(base=0, length=64 * MIB),)
CPU = Cpu(phys_bits=36)
SPECS = [
    MachineSpec(name="pc", arch="amd64", cpu=CPU, memory=RAM, commit_latency=0.02),
    MachineSpec(name="old", arch="amd64", cpu=CPU, memory=RAM),
]


async def use_hub(sim: Simulation, hub: Hub, name: str) -> None:
    """Sets, claims with leases, waits that are cancelled, sleeps, and closes with all that held."""
    chance = sim.random
    async with hub.process(name) as process:
        for _ in range(3):
            machine = chance.choice(["pc", "old"])
            async with await process.open(f"{machine}:/dev/mem", "r+", undo=True) as file:
                for _ in range(4):
                    base = 0x80000000 + chance.randrange(3) * MIB
                    with sim.move_on_after(chance.choice([0.01, 0.05, 5])):
                        try:
                            match chance.randrange(6):
                                case 0:
                                    await file.set_range(base, MIB, 1, owner=name[:7], wait=0.1)
                                case 1:
                                    await file.set_range(base, MIB, 2, owner=name[:7], lease=0.03)
                                case 2:
                                    await file.claim(base, MIB, lease=0.05, wait=0.04)
                                case 3:
                                    await file.remove_range(base, MIB, wait=1)
                                case 4:
                                    await sim.sleep(chance.random() / 10)
                                case 5:
                                    await file.pwrite(name.encode(), base - 0x80000000)
                        except DeviceError:
                            pass


async def run_contended(seed: int, path: Path, faults: Iterable[FaultRule] = ()) -> None:
    """Make one run, with its log at `path`, under fault rules."""
    async with Simulation(seed) as sim:
        with sim.open_log(path) as log:
            async with sim.make_hub(SPECS, log=log, faults=faults) as hub:
                done = [anyio.Event() for _ in range(4)]

                async def work(number: int) -> None:
                    try:
                        await use_hub(sim, hub, f"client{number}")
                    finally:
                        done[number].set()

                for number in range(4):
                    sim.start(work, number, name=f"client{number}")

                for it in done:
                    await it.wait()
