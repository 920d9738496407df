"""What a machine of a hub says of its Linux: the options that it takes, and what it boots on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from memhub.plugin.kernels import KernelMachine, OptionError
from memhub_linux.machine import LinuxMachine
from memhub_linux.pat.boot import PAT_REGISTER
from memhub_linux.releases import LINUX_6_18
from memhub_linux.served.firmware_options import read_conf, read_cpus, read_guest, read_ranges
from memhub_linux.served.frozen import LinuxSetting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from memhub.plugin.kernels import Cpu
    from memhub_linux.releases import Release

_FEATURES: Final = ("mtrr", "k6_mtrr", "cyrix_arr", "centaur_mcr", "pat", "xenpv")
#: The parameter that asks for the planner of slots at boot.
_PLANNER: Final = "enable_mtrr_cleanup"
#: The first family whose processors have MTRRs.
_MTRR_FAMILY: Final = 6
#: The models of AMD's family 5 that have the K6's ranges; of the first, from this stepping on.
_K6_MODELS: Final = (8, 9, 13)
_K6_STEPPING: Final = 8
#: Intel's first model of family 6 with a PAT register, the Pentium III.
_PAT_MODEL: Final = 7
#: The PAT register after power-on.
_PAT_AT_POWER_ON: Final = 0x0007040600070406
#: The PAT register as Xen sets it, which its guests rely on (Xen `asm/processor.h`, XEN_MSR_PAT).
_PAT_OF_XEN: Final = 0x0000050100070406


def setting_of(machine: KernelMachine, release: Release = LINUX_6_18) -> LinuxSetting:
    """What the kernel runs on.

    Args:
        machine: what the hub's machine is.
        release: the kernel's release.

    Raises:
        OptionError: an option is none of the kernel's, or has a wrong value.
        ValueError: the machine is no x86 one.
    """
    if not machine.x86:
        raise ValueError("Linux is served on x86 machines: others have no MTRRs")

    options = {name: read(machine.options.get(name)) for name, read in OPTIONS.items()}
    for name, value in machine.options.items():
        if name not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise OptionError(name, f"is not an option of Linux (known: {known})")

        if value is not None and isinstance(options[name], _Wrong):
            raise OptionError(name, f"{value!r} {options[name].why}")

    words = [name for name, _ in options["cmdline"] or ()]
    if release.old_registers and _PLANNER in words:
        raise OptionError("cmdline", f"has {_PLANNER}, and only Linux 6.18's planner is known")

    cpu = machine.cpu
    last = max(options["cpus"] or (0,))
    if last >= cpu.count:
        raise OptionError("cpus", f"there is no CPU {last}: the machine has {cpu.count}")

    family, model, stepping = split_signature(cpu.signature)
    given = options["features"]
    features = _features(cpu) if given is None else frozenset(given)
    guest = options["guest"]
    if guest is not None and guest.hypervisor and guest.kind == "xenpv":
        features |= {"xenpv"}

    msrs, pat = machine.msrs, options["pat"]
    page_attributes: Literal["", "booted", "given"] = ""
    if not release.old_registers:
        page_attributes = "booted" if pat is None else "given"

    if page_attributes == "booted":
        palette = _PAT_OF_XEN if "xenpv" in features else _PAT_AT_POWER_ON
        msrs = {PAT_REGISTER: palette} | dict(msrs) if "pat" in features else msrs
        pat = "pat" in features and "nopat" not in words and bool(msrs.get(PAT_REGISTER))

    return LinuxSetting(
        machine=LinuxMachine(
            bits=machine.bits,
            vendor=cpu.vendor,
            family=family,
            model=model,
            stepping=stepping,
            phys_bits=cpu.phys_bits,
            features=features,
            options=tuple(options["cmdline"] or ()),
            pat=pat is not False,
            bridge=options["bridge"],
            release=release,
            guest=guest,
            mcr=options["mcr"] or (),
            width_leaf=options["width_leaf"] is not False,
        ),
        count=cpu.count,
        strict=options["strict"] is not False,
        msrs=msrs,
        differences=machine.differences or options["cpus"] or {},
        conf=options["conf"] or {},
        page_attributes=page_attributes,
    )


def split_signature(signature: int) -> tuple[int, int, int]:
    """Family, model and stepping of a CPUID signature (Linux `arch/x86/lib/cpu.c`)."""
    family, model = signature >> 8 & 0xF, signature >> 4 & 0xF
    if family == 0xF:
        family += signature >> 20 & 0xFF

    if family >= 6:
        model += (signature >> 16 & 0xF) << 4

    return family, model, signature & 0xF


def join_signature(family: int, model: int, stepping: int) -> int:
    """The CPUID signature of a processor; the opposite of `split_signature`."""
    low = min(family, 0xF)

    return (family - low) << 20 | model >> 4 << 16 | low << 8 | (model & 0xF) << 4 | stepping


def _features(cpu: Cpu) -> frozenset[str]:
    """Which ranges the kernel finds on a processor (`cpu/amd.c`, `cyrix.c`, `centaur.c`)."""
    family, model, stepping = split_signature(cpu.signature)
    if cpu.mtrr and family >= _MTRR_FAMILY:
        old = cpu.vendor == "Intel" and family == _MTRR_FAMILY and model < _PAT_MODEL
        return frozenset({"mtrr"} if old else {"mtrr", "pat"})

    newer = model > _K6_MODELS[0] or stepping >= _K6_STEPPING
    if cpu.vendor == "AMD" and family == 5 and model in _K6_MODELS and newer:
        return frozenset({"k6_mtrr"})

    if cpu.vendor == "Centaur" and family == 5:
        return frozenset({"centaur_mcr"})

    if cpu.vendor == "Cyrix" and family == 6:
        return frozenset({"cyrix_arr"})

    return frozenset()


# Options


class _Wrong:
    """An option's value that breaks a rule."""

    def __init__(self, why: str) -> None:
        self.why = why


