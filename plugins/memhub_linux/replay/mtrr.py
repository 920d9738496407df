"""Replay answers that were recorded from Linux's MTRR layer.

Each step is done as the recorder did it; then the answer, the kernel's log, the table, every
register of every CPU and the descriptor's counts are compared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub_linux.machine import LinuxMachine
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.mtrr.proc_mtrr import Entry, OpenMtrr, ProcMtrr
from memhub_linux.mtrr.write_combining import (
    add_write_combining,
    delete_write_combining,
    index_of,
)
from memhub_linux.refused import Refused
from memhub_linux.registers.cpus import Cpus
from memhub_linux.replay.pat import replay_pat
from memhub_linux.replay.recorded import joined, make_cpus, make_machine, read_registers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.plugin.kernels import Comparison

    Json = Mapping[str, Any]
    Answer = dict[str, object]

_U32 = 0xFFFFFFFF
#: What of an answer is compared, beside the errno.
_FIELDS = ("ret", "text", "out", "type", "uniform", "index")


def replay(raw: Json, done: Comparison) -> None:
    """Replay one scenario; see `KernelProfile.replay`.

    Raises:
        KeyError, TypeError, ValueError: the scenario lacks something.
    """
    if "trim" in raw:
        _replay_cleanup(raw, done)
        return

    if "nopat" in raw:
        replay_pat(raw, done)
        return

    scene = _Scene(raw)
    scene.compare_boot(raw, done)
    for number, step in enumerate(raw["steps"]):
        done.steps += 1
        scene.replay_step(number, step, done)


def _replay_cleanup(raw: Json, done: Comparison) -> None:
    """Boot once, with the planner of ranges and the trimming of RAM: two steps."""
    cpu, msrs = raw["cpu"], read_registers(raw["msr"])
    machine = LinuxMachine(
        bits=64,
        vendor=cpu["vendor"],
        family=cpu["family"],
        model=0,
        stepping=0,
        phys_bits=cpu["phys_bits"],
        features=frozenset({"mtrr"}),
        options=tuple((name, value) for name, value in raw["options"]),
    )
    cpus = Cpus(1, machine.phys_bits, strict=False, msrs=msrs)
    kernel = LinuxMtrr(machine, cpus, early=True)
    done.steps += 2
    done.differ(0, "log", raw["log"], joined(kernel.log))
    done.differ(0, "table", raw["table"], [row[:3] for row in kernel.table()])
    done.differ(0, "after", raw["after"], _differing(msrs, cpus.files[0]))
    trim = kernel.trim([(start, end) for start, end in raw["ram"]])
    found = {
        "end_pfn": trim.end_page,
        "trimmed": trim.trimmed,
        "reserved": [[*it] for it in trim.reserved],
        "log": joined(kernel.log),
    }
    for what, value in found.items():
        done.differ(1, what, raw["trim"].get(what, []), value)


class _Scene:
    """One kernel, and the files that are open."""

    def __init__(self, raw: Json) -> None:
        self._msrs, self._conf = read_registers(raw["msr"]), read_registers(raw.get("conf", {}))
        self._cpus = make_cpus(raw, self._msrs, self._conf)
        self._kernel = LinuxMtrr(make_machine(raw), self._cpus)
        self._proc = ProcMtrr(self._kernel)
        self._files: dict[int, OpenMtrr] = {}
        self._do: Mapping[str, Callable[[Json], Answer]] = {
            "open": self._open,
            "close": self._close,
            "read": lambda _: {"text": self._proc.read_text()},
            "write": self._write,
            "ioctl": self._ioctl,
            "add": self._add,
            "add_page": self._add,
            "del": self._delete,
            "del_page": self._delete,
            "wc_add": self._add_write_combining,
            "wc_del": self._delete_write_combining,
            "lookup": self._look_up,
            "save_fixed": self._save_fixed,
            "resume": self._resume,
        }

    # Comparing

    def compare_boot(self, raw: Json, done: Comparison) -> None:
        """Compare what the kernel found at boot."""
        kernel, cpus = self._kernel, self._cpus
        after = _differing(self._msrs, cpus.files[0])
        found = {
            "enabled": kernel.back is not None,
            "proc": kernel.has_file,
            "count": kernel.count,
            "log": self._take_log(),
            "table": kernel.table(),
            "after": after,
            "after_other": _others(cpus),
        }
        for what, value in found.items():
            expected = raw.get(what, {})
            done.differ(None, what, expected, value)

    def replay_step(self, number: int, step: Json, done: Comparison) -> None:
        """Do one step, and compare all that it changed."""
        kernel, cpus = self._kernel, self._cpus
        table, msrs, conf = kernel.table(), dict(cpus.files[0]), dict(cpus.conf)
        file = self._files.get(step["fd"]) if step["op"] == "ioctl" else None
        held = _counts(file)
        errno: str | int = 0
        try:
            answer = self._do[step["op"]](step)
        except Refused as refused:
            errno = refused.errno
            answer = {"index": -1} if step["op"] == "wc_add" else {}

        if "errno" in step:
            done.differ(number, "errno", step["errno"], errno)

        for what in _FIELDS:
            # of an ioctl or an add, the type is what was asked for
            if what != "type" or step["op"] == "lookup":
                done.differ(number, what, step.get(what), answer.get(what))

        if _counts(file) != held or "held" in step:
            done.differ(number, "held", step.get("held"), _counts(file))

        rows = enumerate(zip(table, kernel.table(), strict=True))
        changed = [[index, *now] for index, (was, now) in rows if was != now]
        done.differ(number, "changed", step.get("changed", []), changed)
        done.differ(number, "msr", step.get("msr", {}), _differing(msrs, cpus.files[0]))
        done.differ(number, "conf", step.get("conf", {}), _differing(conf, cpus.conf))
        done.differ(number, "msr_other", step.get("msr_other", {}), _others(cpus))
        done.differ(number, "log", step.get("log", []), self._take_log())

    def _take_log(self) -> list[list[object]]:
        # 2.6.32's CPUs were driven side by side, and their lines sorted.
        return joined(self._kernel.log, by_cpu=self._kernel.machine.release.old_registers)

    # Steps

    def _open(self, step: Json) -> Answer:
        self._files[step["fd"]] = self._proc.open(admin=step["admin"])

        return {}

    def _close(self, step: Json) -> Answer:
        self._proc.close(self._files.pop(step["fd"]))

        return {}

    def _write(self, step: Json) -> Answer:
        self._proc.check_admin("", admin=step.get("admin", True))
        # 2.6.32 looks at the length before it copies anything.
        old = self._kernel.machine.release.drops_last_byte
        if step.get("bad_pointer") and (step["data"] or not old):
            raise Refused("EFAULT")

        return {"ret": self._proc.write(step["data"].encode("latin-1"))}

    def _ioctl(self, step: Json) -> Answer:
        command, file = step["cmd"], self._files[step["fd"]]
        if step.get("bad_pointer"):
            raise Refused("EFAULT")

        if not isinstance(command, str):
            raise Refused("ENOTTY")

        self._proc.check_admin(command, admin=step.get("admin", True))

        if step.get("no_memory") and file.held is None and command.startswith("ADD"):
            raise Refused("ENOMEM")

        entry = Entry(*(step.get(it, 0) for it in ("base", "size", "type", "regnum")))
        register, shown = self._proc.ioctl(file, command, entry)
        answer: Answer = {"ret": register}
        if shown is not None:
            mask = _U32 if step["abi"] == 32 else -1
            answer["out"] = {
                "base": shown.base & mask,
                "size": shown.size & _U32,
                "type": shown.type,
            }

        return answer

    def _add(self, step: Json) -> Answer:
        add = self._kernel.add_page if step["op"] == "add_page" else self._kernel.add

        return {"ret": add(step["base"], step["size"], step["type"], increment=step["increment"])}

    def _delete(self, step: Json) -> Answer:
        kernel = self._kernel
        delete = kernel.delete_page if step["op"] == "del_page" else kernel.delete

        return {"ret": delete(step["reg"], step["base"], step["size"])}

    def _add_write_combining(self, step: Json) -> Answer:
        base, size = step["base"], step["size"]
        if self._kernel.machine.bits == 32:
            # The recorder handed a 64-bit base to a function of two 32-bit numbers.
            base, size = base & _U32, base >> 32

        handle = add_write_combining(self._kernel, base, size)

        return {"ret": handle, "index": index_of(handle)}

    def _delete_write_combining(self, step: Json) -> Answer:
        delete_write_combining(self._kernel, step["handle"])

        return {}

    def _look_up(self, step: Json) -> Answer:
        type_, uniform = self._kernel.look_up(step["start"], step["end"])

        return {"type": type_, "uniform": None if uniform is None else int(uniform)}

    def _save_fixed(self, _step: Json) -> Answer:
        self._kernel.save_fixed()

        return {}

    def _resume(self, _step: Json) -> Answer:
        self._kernel.resume(self._msrs, self._conf)

        return {}


def _differing(before: Mapping[int, int], now: Mapping[int, int]) -> dict[str, int]:
    """What registers hold now, of those that hold something else."""
    return {
        f"{number:#x}": now.get(number, 0)
        for number in sorted({*before, *now})
        if before.get(number, 0) != now.get(number, 0)
    }


def _others(cpus: Cpus) -> dict[str, dict[str, int]]:
    """The registers in which other CPUs differ from the first."""
    return {
        str(cpu): {f"{number:#x}": value for number, value in own.items()}
        for cpu, own in cpus.differing().items()
    }


def _counts(file: OpenMtrr | None) -> list[list[int]]:
    """Register and count of each range that a descriptor holds."""
    held = None if file is None else file.held

    return [[register, many] for register, many in enumerate(held or ()) if many]
