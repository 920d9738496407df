"""The processor that a text names.

Source: Linux `arch/x86/kernel/cpu/common.c` (print_cpu_info), `proc.c` (/proc/cpuinfo); AMD's
processor recognition note for the K6 names.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from memhub.core.drivers.driver import Cpu

if TYPE_CHECKING:
    from collections.abc import Sequence

_SIGNATURE: Final = re.compile(
    r"\(fam(?:ily)?: (?:0x)?([0-9a-f]{1,3}), model: (?:0x)?([0-9a-f]{1,2})"
    r"(?:, stepping: (?:0x)?([0-9a-f]{1,2}))?\)",
    re.I,
)
_NAMED: Final = re.compile(r"\bCPU[0-9]{0,3}: (?=[a-z(])", re.I)
_STEPPING: Final = re.compile(r" stepping ([0-9a-f]{1,2})$", re.I)
_INFO: Final = re.compile(r"^(vendor_id|cpu family|model|stepping) ?: ?([a-z0-9]{1,12})$", re.I)
_K6: Final = re.compile(r"\bAMD[- ]K6\b|\bAMD K6\b|\bAMD-K6\(tm\)", re.I)

#: A part of a K6's name to its model number, longer parts first.
_K6_MODELS: Final = (("2+", 0xD), ("III+", 0xD), ("-III", 9), ("3D+", 9), ("3D", 8))
_K6_STEPPING: Final = 0xC
#: A Ryzen, of family 17h: what prints TOM2 and does not say more is of family Fh or later.
_AMD_SIGNATURE: Final = 0x800F11


#: The architectures whose driver serves no other processor than an AMD K6.
K6_DRIVERS: Final = frozenset({"k6", "openbsd-k6"})


class _Named(NamedTuple):
    vendor: str
    signature: int | None


def parse_cpu(
    lines: Sequence[str], phys_bits: int, *, arch: str, tom2: int, oddities: list[str]
) -> Cpu:
    """The boot processor as far as the text tells it; otherwise a usual one.

    Args:
        lines: the text.
        phys_bits: physical address width.
        arch: the machine's architecture: the K6's driver serves no other processor.
        tom2: top of the memory above 4 GiB that is write-back by default; AMD's alone.
        oddities: receives what had to be assumed.
    """
    named = _by_signature(lines) or _by_cpuinfo(lines) or _by_name(lines)
    if named is not None and named.signature is not None:
        return Cpu(vendor=named.vendor, signature=named.signature, phys_bits=phys_bits, tom2=tom2)

    if arch in K6_DRIVERS:
        signature = _cpuid_signature(5, 8, _K6_STEPPING)
        oddities.append(f"assumed: an AMD K6-2 (signature {signature:#x}), as the driver is {arch}")
        return Cpu(vendor="AMD", signature=signature, phys_bits=phys_bits, tom2=tom2)

    if tom2 or (named is not None and named.vendor == "AMD"):
        return Cpu(vendor="AMD", signature=_AMD_SIGNATURE, phys_bits=phys_bits, tom2=tom2)

    return Cpu(phys_bits=phys_bits)


def is_k6(lines: Sequence[str]) -> bool:
    """Whether the text names a K6, whose addresses have 32 bits."""
    return any(_K6.search(line) for line in lines)


def _by_signature(lines: Sequence[str]) -> _Named | None:
    for line in lines:
        match = _SIGNATURE.search(line)
        start = line.find("CPU0: ") if "CPU0: " in line else line.find("CPU: ")
        if match is None or start < 0:
            continue

        family, model = int(match[1], 16), int(match[2], 16)

        return _Named(
            "AMD" if "AMD" in line[start : match.start()] else "Intel",
            _cpuid_signature(family, model, int(match[3] or "0", 16)),
        )

    return None


def _by_cpuinfo(lines: Sequence[str]) -> _Named | None:
    found: dict[str, str] = {}
    for line in lines:
        if match := _INFO.match(line):
            found.setdefault(match[1].lower(), match[2])

    try:
        family, model = int(found["cpu family"]), int(found["model"])
        stepping = int(found.get("stepping", "0"))
    except (KeyError, ValueError):
        return None

    vendor = "AMD" if "AMD" in found.get("vendor_id", "") else "Intel"

    return _Named(vendor, _cpuid_signature(family, model, stepping))


def _by_name(lines: Sequence[str]) -> _Named | None:
    for line in lines:
        match = _NAMED.search(line)
        if match is None:
            continue

        name = line[match.end() :]
        if _K6.match(name):
            stepping = _STEPPING.search(name)
            model = next((number for word, number in _K6_MODELS if word in name), 7)
            low = int(stepping[1], 16) if stepping else 0
            return _Named("AMD", _cpuid_signature(5, model, low))

        if name.startswith(("AMD", "Intel")):
            return _Named("AMD" if name.startswith("AMD") else "Intel", None)

    return None


def _cpuid_signature(family: int, model: int, stepping: int) -> int:
    """CPUID leaf 1, EAX."""
    signature = stepping & 0xF | (model & 0xF) << 4 | (model >> 4 & 0xF) << 16

    return signature | min(family, 0xF) << 8 | (max(family - 0xF, 0) & 0xFF) << 20
