"""A machine's description as JSON text, both ways: the `config` of its first record.

A later version adds members. A reader takes what it knows, and gives what is not there its
default, so that it reads the logs of earlier versions.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import orjson

from memhub.core.cache_limits import CacheLimits
from memhub.core.drivers.driver import Cpu
from memhub.core.drivers.served_kernel import FREEBSD
from memhub.core.kernel import KernelLayout
from memhub.core.spec import DeviceSpec, KernelEntry, KernelMapping, MachineSpec, Region

if TYPE_CHECKING:
    from collections.abc import Mapping


def describe_spec(spec: MachineSpec) -> str:
    """A machine's description as JSON text; its registers have columns of their own."""
    cpu, entries, kernel = spec.cpu, spec.kmem_entries, spec.layout

    return orjson.dumps(
        {
            "cpu": {
                "vendor": cpu.vendor,
                "signature": cpu.signature,
                "phys_bits": cpu.phys_bits,
                "mtrr": cpu.mtrr,
                "tom2": cpu.tom2,
                **({} if cpu.count == Cpu().count else {"count": cpu.count}),
            },
            "options": dict(spec.options),
            "memory": [[r.base, r.length, r.kind] for r in spec.memory],
            **_describe_contents(spec),
            "kmem": [[m.virtual, m.physical, m.length, m.writable] for m in spec.kmem],
            "kmem_entries": None
            if entries is None
            else [[e.virtual, e.length, e.readable, e.writable] for e in entries],
            # 2**64 does not fit a number that all readers take
            "kernel": None
            if kernel is None
            else {name: None if it is None else hex(it) for name, it in asdict(kernel).items()},
            "symbols": dict(spec.symbols),
            "securelevel": spec.securelevel,
            "wp_writes": spec.wp_writes,
            "upages": spec.upages,
            "commit_latency": spec.commit_latency,
            "firmware": spec.firmware,
            **_describe_caches(spec),
            **_describe_kernel(spec),
            **_describe_devices(spec),
        }
    ).decode()


def spec_of(name: str, arch: str, config: str, msrs: Mapping[int, int]) -> MachineSpec:
    """The machine that a description describes; the bytes of its memory are not in it.

    Args:
        name: the machine's name.
        arch: its architecture's name.
        config: what `describe_spec` has made.
        msrs: its registers by number.

    Raises:
        KeyError: a member is not there that every version has written.
        ValueError: `config` is not JSON, or describes no machine.
    """
    facts: dict[str, Any] = orjson.loads(config)
    entries, kernel = facts.get("kmem_entries"), facts.get("kernel")

    return MachineSpec(
        name=name,
        arch=arch,
        cpu=Cpu(**facts["cpu"]),
        msrs=_firmware_of(facts, msrs),
        options=facts["options"],
        memory=tuple(Region(base=b, length=n, kind=kind) for b, n, kind in facts["memory"]),
        kmem=tuple(
            KernelMapping(virtual=v, physical=p, length=n, writable=w)
            for v, p, n, w in facts["kmem"]
        ),
        kmem_entries=None
        if entries is None
        else tuple(
            KernelEntry(virtual=v, length=n, readable=r, writable=w) for v, n, r, w in entries
        ),
        kernel=facts.get("runs") if kernel is None else _layout_of(kernel),
        kernel_options=facts.get("kernel_options", {}),
        symbols=facts.get("symbols", {}),
        securelevel=facts["securelevel"],
        wp_writes=facts["wp_writes"],
        upages=facts["upages"],
        commit_latency=facts["commit_latency"],
        firmware=facts.get("firmware", "described"),
        coherent=facts.get("coherent", True),
        bus=facts.get("bus", "snooping"),
        caches=CacheLimits(**facts.get("caches", {})),
        devices=tuple(DeviceSpec(**it) for it in facts.get("devices", ())),
    )


def _describe_contents(spec: MachineSpec) -> dict[str, Any]:
    """Where the memory holds something at the start, and of what; not the bytes."""
    if not spec.contents:
        return {}

    return {"contents": [[it.base, it.end - it.base, it.source] for it in spec.contents]}


def _describe_caches(spec: MachineSpec) -> dict[str, Any]:
    """What only a machine has that is not coherent."""
    if spec.coherent:
        return {}

    return {"coherent": False, "bus": spec.bus, "caches": asdict(spec.caches)}


def _describe_kernel(spec: MachineSpec) -> dict[str, Any]:
    """What only a machine of another kernel has: it boots on registers that it then changes."""
    if spec.kernel_name == FREEBSD:
        return {}

    return {
        "runs": spec.kernel_name,
        "kernel_options": dict(spec.kernel_options),
        "firmware_msrs": {f"{number:#x}": f"{it:#x}" for number, it in spec.msrs.items()},
    }


def _firmware_of(facts: Mapping[str, Any], msrs: Mapping[int, int]) -> Mapping[int, int]:
    given = facts.get("firmware_msrs")

    return msrs if given is None else {int(it, 16): int(given[it], 16) for it in given}


def _describe_devices(spec: MachineSpec) -> dict[str, Any]:
    """What only a machine has that declares devices."""
    rows = [{**asdict(it), "options": dict(it.options)} for it in spec.devices]

    return {"devices": rows} if rows else {}


def _layout_of(kernel: Mapping[str, str | None]) -> KernelLayout:
    numbers: dict[str, Any] = {
        name: None if it is None else int(it, 16) for name, it in kernel.items()
    }

    return KernelLayout(**numbers)
