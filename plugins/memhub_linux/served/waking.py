"""What happens to a machine of a hub, and not to its requests: a sleep, and CPUs set up again.

Sources: Linux 6.18 `arch/x86/power/cpu.c` (__save_processor_state: mtrr_save_fixed_ranges),
`arch/x86/kernel/cpu/cacheinfo.c` (cache_cpu_init, which each CPU passes that starts:
mtrr_generic_set_state and pat_cpu_init) and `mtrr/legacy.c` (mtrr_save, mtrr_restore); Linux 2.6.32
`mtrr/main.c` (the same, and mtrr_ap_init).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.plugin.x86 import registers_of_slot
from memhub_linux.registers.legacy import CENTAUR_BASE, K6_REGISTER
from memhub_linux.served.memtype_calls import restore_palette

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub_linux.mtrr.layer import LinuxMtrr
    from memhub_linux.served.frozen import LinuxSetting

    Json = Mapping[str, Any]

_U32: Final = 0xFFFFFFFF
_NO_RANGES: Final = "Linux has no ranges to store here: they are off, absent or a hypervisor's"
_LEGACY: Final = "Linux stores the ranges of K6, Centaur and Cyrix again at a resume only"


def _suspend(_: LinuxSetting, kernel: LinuxMtrr, _memtype: Json | None, _args: Json) -> None:
    kernel.suspend()


def _resume(setting: LinuxSetting, kernel: LinuxMtrr, memtype: Json | None, args: Json) -> None:
    found = args.get("found", {})
    kernel.cpus.woken = {
        int(cpu): {int(number, 16): int(value, 16) for number, value in own.items()}
        for cpu, own in found.items()
    }
    kernel.resume(setting.msrs, setting.conf)
    _restore_palette(setting, kernel, memtype)


def _reinit(setting: LinuxSetting, kernel: LinuxMtrr, memtype: Json | None, _args: Json) -> None:
    """Let every CPU store the kernel's state, as each does that starts."""
    if kernel.booted.state is not None and kernel.back is not None:
        kernel.booted.state.store_everywhere()
        _restore_palette(setting, kernel, memtype)


#: What happens to the machine, by the call: of its setting, its kernel, that one's reservations and
#: the call's arguments.
MACHINE_CALLS: Final[Mapping[str, Callable[[LinuxSetting, LinuxMtrr, Json | None, Json], None]]] = {
    "suspend": _suspend,
    "resume": _resume,
    "reinit": _reinit,
}


def _restore_palette(setting: LinuxSetting, kernel: LinuxMtrr, memtype: Json | None) -> None:
    own = "xenpv" not in setting.machine.features  # under Xen the register is Xen's
    if own and memtype is not None and setting.page_attributes == "booted":
        restore_palette(kernel, memtype)


def why_no_reinit(own: Json) -> str:
    """The rule by which a kernel never stores its ranges again while it runs; empty where it does.

    Args:
        own: the kernel's variables.
    """
    return {"mtrr": "", "": _NO_RANGES}.get(own["back_end"], _LEGACY)


def slot_registers(own: Json, register: int) -> tuple[tuple[int, int], ...]:
    """The MSRs that hold a range, each with its bits; a Cyrix has indexed registers instead.

    Args:
        own: the kernel's variables.
        register: its number, as `/proc/mtrr` counts.
    """
    if own["back_end"] == "mtrr":
        return tuple(registers_of_slot(register, 0))

    held: Mapping[str, tuple[tuple[int, int], ...]] = {
        "k6": ((K6_REGISTER, _U32 << 32 * register),),
        "mcr": ((CENTAUR_BASE + register, 0xFFFFFFFFFFFFFFFF),),
    }

    return held.get(own["back_end"], ())
