"""A served kernel is pure: its state is a value, and it answers as the recorded kernel does."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from memhub.core.kernel_items import (
    change_kernel,
    kernel_change_item,
    kernel_state_item,
    kernel_state_of,
)
from memhub.kernels import load_kernels
from memhub.plugin.kernels import KernelCall, KernelMachine, KernelState, OptionError
from memhub.rig import trace_lines
from memhub_linux.replay.recorded import make_machine, read_registers
from memhub_linux.served.frozen import LinuxSetting
from memhub_linux.served.kernel import boot_linux, call_linux

if TYPE_CHECKING:
    from collections.abc import Callable

DATA = Path(__file__).parents[1] / "data" / "kernels"
#: Every so many scenarios; each back end, hypervisors and odd CPUs are among them.
EVERY = 9


def setting_of(raw: dict[str, Any]) -> LinuxSetting:
    """A recorded machine."""
    cpu = raw["cpu"]
    return LinuxSetting(
        machine=make_machine(raw),
        count=cpu["cpus"],
        strict=cpu["strict"],
        msrs=read_registers(raw["msr"]),
        differences={int(it): read_registers(own) for it, own in raw.get("ap_msr", {}).items()},
        conf=read_registers(raw.get("conf", {})),
    )


def call_of(step: dict[str, Any]) -> KernelCall:
    """A recorded step as a call; a read is of the whole text, from the start of the file."""
    if step["op"] == "read":
        return KernelCall("read", {"length": 1 << 20, "offset": 0}, step["fd"])

    names = ("fd", "op", "errno", "ret", "out", "changed", "msr", "log", "held", "conf", "text")
    args = {name: it for name, it in step.items() if name not in names}
    if step["op"] in ("write", "ioctl"):
        args.setdefault("admin", True)  # whoever opened the file

    if step["op"] == "lookup":
        args = {"start": step["start"], "end": step["end"]}

    return KernelCall(step["op"], args, step.get("fd"))


def logged(rows: list[list[Any]]) -> list[tuple[str, str]]:
    return [(row[0], row[1]) for row in rows for _ in range(row[2] if len(row) > 2 else 1)]


@pytest.mark.parametrize("release", ["6.18.2", "2.6.32"])
@pytest.mark.parametrize("arch", ["x86_64", "i386"])
def test_calls_of_values_answer_as_recorded(arch: str, release: str) -> None:
    lines = trace_lines(DATA / f"linux-mtrr-{release}-{arch}.open.jsonl.gz")
    # CPUs of 2.6.32 were recorded side by side, and their lines sorted
    in_order: Callable[[list[Any]], list[Any]] = sorted if release == "2.6.32" else list
    wrong = []
    for raw in map(json.loads, lines[::EVERY]):
        setting = setting_of(raw)
        state = boot_linux(setting).state
        for number, step in enumerate(raw["steps"]):
            if arch == "i386" and step["op"] == "wc_add":
                continue  # the recorder handed over other arguments than it says

            before = pickle.dumps(state)
            answer = call_linux(setting, state, call_of(step))
            assert pickle.dumps(state) == before

            change = json.loads(json.dumps(kernel_change_item(state, answer.state)))
            assert change_kernel(state, change) == answer.state
            written = json.loads(json.dumps(kernel_state_item(answer.state)))
            assert kernel_state_of(written) == answer.state

            registers = {int(it, 16): value for it, value in step.get("msr", {}).items()}
            found = {
                it: value
                for it, value in answer.state.msrs.items()
                if state.msrs.get(it, 0) != value
            }
            state = answer.state
            pairs = [
                (step.get("errno") or None, answer.errno),
                (registers, found),
                (in_order(logged(step.get("log", []))), in_order(list(answer.log))),
            ]
            if "ret" in step and step["errno"] == 0 and "out" not in step:
                pairs.append((step["ret"], answer.value))

            if "text" in step:
                pairs.append((step["text"], answer.value))

            if "out" in step:
                shown = {name: answer.value[name] for name in step["out"]}
                pairs.append((step["out"], shown))

            wrong += [(raw["id"], number, *it) for it in pairs if it[0] != it[1]]

    assert wrong == []


def test_a_change_tells_of_each_variable_that_came_and_went() -> None:
    before = KernelState(({},), {"kept": 1, "gone": 2})
    after = KernelState(({},), {"kept": 1, "empty": {}, "nothing": None})
    change = json.loads(json.dumps(kernel_change_item(before, after)))
    assert change_kernel(before, change) == after
    assert change_kernel(after, kernel_change_item(after, before)) == before


def ordinary(**options: Any) -> KernelMachine:
    from memhub.plugin import Cpu

    msrs = {0xFE: 0x508, 0x2FF: 0x800, 0x200: 0x6, 0x201: 0xF80000800}

    return KernelMachine(cpu=Cpu(), bits=64, msrs=msrs, options=options)


def served() -> Any:
    return load_kernels().find("linux-6.18").served


def test_a_kernel_of_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(
        ValueError,
        match=r"kernel 'linux' is not installed \(installed: freebsd, linux-2.6.32, linux-6.18",
    ):
        load_kernels().find("linux")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cmdlin": "x"}, "cmdlin: is not an option of Linux"),
        ({"cmdline": 3}, "cmdline: 3 is not a text"),
        ({"pat": "no"}, "pat: 'no' is not true or false"),
        ({"bridge": "8086"}, "bridge: '8086' is not VENDOR:DEVICE:REVISION"),
        ({"cpus": 5}, "cpus: 5 is not a table"),
        ({"cpus": {"1": {"0x2ff": -1}}}, "has -1, which is no number from 0 to 0xffffffff"),
        ({"cpus": {"9": {}}}, "there is no CPU 9: the machine has 4"),
        ({"cpus": {"x": {}}}, "has 'x', which is no number from 1"),
        ({"guest": {"kind": "kvm"}}, "has the kind 'kvm', which is none of hyperv, xenpv"),
        ({"guest": {"kind": "tdx", "x": 1}}, "has 'x', which is none of default, hypervisor"),
        ({"guest": {"kind": "tdx", "variable": [[1]]}}, r"has \[1\], which is no \[base register"),
        ({"conf": {"0xc4": 256}}, "has 256, which is no number from 0 to 0xff"),
        ({"mcr": [[8, 0, 0]]}, "has 8, which is no number from 0 to 0x7"),
        ({"width_leaf": 1}, "width_leaf: 1 is not true or false"),
        ({"features": "mtrr sse"}, "features: 'mtrr sse' is not some of mtrr"),
    ],
)
def test_options_that_linux_does_not_take_are_named(options: dict[str, Any], why: str) -> None:
    with pytest.raises(OptionError, match=why):
        served().boot(ordinary(**options))


def test_the_planner_of_an_old_release_is_not_taken_for_one_that_is_known() -> None:
    old = load_kernels().find("linux-2.6.32").served
    assert old is not None
    with pytest.raises(OptionError, match=r"cmdline: has enable_mtrr_cleanup, and only"):
        old.boot(ordinary(cmdline="quiet enable_mtrr_cleanup"))

    assert old.boot(ordinary(cmdline="quiet")).state.own["back_end"] == "mtrr"


def test_a_call_that_linux_does_not_have_is_named() -> None:
    machine, kernel = ordinary(), served()
    state = kernel.boot(machine).state
    with pytest.raises(ValueError, match="Linux has no call 'mmap'"):
        kernel.call(machine, state, KernelCall("mmap"))

    with pytest.raises(ValueError, match="add needs an argument 'size'"):
        kernel.call(machine, state, KernelCall("add", {"base": 0}))


@pytest.mark.parametrize("length", [1, 7, 80, 81, 4096])
def test_a_text_is_read_in_pieces_of_any_length(length: int) -> None:
    machine, kernel = ordinary(), served()
    state = kernel.boot(machine).state
    whole = kernel.call(machine, state, KernelCall("read")).value
    state = kernel.call(machine, state, KernelCall("open", file=1)).state
    found = ""
    while True:
        answer = kernel.call(machine, state, KernelCall("read", {"length": length}, 1))
        state = answer.state
        if not answer.value:
            break

        assert len(answer.value) <= length
        found += answer.value

    assert found == whole != ""


def test_who_opens_2_6_32_s_file_without_rights_may_only_look() -> None:
    machine, kernel = ordinary(), load_kernels().find("linux-2.6.32").served
    assert kernel is not None
    state = kernel.boot(machine).state
    state = kernel.call(machine, state, KernelCall("open", {"admin": False}, 1)).state
    read = kernel.call(machine, state, KernelCall("read", {"length": 4096}, 1))
    line = "base=0xd0000000 size=0x1000000 type=write-combining\n"
    get = {"cmd": "GET", "regnum": 0}
    add = {"cmd": "ADD", "base": 0xD0000000, "size": 1 << 24, "type": 1}
    told = [
        kernel.call(machine, read.state, KernelCall(op, args, 1)).errno
        for op, args in (("write", {"data": line}), ("ioctl", add), ("ioctl", get))
    ]

    assert read.value.startswith("reg00: ")
    assert told == ["EPERM", "EPERM", None]
    assert kernel.call(machine, read.state, KernelCall("open", {}, 2)).errno is None


def test_a_text_that_is_half_read_does_not_change_under_its_reader() -> None:
    machine, kernel = ordinary(), served()
    state = kernel.boot(machine).state
    state = kernel.call(machine, state, KernelCall("open", file=1)).state
    first = kernel.call(machine, state, KernelCall("read", {"length": 10}, 1))
    add = {"base": 0xD0000000, "size": 1 << 24, "type": 1, "increment": True}
    state = kernel.call(machine, first.state, KernelCall("add", add)).state
    rest = kernel.call(machine, state, KernelCall("read", {"length": 999}, 1))
    assert "write-combining" not in first.value + rest.value

    again = kernel.call(machine, rest.state, KernelCall("seek", {"offset": 0}, 1)).state
    text = kernel.call(machine, again, KernelCall("read", {"length": 999}, 1)).value
    assert "write-combining" in text
