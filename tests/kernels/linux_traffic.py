"""Random requests to a machine whose kernel is Linux, through its files and by its drivers."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

from memhub import Hub, Region
from memhub.abi import ILP32, LP64
from memhub.core.files import Principal
from memhub.core.requests import ClaimRange, Open, Pread, Read, Seek, Write
from memhub.core.spec import MachineSpec
from memhub.engine.lifecycle import close_file, open_file
from memhub.errors import DeviceError
from memhub.faces import linux
from memhub.plugin import Cpu

if TYPE_CHECKING:
    from memhub.audit import AuditLog

MIB = 1 << 20
LIST = "/sys/kernel/debug/x86/pat_memtype_list"
TYPES = (b"uncachable", b"write-combining", b"write-back", b"write-through", b"?", b"nonsense")
#: Two CPUs, eight registers, one of them with an odd mask of firmware's.
MSRS = {
    0xFE: 0x508,
    0x2FF: 0xC00,
    0x200: 0x6,
    0x201: 0xF80000800,
    0x202: 0xC0000000,
    0x203: 0xFF0000800,
    0x204: 0x90000001,
    0x205: 0xFFFF00800,
    0x206: 0xA0000000,
    0x207: 0x7F0000800,
}
SPEC = MachineSpec(
    name="pc",
    arch="amd64",
    cpu=Cpu(count=2),
    msrs=MSRS,
    memory=(Region(base=0, length=32 * MIB),),
    kernel="linux-6.18",
)


class LinuxTraffic:
    """Some processes that open `/proc/mtrr`, and what they ask.

    Args:
        seed: of the draws.
        log: the hub's log.
        spec: the machine.
        claims: the chance of a claim where one might be made.
    """

    def __init__(
        self,
        seed: int,
        log: AuditLog | None = None,
        spec: MachineSpec = SPEC,
        claims: float = 0.2,
    ) -> None:
        self.rng = Random(seed)
        self.claims = claims
        self.hub = Hub([spec], log=log)
        self.hub.begin()
        self.machine = self.hub.machines[spec.name]
        self.engine = self.hub.engine
        self.processes = [Principal(number, f"p{number}", 100 + number) for number in (1, 2, 3)]
        self.files: list[int] = []
        self.refused: list[DeviceError] = []

    def step(self) -> None:
        """Ask something; what is refused is kept."""
        acts = [self._write] * 4 + [self._ioctl] * 6 + [self._read] * 2 + [self._open] * 2
        acts += [self._close, self._seek, self._drive, self._claim, self._memory, self._reserve]
        try:
            self.rng.choice(acts)()
        except DeviceError as error:
            self.refused.append(error)

    def ask_any(self) -> None:
        """Ask the kernel something through a file; what is refused is kept."""
        try:
            self.rng.choice([self._write, self._ioctl, self._read, self._seek])()
        except DeviceError as error:
            self.refused.append(error)

    def _open(self) -> None:
        path = self.rng.choice(["/proc/mtrr"] * 5 + ["/dev/mem", "/dev/kmem", LIST])
        model = self.rng.choice([LP64, LP64, ILP32])
        mode = self.rng.choice(["r", "r+", "r+", "w"])
        request = Open(self.rng.choice(self.processes), path, mode, model=model)
        self.files.append(open_file(self.engine, request))

    def _any(self) -> int:
        if not self.files:
            self._open()

        return self.rng.choice(self.files)

    def _close(self) -> None:
        if self.files:
            number = self.files.pop(self.rng.randrange(len(self.files)))
            close_file(self.engine, number)

    def _span(self) -> tuple[int, int]:
        size = self.rng.choice([4096, 64 << 10, MIB, 4 * MIB, 16 * MIB, 12 << 10, 0])
        base = self.rng.choice([0x90000000, 0xC0000000, 0xD0000000, 0xE0000000, 1 << 36])

        return base + self.rng.choice([0, 0, size, 2 * size, 100]), size

    def _write(self) -> None:
        base, size = self._span()
        line = b"base=0x%x size=0x%x type=%s\n" % (base, size, self.rng.choice(TYPES))
        line = self.rng.choice([line, line, line, b"disable=%d" % self.rng.randrange(10), b""])
        self.engine.submit(Write(self._any(), line))

    def _ioctl(self) -> None:
        handle = self._any()
        model = self.machine.files[handle].model
        command = self.rng.choice(linux.COMMANDS)
        base, size = self._span()
        if command.startswith("GET"):
            op = linux.pack_query(self.rng.randrange(10), model=model)
        else:
            shift = 12 if command.endswith("PAGE") else 0
            type_ = self.rng.choice([0, 1, 1, 4, 6, 2, 9])
            base = base & 0xFFFFFFFF if model is ILP32 else base
            op = linux.pack_entry(base >> shift, size >> shift, type_, model=model)

        number = linux.mtrr_layout(model).numbers[command]
        number = self.rng.choice([number] * 9 + [5])
        self.engine.submit(linux.ask_mtrr(model, handle, number, op))

    def _read(self) -> None:
        length = self.rng.choice([0, 1, 40, 4096, -1])
        if self.rng.random() < 0.3:
            self.engine.submit(Pread(self._any(), length, self.rng.choice([0, 10, 100, 1 << 63])))
        else:
            self.engine.submit(Read(self._any(), length))

    def _seek(self) -> None:
        self.engine.submit(Seek(self._any(), self.rng.choice([0, 20, -5]), self.rng.randrange(4)))

    def _reserve(self) -> None:
        base, size = self._span()
        start = self.rng.choice([base, MIB + (base & 0xFF000)])  # no RAM, and RAM
        want = self.rng.choice(["WB", "WC", "UC-", "UC", "WT", "WP"])
        op = self.rng.choice(["memtype_reserve", "memtype_reserve_io", "memtype_free"])
        args: dict[str, Any] = {"start": start, "end": start + size}
        if op != "memtype_free":
            args["want"] = want

        self.hub.kernels.call(op, **args)

    def _drive(self) -> None:
        base, size = self._span()
        kernels = self.hub.kernels
        calls: list[tuple[str, dict[str, Any]]] = [
            ("add", {"base": base, "size": size, "type": 1, "increment": True}),
            ("del", {"reg": -1, "base": base, "size": size}),
            ("lookup", {"start": base, "end": base + size}),
            ("save_fixed", {}),
        ]
        if self.rng.random() < 0.2:
            self.hub.hardware.suspend()
            with suppress(DeviceError):
                self._write()
            self.hub.hardware.resume()
        else:
            op, args = self.rng.choice(calls)
            kernels.call(op, **args)

    def _claim(self) -> None:
        base, size = self._span()
        if self.rng.random() < self.claims:
            self.engine.submit(ClaimRange(self._any(), base & ~0xFFF, size))

    def _memory(self) -> None:
        handle = self._any()
        if self.machine.files[handle].caller.device == "mem":
            self.engine.submit(Pread(handle, 8, 0x1000))
