"""The machine of a configuration file that a command works on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed

if TYPE_CHECKING:
    import argparse

    from memhub.core.machine import Machine


def add_machine_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `--config` and `--machine`."""
    parser.add_argument("--config", required=True, metavar="FILE", help="the TOML file")
    parser.add_argument("--machine", metavar="NAME", help="which of its machines")


def fresh_machine(config: str, name: str | None) -> Machine:
    """Start one machine of a configuration file.

    Args:
        config: the file.
        name: the machine; None takes the file's default one.

    Raises:
        ConfigError: the file is faulty.
        CommandFailed: there is no machine of that name, or none was named and there are several.
    """
    from memhub.arches import load_arches
    from memhub.config import load_config
    from memhub.core.machine import Machine

    arches = load_arches()
    loaded = load_config(config, arches=arches)
    known = ", ".join(loaded.machines)
    chosen = name or loaded.default
    if chosen is None:
        raise CommandFailed(f"{config}: say which machine with --machine ({known})")

    if chosen not in loaded.machines:
        raise CommandFailed(f"{config}: there is no machine {chosen!r} (there are {known})")

    spec = loaded.machines[chosen]

    return Machine.make(spec, arches[spec.arch])
