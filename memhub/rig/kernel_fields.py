"""What recorded answers of other kernels were asked: its fields, each with one type by its name.

What was answered is not looked at here: an answer of another type is a mismatch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from memhub.rig.json_values import checked

if TYPE_CHECKING:
    from collections.abc import Mapping

    Json = Mapping[str, Any]


def _by_name(**names: str) -> dict[str, type]:
    kinds = {"objects": dict, "lists": list, "texts": str, "truths": bool, "numbers": int}

    return {name: kinds[kind] for kind, said in names.items() for name in said.split()}


#: Registers by number; `ap_msr` has those of each CPU.
_REGISTERS: Final = frozenset({"conf", "msr"})
_MACHINE: Final[Mapping[str, type]] = _by_name(
    objects="ap_msr boot conf cpu msr",
    lists="bridge features mcr options ram steps",
    texts="arch kind vendor",
    truths="cpuid_width debug hypervisor no_cpuid_width nopat pat strict",
    numbers="cpus default family high_memory model phys_bits stepping",
)
_STEP: Final[Mapping[str, type]] = _by_name(
    texts="data op want",
    truths="admin bad_pointer increment native no_memory range_allowed root substitute sync",
    numbers="abi base end fd handle n pfn pid reg regnum size start type",
)


def check_fields(raw: Json) -> None:
    """Look at what a scenario says of the machine and of each step; unknown fields pass.

    Raises:
        ValueError: a step has no operation.
        TypeError: a field is of another type; names it, its step, its value and the type.
    """
    _check_object(raw, _MACHINE, "")
    for number, step in enumerate(raw.get("steps", ())):
        where = f"step {number}"
        checked(step, where, dict)
        if "op" not in step:
            raise ValueError(f"{where}: 'op' is missing")

        _check_object(step, _STEP, f"{where}: ")


def _check_object(raw: Json, kinds: Mapping[str, type], where: str) -> None:
    for name, value in raw.items():
        kind = kinds.get(name)
        if kind is None:
            continue

        checked(value, f"{where}{name}", kind)
        if name in _REGISTERS:
            _check_registers(value, f"{where}{name}")
        elif name == "ap_msr":
            for cpu, own in value.items():
                _check_registers(checked(own, f"ap_msr.{cpu}", dict), f"ap_msr.{cpu}")
        elif kind is dict:
            _check_object(value, kinds, f"{where}{name}.")


def _check_registers(raw: Json, where: str) -> None:
    for number, value in raw.items():
        checked(value, f"{where}.{number}", int)
