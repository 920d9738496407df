"""Replay answers that were recorded from Linux's page-attribute reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memhub_linux.machine import LinuxMachine
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.pat.boot import PAT_REGISTER, boot_page_attributes
from memhub_linux.pat.mappings import (
    allow_dev_mem,
    reserve_io,
    set_up_mode,
    track_pages,
    untrack_pages,
)
from memhub_linux.pat.memtype import Task
from memhub_linux.pat.page_modes import MODE_NAMES, real_modes
from memhub_linux.pat.page_runs import PageRuns, changed_runs
from memhub_linux.refused import Refused
from memhub_linux.registers.cpus import Cpus
from memhub_linux.replay.recorded import joined, read_registers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.plugin.kernels import Comparison

    Json = Mapping[str, Any]
    Answer = dict[str, object]

_FIELDS = ("got", "asked", "answer", "allowed")


def replay_pat(raw: Json, done: Comparison) -> None:
    """Replay one scenario of page attributes; see `KernelProfile.replay`."""
    scene = _Scene(raw)
    scene.compare_boot(raw, done)
    for number, step in enumerate(raw["steps"]):
        done.steps += 1
        scene.replay_step(number, step, done)

    scene.compare_end(raw, done)


class _Scene:
    """One kernel's reservations."""

    def __init__(self, raw: Json) -> None:
        cpu = raw["cpu"]
        machine = LinuxMachine(
            bits=64,
            vendor=cpu["vendor"],
            family=cpu["family"],
            model=cpu["model"],
            stepping=cpu["stepping"],
            phys_bits=cpu["phys_bits"],
            features=frozenset(cpu["features"]),
            options=(("nopat", ""),) if raw["nopat"] else (),
        )
        self._cpus = Cpus(1, machine.phys_bits, strict=False, msrs=read_registers(raw["msr"]))
        mtrr = LinuxMtrr(machine, self._cpus, early=True)
        self._memtype = boot_page_attributes(
            mtrr,
            [(start, last) for start, last in raw["ram"]],
            debug=raw["debug"],
        )
        self._do: Mapping[str, Callable[[Json, Task], Answer]] = {
            "reserve": self._reserve,
            "free": self._free,
            "reserve_io": self._reserve_io,
            "free_io": self._free,
            "reserve_wc": self._reserve_io,
            "free_wc": self._free,
            "map_track": self._track,
            "map_setup": self._set_up,
            "map_untrack": self._untrack,
            "immune_to_uc_mtrr": self._is_immune,
            "dev_mem_prot": self._dev_mem,
        }

    # Comparing

    def compare_boot(self, raw: Json, done: Comparison) -> None:
        """Compare what the kernel set up at boot."""
        memtype = self._memtype
        found = {
            "enabled": memtype.enabled,
            "pat_msr": self._cpus.read(0, PAT_REGISTER),
            "modes": real_modes(memtype.palette),
            "log": joined(memtype.mtrr.log),
        }
        for what, value in found.items():
            done.differ(None, what, raw[what], value)

    def compare_end(self, raw: Json, done: Comparison) -> None:
        """Compare the list in the end."""
        done.differ(len(raw["steps"]), "list", raw["list"], self._memtype.list_text())

    def replay_step(self, number: int, step: Json, done: Comparison) -> None:
        """Do one step, and compare all that it changed."""
        memtype = self._memtype
        rows, pages = list(memtype.reservations), PageRuns(memtype.pages)
        command, pid = step.get("who", ("swapper", 0))
        errno: str | int = 0
        try:
            answer = self._do[step["op"]](step, Task(command, pid))
        except Refused as refused:
            errno, answer = refused.errno, {}
            if step["op"] in ("map_track", "map_setup"):
                asked = memtype.real_mode(step["want"])
                answer = {"asked": asked, "got": asked}

            if refused.got is not None and step["op"] == "reserve" and step["substitute"]:
                answer["got"] = refused.got

        if "errno" in step:
            done.differ(number, "errno", step["errno"], errno)

        for what in _FIELDS:
            done.differ(number, what, step.get(what), answer.get(what))

        now = memtype.reservations
        tracked = [[it.start, it.end, MODE_NAMES[it.mode]] for it in now] if now != rows else None
        done.differ(number, "tracked", step.get("tracked"), tracked)
        done.differ(number, "pages", step.get("pages", []), _page_rows(pages, memtype.pages))
        done.differ(number, "log", step.get("log", []), joined(memtype.mtrr.log))

    # Steps

    def _reserve(self, step: Json, task: Task) -> Answer:
        got = self._memtype.reserve(
            step["start"],
            step["end"],
            step["want"],
            substitute=step["substitute"],
            no_memory=bool(step.get("no_memory")),
            task=task,
        )

        return {"got": got} if step["substitute"] else {}

    def _free(self, step: Json, task: Task) -> Answer:
        start, end = _span(step)
        try:
            self._memtype.free(start, end, task=task)
        except Refused:
            if step["op"] == "free":
                raise

        return {}

    def _reserve_io(self, step: Json, task: Task) -> Answer:
        start, end = _span(step)
        got = reserve_io(self._memtype, start, end, step.get("want", "WC"), task)

        return {"got": got} if step["op"] == "reserve_io" else {}

    def _track(self, step: Json, task: Task) -> Answer:
        asked = self._memtype.real_mode(step["want"])
        got = track_pages(self._memtype, step["pfn"] << 12, step["size"], asked, task)

        return {"asked": asked, "got": self._memtype.real_mode(got)}

    def _set_up(self, step: Json, _task: Task) -> Answer:
        asked = self._memtype.real_mode(step["want"])
        got = set_up_mode(self._memtype, step["pfn"] << 12, step["size"], asked)

        return {"asked": asked, "got": self._memtype.real_mode(got)}

    def _untrack(self, step: Json, task: Task) -> Answer:
        untrack_pages(self._memtype, step["pfn"] << 12, step["size"], task)

        return {}

    def _is_immune(self, step: Json, _task: Task) -> Answer:
        return {"answer": self._memtype.mode_of(step["pfn"] << 12) in ("UC", "UC-", "WC")}

    def _dev_mem(self, step: Json, _task: Task) -> Answer:
        got = allow_dev_mem(self._memtype, sync=step["sync"], range_allowed=step["range_allowed"])

        return {"allowed": got is not None, "got": got or "WB"}


def _span(step: Json) -> tuple[int, int]:
    start = step["start"]

    return start, start + step["size"] if "size" in step else step["end"]


def _page_rows(before: PageRuns, now: PageRuns) -> list[list[object]]:
    """RAM pages that changed their mode, as rows of first page, last page and mode."""
    return [[it.first, it.end - 1, it.mode] for it in changed_runs(before, now)]
