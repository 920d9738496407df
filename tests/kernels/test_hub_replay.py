"""Recorded Linux traces, driven through the files of a hub's machine and its drivers' calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub import Hub
from memhub.abi import ILP32, LP64
from memhub.audit import AuditLog, read_records
from memhub.core.files import Principal
from memhub.core.requests import Open, Pread, Write
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import close_file, open_file
from memhub.errors import DeviceError
from memhub.faces import linux
from memhub.plugin import Cpu
from memhub.rig import replay_log, trace_lines
from memhub_linux.replay.recorded import read_registers
from memhub_linux.served.settings import join_signature

if TYPE_CHECKING:
    from collections.abc import Callable

    from memhub.core.drivers.served_kernel import KernelState
    from memhub.core.served import Served

    Json = dict[str, Any]

DATA = Path(__file__).parents[1] / "data" / "kernels"
#: Every so many of the scenarios that a machine's description can express.
EVERY = 7
U32 = 0xFFFFFFFF


def expressible(raw: Json) -> bool:
    """Whether a hub's machine can be the recorded one."""
    return bool(raw["cpu"]["phys_bits"] <= 52)


def firmware_of(raw: Json) -> Json:
    """What a machine says of its firmware and hypervisor beside the registers of CPU 0."""
    boot = raw["boot"]
    found = {
        "cpus": raw.get("ap_msr"),
        "conf": raw.get("conf"),
        "guest": boot.get("guest"),
        "mcr": boot.get("mcr"),
        "width_leaf": False if boot.get("no_cpuid_width") else None,
    }

    return {name: it for name, it in found.items() if it is not None}


def spec_of(raw: Json) -> MachineSpec:
    cpu, boot = raw["cpu"], raw["boot"]
    options: Json = {"pat": boot["pat"], "strict": cpu["strict"], "features": cpu["features"]}
    options["cmdline"] = " ".join("=".join(it) if it[1] else it[0] for it in boot["options"])
    options |= firmware_of(raw)
    if boot.get("bridge"):
        options["bridge"] = ":".join(f"{it:x}" for it in boot["bridge"])

    signature = join_signature(cpu["family"], cpu["model"], cpu["stepping"])
    mtrr = "mtrr" in cpu["features"]
    return MachineSpec(
        name="pc",
        arch="amd64-mtrr" if raw["arch"] == "x86_64" else "i386",
        cpu=Cpu(
            vendor=cpu["vendor"],
            signature=signature,
            phys_bits=cpu["phys_bits"],
            mtrr=mtrr,
            count=cpu["cpus"],
        ),
        msrs=read_registers(raw["msr"]),
        kernel="linux-2.6.32" if raw["kernel"] == "linux-2.6.32" else "linux-6.18",
        kernel_options=options,
    )


