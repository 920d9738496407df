"""A machine whose memory holds the small kernel of `tests/data/kvm`."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from memhub import KernelMapping, MachineSpec, Region
from memhub.core.spec import Content
from memhub.images import load_image
from memhub.kvm import read_symbols

KERNEL = Path(__file__).parents[1] / "data" / "kvm" / "kernel"
BASE = 0xFFFFFFFF80200000
#: Behind the kernel: a page that is only read, one at another place, then nothing.
READ_ONLY, APART, NOTHING = BASE + 0x1000, BASE + 0x2000, BASE + 0x3000

MAPPINGS = (
    KernelMapping(virtual=BASE, physical=0x200000, length=0x1000),
    KernelMapping(virtual=READ_ONLY, physical=0x201000, length=0x1000, writable=False),
    KernelMapping(virtual=APART, physical=0x300000, length=0x1000),
)


@cache
def _kernel() -> tuple[tuple[Content, ...], dict[str, int]]:
    """Its contents and symbols, which are read once."""
    return load_image(KERNEL), read_symbols(KERNEL)


def kernel_machine(name: str = "pc", **more: object) -> MachineSpec:
    """A machine that runs the kernel."""
    contents, symbols = _kernel()
    given = {
        "contents": (*contents, Content(base=0x300000, data=b"apart")),
        "symbols": symbols,
        "memory": (Region(base=0, length=0xA0000), Region(base=0x100000, length=16 << 20)),
        "kmem": MAPPINGS,
        "msrs": {},
        **more,
    }

    return MachineSpec(name=name, arch="amd64", **given)  # type: ignore[arg-type]
