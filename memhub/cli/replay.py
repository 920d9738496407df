"""Replay recorded answers through the installed architectures and kernels.

FILEs are conformance traces or machines' texts, plain or gzip. Every mismatch is printed; the last
line has the counts. A machine's text counts one step for its table, one for its registers and one
for each address; the other kinds, one for each step or address. A line before the last counts, by
the reason, the steps that are not judged.

exit codes: 0 no mismatch, 1 some or a file is not understood, 2 a file could not be read
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    from memhub.arches import Registry
    from memhub.cli.terminal import Progress
    from memhub.core.spec import MachineSpec
    from memhub.kernels import KernelBook
    from memhub.rig import Mismatch


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub replay`."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a trace file")
    parser.add_argument("--arch", help="replay on this architecture (by scenario)")
    parser.add_argument("--json", action="store_true", help="one object")
    chosen = parser.parse_args(arguments)

    from memhub.arches import load_arches
    from memhub.cli.terminal import complain, print_json, print_line, progress
    from memhub.kernels import load_kernels

    arches = load_arches()
    run = _Run(arches, load_kernels(), chosen.arch)
    if chosen.arch is not None:
        arches[chosen.arch]

    for name in chosen.files:
        before = len(run.errors)
        with progress(f"replay {Path(name).name}") as tell:
            found = run.file(name, tell)

        # not beside the bar, which is on a line of its own
        for error in run.errors[before:]:
            complain(error)

        for mismatch in () if chosen.json else found:
            print_line(str(mismatch))

    if chosen.json:
        print_json(run.facts())
    else:
        for reason, count in sorted(run.unjudged.items()):
            print_line(f"not judged: {reason}: {count}")

        print_line(run.last_line())

    if run.unreadable:
        return 2

    return int(bool(run.mismatches or run.errors))


@dataclass
class _Run:
    arches: Registry
    kernels: KernelBook
    arch: str | None
    scenarios: int = 0
    steps: int = 0
    mismatches: list[Mismatch] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    unreadable: bool = False
    unjudged: Counter[str] = field(default_factory=Counter)
    by_arch: dict[str, int] = field(default_factory=dict)

    def file(self, name: str, tell: Progress) -> list[Mismatch]:
        """Replay one file; what is wrong with it is kept in `errors`.

        Returns:
            its mismatches.
        """
        from memhub.arches import ArchNotInstalled
        from memhub.rig import TraceError, trace_lines

        number, before = 0, len(self.mismatches)
        try:
            lines = trace_lines(Path(name))
            if not lines:
                raise TraceError("it has no traces")

            for number, line in enumerate(lines, 1):
                self._print_line(line)
                tell(number, len(lines))

        except OSError as error:
            self.unreadable = True
            self.errors.append(f"{name}: {error.strerror}")
        except (TraceError, ArchNotInstalled) as error:
            where = f"{name}: trace {number}" if number else name
            self.errors.append(f"{where}: {error}")

        return self.mismatches[before:]

    def _print_line(self, line: bytes) -> None:
        from memhub.rig import parse_trace, replay

        done = replay(parse_trace(line, self.arch), self.arches, _machine_of, self.kernels)
        self.scenarios += 1
        self.steps += done.steps
        self.by_arch[done.arch] = self.by_arch.get(done.arch, 0) + 1
        self.mismatches += done.mismatches
        self.unjudged += done.unjudged

    def last_line(self) -> str:
        """The counts, in a fixed form that scripts can search for."""
        found = len(self.mismatches)

        return f"scenarios={self.scenarios} steps={self.steps} mismatches={found}"

    def facts(self) -> dict[str, Any]:
        """The same as plain data."""
        return {
            "scenarios": self.scenarios,
            "steps": self.steps,
            "mismatches": len(self.mismatches),
            "not_judged": dict(self.unjudged),
            "arches": self.by_arch,
            "details": [asdict(mismatch) for mismatch in self.mismatches],
            "errors": self.errors,
        }


def _machine_of(text: str, phys_bits: int, arch: str) -> MachineSpec:
    from memhub.config import import_dump

    return import_dump(text, phys_bits=phys_bits, arch=arch).spec