class HubScene:
    """A recorded scenario on a hub."""

    def __init__(self, raw: Json, log: AuditLog | None = None) -> None:
        self.hub = Hub([spec_of(raw)], log=log)
        self.hub.begin()
        self.engine = self.hub.engine
        machine = self.hub.machines["pc"]
        assert machine.served is not None
        self.machine = machine
        self.served: Served = machine.served
        self.native = 64 if raw["arch"] == "x86_64" else 32
        self.files: dict[tuple[int, int], int] = {}

    def do(self, step: Json) -> Json:
        """Do a step; the answer has what of it the trace can have."""
        act = getattr(self, f"do_{step['op']}", None)
        try:
            return {"errno": 0, **(self.drive(step) if act is None else act(step))}
        except DeviceError as error:
            return {"errno": error.code.name}

    def do_open(self, step: Json) -> Json:
        # 2.6.32 asks at each call; calls without the capability are left out
        privileged = step["admin"] or self.machine.spec.kernel_name == "linux-2.6.32"
        who = Principal(1, "one", privileged=privileged)
        request = Open(who, "/proc/mtrr", "r+", model=LP64 if self.native == 64 else ILP32)
        self.files[step["fd"], self.native] = open_file(self.engine, request)

        return {}

    def do_close(self, step: Json) -> Json:
        close_file(self.engine, self.files.pop((step["fd"], self.native)))

        return {}

    def do_read(self, step: Json) -> Json:
        found = self.engine.submit(Pread(self.files[step["fd"], self.native], 1 << 20, 0))

        return {"text": found.decode("latin-1")}

    def do_write(self, step: Json) -> Json:
        data = step["data"].encode("latin-1")

        return {"ret": self.engine.submit(Write(self.files[step["fd"], self.native], data))}

    def do_ioctl(self, step: Json) -> Json:
        handle = self.files[step["fd"], self.native]
        model = LP64 if step.get("abi", self.native) == 64 else ILP32
        command = step["cmd"]
        if not isinstance(command, str):
            self.engine.submit(linux.ask_mtrr(model, handle, command, b""))

        if command.startswith("GET"):
            op = linux.pack_query(step["regnum"], model=model)
        else:
            op = linux.pack_entry(step["base"], step["size"], step["type"], model=model)

        number = linux.mtrr_layout(model).numbers[command]
        op = b"" if step.get("bad_pointer") else op
        value = self.engine.submit(linux.ask_mtrr(model, handle, number, op))
        reply = linux.answer_mtrr(model, op, value)
        answer: Json = {"ret": reply.value}
        if command.startswith("GET"):
            found = linux.unpack_answer(reply.op, model=model)
            answer["out"] = {name: found[name] for name in ("base", "size", "type")}

        return answer

    def do_resume(self, _step: Json) -> Json:
        self.hub.hardware.suspend()
        self.hub.hardware.resume()

        return {}

    def drive(self, step: Json) -> Json:
        """A call of a driver."""
        names = ("base", "size", "type", "increment", "reg", "start", "end", "handle")
        kept = {name: step[name] for name in names if name in step}
        if step["op"] == "lookup":
            del kept["type"]

        value = self.hub.kernels.call(step["op"], **kept)
        if step["op"] == "lookup":
            return dict(value)

        return {} if value is None else {"ret": value}


def differing(before: dict[int, int], now: dict[int, int]) -> dict[str, int]:
    return {
        f"{it:#x}": now.get(it, 0)
        for it in sorted({*before, *now})
        if before.get(it, 0) != now.get(it, 0)
    }


def logged(rows: list[list[Any]]) -> list[str]:
    return [f"{row[0]}: {row[1]}" for row in rows for _ in range(row[2] if len(row) > 2 else 1)]


def others_of(state: KernelState) -> Json:
    """The registers in which other CPUs differ from CPU 0."""
    found = {str(cpu): differing(dict(state.msrs), dict(own)) for cpu, own in enumerate(state.cpus)}

    return {cpu: it for cpu, it in found.items() if it}


def conf_of(state: KernelState) -> dict[int, int]:
    return {int(number, 16): it for number, it in state.own.get("conf", {}).items()}


def is_forced(step: Json) -> bool:
    """Whether a step has a condition that no caller of a hub has, and that changes nothing."""
    return step["op"] in ("write", "ioctl") and (
        step.get("admin") is False or (step["op"] == "write" and bool(step.get("bad_pointer")))
    )