def _cmdline(value: object) -> object:
    if value is None or not isinstance(value, str):
        return None if value is None else _Wrong("is not a text of the kernel's parameters")

    words = [word.partition("=") for word in value.split()]

    return [(name, setting) for name, _, setting in words]


def _boolean(value: object) -> object:
    return value if value is None or isinstance(value, bool) else _Wrong("is not true or false")


def _bridge(value: object) -> object:
    if value is None:
        return None

    why = "is not VENDOR:DEVICE:REVISION in hexadecimal, as 8086:84ca:3"
    try:
        vendor, device, revision = (int(part, 16) for part in str(value).split(":"))
    except ValueError:
        return _Wrong(why)

    fits = 0 <= vendor <= 0xFFFF and 0 <= device <= 0xFFFF and 0 <= revision <= 0xFF

    return (vendor, device, revision) if fits else _Wrong(why)


def _feature_words(value: object) -> object:
    if value is None:
        return None

    words = value.split() if isinstance(value, str) else value
    if isinstance(words, list | tuple) and all(word in _FEATURES for word in words):
        return tuple(words)

    return _Wrong(f"is not some of {', '.join(_FEATURES)}")


def _read(read: Callable[[object], object]) -> Callable[[object], object]:
    """A reader of an option that may be missing."""

    def read_option(value: object) -> object:
        try:
            return None if value is None else read(value)
        except ValueError as error:
            return _Wrong(str(error))

    return read_option


#: What reads each option; a `_Wrong` says what is wrong with its value.
OPTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "cmdline": _cmdline,
    "pat": _boolean,
    "bridge": _bridge,
    "strict": _boolean,
    "features": _feature_words,
    "cpus": _read(read_cpus),
    "guest": _read(read_guest),
    "conf": _read(read_conf),
    "mcr": _read(read_ranges),
    "width_leaf": _boolean,
}
