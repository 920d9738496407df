"""What a command works on: a running service, or fresh machines of a configuration file.

A command on a service imports only what it needs, so the imports are inside the functions.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from memhub.cli.failures import CommandFailed
from memhub.service.address import VARIABLE

if TYPE_CHECKING:
    import argparse
    import ssl

    from memhub.audit import AuditLog
    from memhub.service.blocking import BlockingClient
    from memhub.service.local import LocalClient

    Client = BlockingClient | LocalClient

#: The options of `add_target_arguments`, each with a value, for code that splits a command line.
OPTIONS = ("--connect", "--config", "--machine", "--ca", "--cert", "--token-file")


class Target(NamedTuple):
    """A client, and the machine that a command is about.

    Attributes:
        client: closed by the caller that opened the target.
        machine: its name; None for the default one.
        local: whether the machines are this command's own.
    """

    client: Client
    machine: str | None
    local: bool

    def path(self, device: str) -> str:
        """The name under which the client opens `mem` or `kmem` of the machine."""
        return self.file(f"/dev/{device}")

    def file(self, path: str) -> str:
        """The name under which the client opens a file of the machine, as `/proc/mtrr`."""
        return f"{self.machine}:{path}" if self.machine else path


def add_target_arguments(parser: argparse.ArgumentParser, *, files: bool = True) -> None:
    """Add `--connect`, `--config`, `--machine`, and the options for TCP.

    Args:
        parser: of the command.
        files: whether machines of a file will do; else `--config` is refused (`open_service`).
    """
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--connect", metavar="ADDRESS", help=f"a running service (default: ${VARIABLE})"
    )
    shown = "fresh machines of a TOML file instead" if files else "refused: it needs a service"
    where.add_argument("--config", metavar="FILE", help=shown)
    parser.add_argument("--machine", metavar="NAME", help="which machine (the default one)")
    tcp = parser.add_argument_group("over TCP (--connect tcp:HOST:PORT)")
    tcp.add_argument("--ca", metavar="FILE", help="TLS: who signs the service's certificate")
    tcp.add_argument("--cert", metavar="FILE", help="TLS: this client's certificate and its key")
    tcp.add_argument("--token-file", metavar="FILE", help="a file that holds this client's token")


def open_target(chosen: argparse.Namespace, label: str, *, log: AuditLog | None = None) -> Target:
    """Open what the arguments of `add_target_arguments` name; both override MEMHUB_SOCKET.

    Args:
        chosen: the parsed arguments.
        label: what the process is called.
        log: the audit log of machines of a file.

    Raises:
        CommandFailed: nothing is named, the service cannot be reached, or the file does not have
            the machine.
        ConfigError: the file is faulty.
    """
    if chosen.config is not None:
        return _local_target(chosen.config, chosen.machine, label, log)

    where = chosen.connect or os.environ.get(VARIABLE)
    if not where:
        raise CommandFailed(
            "name a running service with --connect ADDRESS or "
            f"{VARIABLE}, or a file of machines with --config FILE"
        )

    return Target(_connect_client(where, label, chosen), chosen.machine, local=False)


def open_service(chosen: argparse.Namespace, label: str, why: str) -> BlockingClient:
    """Open the service that the arguments of `add_target_arguments` name.

    Args:
        chosen: the parsed arguments.
        label: what the process is called.
        why: why a file of machines will not do, for the refusal.

    Raises:
        CommandFailed: as `open_target`, or a file of machines is named.
    """
    from memhub.service.blocking import BlockingClient

    if chosen.config is not None:
        raise CommandFailed(why)

    if not (chosen.connect or os.environ.get(VARIABLE)):
        raise CommandFailed(f"name a running service with --connect ADDRESS or {VARIABLE}")

    client = open_target(chosen, label).client
    assert isinstance(client, BlockingClient)

    return client


def _connect_client(where: str, label: str, chosen: argparse.Namespace) -> BlockingClient:
    from memhub.service.blocking import BlockingClient

    context, token = _tls_context(chosen), _read_token(chosen.token_file)
    try:
        return BlockingClient(where, label=label, token=token, ssl_context=context)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        from memhub.errors import DeviceError

        if isinstance(error, DeviceError):
            raise  # the service was reached and refuses with a reason

        raise CommandFailed(f"{where}: {error.strerror or error}") from error


def _tls_context(chosen: argparse.Namespace) -> ssl.SSLContext | None:
    if chosen.ca is None and chosen.cert is None:
        return None

    import ssl

    from memhub.service import wire

    try:
        context = ssl.create_default_context(cafile=chosen.ca)
        context.set_alpn_protocols([wire.ALPN])
        if chosen.cert is not None:
            context.load_cert_chain(chosen.cert)
    except OSError as error:
        files = " and ".join(filter(None, (chosen.ca, chosen.cert)))
        raise CommandFailed(f"{files} cannot be used: {error.strerror or error}") from error

    return context


def _read_token(name: str | None) -> str:
    if name is None:
        return ""

    with open(name, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs time
        return file.read().strip()


def _local_target(config: str, machine: str | None, label: str, log: AuditLog | None) -> Target:
    from memhub.arches import load_arches
    from memhub.config import load_config
    from memhub.service.local import LocalClient

    arches = load_arches()
    loaded = load_config(config, arches=arches)
    known = ", ".join(loaded.machines)
    name = machine or loaded.default
    if name is None:
        raise CommandFailed(f"{config}: say which machine with --machine ({known})")

    if name not in loaded.machines:
        raise CommandFailed(f"{config}: there is no machine {name!r} (there are {known})")

    client = LocalClient(
        loaded.machines.values(),
        default=name,
        arches=arches,
        log=log,
        name=label,
        faults=loaded.faults,
    )

    return Target(client, name, local=True)