@pytest.mark.parametrize("release", ["6.18.2", "2.6.32"])
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_a_hub_answers_recorded_steps_alike(arch: str, release: str) -> None:
    lines = trace_lines(DATA / f"linux-mtrr-{release}-{arch}.open.jsonl.gz")
    scenarios = [raw for raw in map(json.loads, lines) if expressible(raw)]
    assert len(scenarios) == 300
    # CPUs of 2.6.32 were recorded side by side, and their lines sorted
    in_order: Callable[[list[str]], list[str]] = sorted if release == "2.6.32" else list
    wrong, steps = [], 0
    for raw in scenarios[::EVERY]:
        scene = HubScene(raw)
        booted = scene.served.state
        assert scene.hub.kernels.call("table") == raw["table"]
        assert others_of(booted) == raw.get("after_other", {})
        printed = [f"{level}: {text}" for level, text in scene.served.boot_log]
        assert in_order(printed) == in_order(logged(raw["log"]))
        rows: list[Json] = []
        scene.engine.listen(rows.append)
        for number, step in enumerate(raw["steps"]):
            if (arch == "i386" and step["op"] == "wc_add") or step.get("no_memory"):
                break  # arguments or conditions that no caller of a hub can have

            if is_forced(step):
                continue

            before, read = scene.served.state, len(rows)
            found = scene.do(step)
            steps += 1
            now = scene.served.state
            # of a sleep, the waking up alone was recorded
            told = (row for row in rows[read:] if row.get("op") != "suspend")
            printed = [line for row in told for line in row.get("printed", ())]
            assert scene.machine.table is None or scene.machine.table.state.msrs == now.msrs
            expected = {
                name: step[name]
                for name in ("errno", "ret", "text", "out", "uniform")
                if name in step
            }
            if step["op"] == "lookup":
                expected["type"] = step["type"]

            pairs = [
                (expected, {name: it for name, it in found.items() if name in expected}),
                (step.get("msr", {}), differing(dict(before.msrs), dict(now.msrs))),
                (step.get("msr_other", {}), others_of(now)),
                (step.get("conf", {}), differing(conf_of(before), conf_of(now))),
                (in_order(logged(step.get("log", []))), in_order(printed)),
            ]
            wrong += [(raw["id"], number, step["op"], *it) for it in pairs if it[0] != it[1]]

    assert wrong[:5] == []
    assert steps > 500


def test_the_log_of_a_recorded_scenario_has_what_the_kernel_printed(tmp_path: Path) -> None:
    lines = trace_lines(DATA / "linux-mtrr-6.18.2-x86_64.open.jsonl.gz")
    raw = next(it for it in map(json.loads, lines) if expressible(it) and it["boot"]["options"])
    with AuditLog.open(tmp_path / "a.jsonl") as log:
        scene = HubScene(raw, log)
        for step in raw["steps"]:
            scene.do(step)

    rows = [it for it in read_records(tmp_path / "a.jsonl") if it["event"] == "kernel.call"]
    assert rows[0]["op"] == "boot"
    assert rows[0]["printed"] == logged(raw["log"])
    printed = [line for row in rows[1:] for line in row["printed"]]
    assert printed == [line for step in raw["steps"] for line in logged(step.get("log", []))]


async def write_kernels_log(path: Path) -> None:
    """A log of machines of three kernels, whose files have other numbers in a replay."""
    specs = [
        MachineSpec(name="pc", arch="i386"),
        MachineSpec(name="lin", arch="amd64", kernel="linux-6.18"),
        MachineSpec(name="nb", arch="amd64", kernel="netbsd-7"),
    ]
    with AuditLog.open(path) as log:
        async with (
            Hub(specs, log=log) as hub,
            hub.process("X") as x,
            await x.open("pc:/dev/mem", "r+"),
            await x.open("lin:/proc/mtrr", "r+") as mtrr,
            await x.open("nb:/dev/mem", "r+") as mem,
        ):
            await mtrr.write(b"base=0xd0000000 size=0x1000000 type=write-combining")
            await mem.call_kernel("set", entries=[[0xD0000000, 1 << 24, 1, 5, 0]])
            hub.kernels.call("add", machine="lin", base=0xE0000000, size=1 << 24, type=1)
            await hub.suspend("lin")
            with pytest.raises(DeviceError, match="EAGAIN"):
                hub.kernels.call("add", machine="lin", base=0, size=4096, type=0)

            await hub.resume("lin")


@pytest.mark.anyio
async def test_files_of_kernels_and_the_exits_of_processes_follow_in_a_replay(
    tmp_path: Path,
) -> None:
    await write_kernels_log(tmp_path / "log")
    exits = [it for it in read_records(tmp_path / "log") if it.get("op") == "exit"]
    assert len(exits) == 1

    done = replay_log(tmp_path / "log")
    assert (done.differences, dict(done.unplayed)) == ([], {})
