"""A kernel as plain data, and back: what `LinuxMtrr` keeps beside its machine's registers.

Registers' values are texts in it, as some readers of JSON take no number of 64 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from memhub.plugin.kernels import KernelState, share_registers
from memhub_linux.mtrr.boot import Booted
from memhub_linux.mtrr.layer import LinuxMtrr
from memhub_linux.registers.cpus import Cpus
from memhub_linux.registers.generic import GenericMtrrs
from memhub_linux.registers.legacy import CentaurRanges, CyrixRanges, K6Ranges
from memhub_linux.registers.old_generic import OldGenericMtrrs
from memhub_linux.registers.ranges import Range
from memhub_linux.registers.type_map import Stretch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from memhub_linux.machine import LinuxMachine
    from memhub_linux.registers.ranges import BackEnd

    Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class LinuxSetting:
    """What the kernel runs on, and what does not change while it runs.

    Attributes:
        machine: the machine.
        count: how many CPUs it has.
        strict: whether its CPUs refuse reserved bits and types.
        msrs: the registers that firmware leaves, at a start and at a wake-up.
        differences: those in which firmware left other CPUs different at the start.
        conf: of a Cyrix, the indexed registers that firmware leaves.
        page_attributes: whether the kernel keeps reservations: `booted` as the kernel does, `given`
            where the machine says whether they are in use, or nothing.
    """

    machine: LinuxMachine
    count: int
    strict: bool
    msrs: Mapping[int, int]
    differences: Mapping[int, Mapping[int, int]] = field(default_factory=dict)
    conf: Mapping[int, int] = field(default_factory=dict)
    page_attributes: Literal["", "booted", "given"] = ""

    def start_cpus(self) -> Cpus:
        """The CPUs as firmware leaves them."""
        last = max(self.differences, default=-1)
        if last >= self.count:
            raise ValueError(f"there is no CPU {last}: the machine has {self.count}")

        return Cpus(
            self.count,
            self.machine.phys_bits,
            strict=self.strict,
            msrs=self.msrs,
            differences=self.differences,
            conf=self.conf,
        )


def freeze(
    kernel: LinuxMtrr, files: Mapping[int, Json], memtype: Json | None = None
) -> KernelState:
    """The state of a kernel.

    Args:
        kernel: the kernel.
        files: what it keeps of each open file.
        memtype: its page-attribute reservations, or None for none.
    """
    booted, back = kernel.booted, kernel.back
    own: dict[str, Any] = {
        "counts": list(kernel.counts),
        "proc": booted.has_file,
        "back_end": _back_end(back),
        "cleaned": booted.changed,
    }
    if isinstance(booted.state, OldGenericMtrrs):
        own["mtrr"] = _freeze_generic(booted.state.kept) | {"warned": booted.state.warned}
    elif isinstance(booted.state, GenericMtrrs):
        own["mtrr"] = _freeze_generic(booted.state)

    if isinstance(back, CentaurRanges):
        own["mcr"] = [_texts(pair) for pair in back.kept]

    if kernel.saved is not None:
        own["saved"] = [[index, *it] for index, it in kernel.saved]

    if memtype is not None:
        own["memtype"] = memtype

    if kernel.cpus.conf:
        own["conf"] = {f"{number:#x}": it for number, it in sorted(kernel.cpus.conf.items())}

    return KernelState(share_registers(kernel.cpus.files), own, files)


def thaw(setting: LinuxSetting, state: KernelState) -> LinuxMtrr:
    """A kernel as it was when it was frozen; it may change.

    Args:
        setting: what it runs on.
        state: its state.
    """
    own, machine = state.own, setting.machine
    cpus = Cpus(0, machine.phys_bits, strict=setting.strict, msrs={})
    cpus.files = [dict(it) for it in state.cpus]
    cpus.conf.update({int(number, 16): it for number, it in own.get("conf", {}).items()})
    kernel = LinuxMtrr(machine, cpus, was=Booted(None, None, own["proc"], own["cleaned"]))
    generic = _thaw_state(kernel, own["mtrr"]) if "mtrr" in own else None

    backs: dict[str, BackEnd | None] = {"": None, "mtrr": generic}
    back = backs.get(own["back_end"]) or _thaw_legacy(own, machine, cpus)
    kernel.booted = Booted(back, generic, own["proc"], own["cleaned"])
    kernel.back, kernel.counts = back, list(own["counts"])
    kernel.count = 0 if back is None else back.count
    if "saved" in own:
        kernel.saved = [(index, Range(*it)) for index, *it in own["saved"]]

    return kernel


def _back_end(back: BackEnd | None) -> str:
    names = {
        GenericMtrrs: "mtrr",
        OldGenericMtrrs: "mtrr",
        K6Ranges: "k6",
        CentaurRanges: "mcr",
        CyrixRanges: "arr",
    }

    return next((name for kind, name in names.items() if isinstance(back, kind)), "")


def _thaw_legacy(own: Json, machine: LinuxMachine, cpus: Cpus) -> BackEnd | None:
    name = own["back_end"]
    if name == "k6":
        return K6Ranges(cpus)

    if name == "mcr":
        kept = enumerate(map(_numbers, own[name]))
        return CentaurRanges(cpus, {number: (low, high) for number, (low, high) in kept})

    return CyrixRanges(machine, cpus) if name == "arr" else None


def _freeze_generic(state: GenericMtrrs) -> dict[str, Any]:
    return {
        "variable": [_texts(pair) for pair in state.variable],
        "fixed": _texts(state.fixed),
        "have_fixed": state.have_fixed,
        "default": state.default,
        "enabled": state.enabled,
        "tom2": f"{state.tom2:#x}",
        "fixed_map": [[f"{it.start:#x}", f"{it.end:#x}", it.type] for it in state.fixed_map],
        "changes": sorted(state.changes),
    }


def _thaw_state(kernel: LinuxMtrr, it: Json) -> GenericMtrrs | OldGenericMtrrs:
    machine, cpus, log = kernel.machine, kernel.cpus, kernel.log
    if not machine.release.old_registers:
        return _thaw_generic(GenericMtrrs(machine, cpus, log), it)

    old = OldGenericMtrrs(machine, cpus, log)
    _thaw_generic(old.kept, it)
    old.warned = it["warned"]

    return old


def _thaw_generic(state: GenericMtrrs, it: Json) -> GenericMtrrs:
    state.variable = [_numbers(pair) for pair in it["variable"]]
    state.count = len(state.variable)
    state.fixed = _numbers(it["fixed"])
    state.have_fixed, state.default, state.enabled = it["have_fixed"], it["default"], it["enabled"]
    state.tom2 = int(it["tom2"], 16)
    state.fixed_map = [
        Stretch(int(start, 16), int(end, 16), type_, fixed=True)
        for start, end, type_ in it["fixed_map"]
    ]
    state.changes = set(it["changes"])
    state.rebuild_map()

    return state


def _texts(values: Sequence[int]) -> list[str]:
    return [f"{it:#x}" for it in values]


def _numbers(texts: Sequence[str]) -> list[int]:
    return [int(it, 16) for it in texts]
