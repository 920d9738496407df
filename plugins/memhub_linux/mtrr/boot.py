"""What the kernel does at boot: it finds its back end, reads the registers and aligns the CPUs.

Source: Linux 6.18 `arch/x86/kernel/cpu/mtrr/mtrr.c` (mtrr_bp_init), `generic.c`
(mtrr_overwrite_state, mtrr_state_warn) and `legacy.c` (mtrr_set_if).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from memhub_linux.cleanup.planner import Cleanup
from memhub_linux.registers.generic import MTRR_ENABLED, GenericMtrrs
from memhub_linux.registers.legacy import CentaurRanges, CyrixRanges, K6Ranges
from memhub_linux.registers.old_generic import OldGenericMtrrs
from memhub_linux.texts import NO_PAT_LINE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from memhub_linux.machine import KernelLog, LinuxMachine
    from memhub_linux.registers.cpus import Cpus
    from memhub_linux.registers.ranges import BackEnd, State

_GUEST_RANGES_MAX: Final = 256
_OFF: Final = "MTRRs disabled by BIOS"


class Booted(NamedTuple):
    """What the kernel has after boot.

    Attributes:
        back: its back end, or None where there is none.
        state: its state of Intel's MTRRs, for look-ups; None where there are no such registers.
        has_file: whether there is a `/proc/mtrr`.
        changed: whether the planner changed the registers.
    """

    back: BackEnd | None
    state: State | None
    has_file: bool
    changed: bool = False


def why_no_back_end(own: Mapping[str, Any]) -> str:
    """Why a kernel takes no ranges since its boot; empty where it does.

    Args:
        own: the kernel's variables.
    """
    if own["back_end"]:
        return ""

    if "mtrr" not in own:
        return "the processor has no ranges that Linux knows"

    if own["mtrr"]["enabled"]:
        return "the ranges are a hypervisor's, and cannot be changed"

    return f"{_OFF}: bit 11 of register 0x2ff was 0 at the boot"


def boot_kernel(machine: LinuxMachine, cpus: Cpus, log: KernelLog) -> Booted:
    """Boot.

    Args:
        machine: the machine.
        cpus: its registers, which are aligned.
        log: takes what is printed.
    """
    if machine.release.old_registers:
        return _boot_old_kernel(machine, cpus, log)

    if machine.no_pat:
        log.add("info", f"x86/PAT: {NO_PAT_LINE}")

    guest = _take_guest_state(machine, cpus, log)
    if guest is not None:
        guest.build_map()
        log.add("info", "MTRRs set to read-only")
        return Booted(None, guest, bool(machine.ranges - {"mtrr"}))

    has_file = bool(machine.ranges)
    if "mtrr" in machine.features:
        generic = GenericMtrrs(machine, cpus, log)
        if generic.read_state():
            changed = Cleanup(machine, generic, cpus, log).clean()
            generic.build_map()
            generic.store_everywhere()

            return Booted(generic, generic, has_file, changed)

        log.add("info", _OFF)
        return Booted(None, generic, has_file)

    legacy = _find_legacy(machine, cpus)
    if legacy is None:
        log.add("info", "MTRRs disabled (not available)")

    return Booted(legacy, None, has_file)


def _boot_old_kernel(machine: LinuxMachine, cpus: Cpus, log: KernelLog) -> Booted:
    """Boot 2.6.32, for which MTRRs that are off work too."""
    has_file = bool(machine.ranges)
    if "mtrr" not in machine.features:
        return Booted(_find_legacy(machine, cpus), None, has_file)

    state = OldGenericMtrrs(machine, cpus, log)
    state.boot()

    return Booted(state, state, has_file)


def _take_guest_state(machine: LinuxMachine, cpus: Cpus, log: KernelLog) -> GenericMtrrs | None:
    given = machine.guest
    if given is None or given.kind == "none" or not given.hypervisor:
        return None

    state = GenericMtrrs(machine, cpus, log)
    ranges = given.variable or ()
    if len(ranges) > _GUEST_RANGES_MAX:
        log.add("warn", f"Trying to overwrite MTRR state with {len(ranges)} variable entries")
        ranges = ranges[:_GUEST_RANGES_MAX]

    state.variable = [[*it] for it in ranges]
    state.count = len(ranges)
    state.default = given.default
    state.enabled = MTRR_ENABLED

    return state


def warn_of_differences(back: State, log: KernelLog) -> None:
    """Tell, late in boot, if a CPU held something else than the kernel (mtrr_state_warn)."""
    if not back.changes:
        return

    for kind, words in (
        ("fixed", "fixed MTRR"),
        ("variable", "variable MTRR"),
        ("default", "MTRRdefType"),
    ):
        if kind in back.changes:
            log.add("warn", f"mtrr: your CPUs had inconsistent {words} settings")

    log.add("info", "mtrr: probably your BIOS does not setup all CPUs.")
    log.add("info", "mtrr: corrected configuration.")


def _find_legacy(machine: LinuxMachine, cpus: Cpus) -> BackEnd | None:
    if machine.bits == 64:
        return None

    if machine.vendor == "AMD" and "k6_mtrr" in machine.features:
        return K6Ranges(cpus)

    if machine.vendor == "Centaur" and "centaur_mcr" in machine.features:
        return CentaurRanges(cpus, dict(machine.mcr))

    if machine.vendor == "Cyrix" and "cyrix_arr" in machine.features:
        return CyrixRanges(machine, cpus)

    return None
