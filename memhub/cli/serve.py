"""Serve the machines of a configuration file to clients on sockets, until told to stop.

SIGTERM and SIGINT stop it: new clients are refused, requests under way are answered, then every
connection is closed; a second one changes nothing. SIGHUP reopens the audit log after it was
renamed. Exit codes: 0 stopped in order, 2 it could not start or the log could not be ended in
order.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

from memhub.cli.amounts import seconds
from memhub.cli.backends import BACKENDS, check_backend, run_on
from memhub.cli.failures import CommandFailed
from memhub.cli.keys import add_key_argument, parse_verifier_keys, read_key
from memhub.cli.terminal import OutputFailed, drop, output, print_line

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Mapping
    from contextlib import ExitStack

    from anyio import CancelScope
    from anyio.abc import TaskStatus

    from memhub.audit import AuditLog
    from memhub.config import HubConfig
    from memhub.core.drivers.driver import Arch
    from memhub.core.ranges.range_table import TableState
    from memhub.hub.hub import Hub
    from memhub.service.server import Server
    from memhub.service.server.listening import Endpoints
    from memhub.watchdog import DriverWatchdog


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub serve`."""
    parser.add_argument("config", metavar="CONFIG", help="the TOML file")
    parser.add_argument("--log", metavar="PATH", help="the audit log, instead of the file's own")
    parser.add_argument(
        "--restore", metavar="LOG", help="begin with the tables that this audit log ends with"
    )
    add_key_argument(parser, only_with="with --restore: ")
    add_serving_arguments(parser)
    chosen = parser.parse_args(arguments)
    if chosen.key and chosen.restore is None:
        parser.error("--key checks the log of --restore, which is not given")

    config, arches = _load_config(chosen.config)
    tables = None
    if chosen.restore is not None:
        from memhub.cli.start_tables import find_tables

        keys = parse_verifier_keys(chosen.key)
        tables = find_tables(chosen.restore, config, arches, keys)

    return serve_machines(config, arches, chosen, tables)


def add_serving_arguments(
    parser: argparse.ArgumentParser, socket: str = "the socket, instead of the file's own"
) -> None:
    """Add the options that `serve_machines` reads, but for the log.

    Args:
        parser: gets them.
        socket: what its help says of `--socket`.
    """
    parser.add_argument("--socket", metavar="PATH", type=Path, help=socket)
    parser.add_argument(
        "--backend", choices=BACKENDS, default="asyncio", help="the event loop (asyncio)"
    )
    parser.add_argument(
        "--replace-stale",
        action="store_true",
        help="remove a socket on which no service answers; without this it is left and reported",
    )
    parser.add_argument(
        "--grace",
        metavar="SECONDS",
        type=seconds,
        default=5.0,
        help="how long requests under way may take at the end (5)",
    )


def serve_machines(
    config: HubConfig,
    arches: Mapping[str, Arch],
    chosen: argparse.Namespace,
    tables: Mapping[str, TableState] | None = None,
) -> int:
    """Serve the machines of a configuration until told to stop.

    Args:
        config: the machines, the log and the service.
        arches: architectures by name.
        chosen: the options: `socket`, `log`, `backend`, `replace_stale` and `grace`.
        tables: what machines begin with instead of what firmware left, by name.
    """
    check_backend(chosen.backend)

    from contextlib import ExitStack

    from memhub.cli.log_file import hangups_ignored
    from memhub.cli.logged import report_logged

    with hangups_ignored(), report_logged(_print_report), ExitStack() as stack:
        # What can refuse a start does so before the log is opened, which would take records of it.
        # No event loop runs yet, so SIGINT ends a driver that does not return from its start.
        hub = _make_hub(config, arches, tables)
        endpoints = _open_endpoints(config, chosen, stack)
        log = _open_log(config, chosen.log, stack)
        if log is not None:
            hub.keep_log(log)

        run_on(chosen.backend, _serve_config, hub, config, chosen, log, endpoints)

    return 0


def _load_config(path: str) -> tuple[HubConfig, Mapping[str, Arch]]:
    from memhub.arches import load_arches
    from memhub.config import load_config

    arches = load_arches()

    return load_config(path, arches=arches), arches


def _open_log(config: HubConfig, override: str | None, stack: ExitStack) -> AuditLog | None:
    """Open or continue the audit log, and report what was found at its end."""
    if override is None and config.audit is None:
        return None

    from memhub.audit import AuditLog
    from memhub.audit.writing.keeping import KEEPING
    from memhub.cli.version import version

    kept = config.audit
    path = override or ("" if kept is None else f"{kept.path}{'/' * kept.folder}")
    header = {"pid": os.getpid(), "uid": os.getuid(), "config": str(config.path)}
    log = stack.enter_context(
        AuditLog.open(
            path,
            durability="os" if kept is None else kept.durability,
            software=f"memhub {version()}",
            header=header,
            key=None if kept is None or kept.key is None else read_key(kept.key),
            keeping=KEEPING if kept is None else kept.keeping,
        )
    )
    if log.recovered is not None:
        _print_text(
            f"{path}: an unfinished last line of {len(log.recovered.data)} bytes at offset "
            f"{log.recovered.offset} was cut off; the chain continues at record {log.seq}",
            sys.stderr,
        )

    return log


def _make_hub(
    config: HubConfig,
    arches: Mapping[str, Arch],
    tables: Mapping[str, TableState] | None,
) -> Hub:
    from memhub.errors import DriverFailed
    from memhub.hub.hub import Hub

    specs = config.machines.values()
    try:
        return Hub(
            specs,
            default=config.default,
            arches=arches,
            tables=tables,
            driver_failures=config.service.limits.driver_failures,
            faults=config.faults,
        )
    except DriverFailed as error:
        raise CommandFailed(str(error)) from error


def _open_endpoints(config: HubConfig, chosen: argparse.Namespace, stack: ExitStack) -> Endpoints:
    from memhub.service.server.listening import Endpoints
    from memhub.service.settings import ServiceError

    try:
        opened = Endpoints(config.service, chosen.socket, replace_stale=chosen.replace_stale)
    except ServiceError as error:
        raise CommandFailed(str(error)) from error

    stack.callback(opened.close)

    return opened


async def _serve_config(
    hub: Hub,
    config: HubConfig,
    chosen: argparse.Namespace,
    log: AuditLog | None,
    endpoints: Endpoints,
) -> None:
    from memhub.watchdog import DriverWatchdog

    limit = config.service.limits.driver_timeout
    with DriverWatchdog(hub.engine, limit, _print_report) as watchdog:
        async with hub:
            await _serve_hub(hub, watchdog, config, chosen, log, endpoints)


async def _serve_hub(
    hub: Hub,
    watchdog: DriverWatchdog,
    config: HubConfig,
    chosen: argparse.Namespace,
    log: AuditLog | None,
    endpoints: Endpoints,
) -> None:
    import gc

    import anyio

    from memhub.cli.log_file import reopen_on_hangup, watch_log
    from memhub.cli.version import version
    from memhub.service.server import Server
    from memhub.service.server.garbage import collect_garbage
    from memhub.service.server.notify import notify

    server = Server(
        hub,
        config.service,
        endpoints=endpoints,
        software=f"memhub {version()}",
        grace=chosen.grace,
    )
    thresholds = gc.get_threshold()
    try:
        async with server, anyio.create_task_group() as tasks:
            await tasks.start(_wait_for_signal, tasks.cancel_scope)
            await tasks.start(reopen_on_hangup, hub, log, _print_report)
            watchdog.relay_signals()
            if log is not None:
                tasks.start_soon(watch_log, log, _print_report)
            # All clients wait during a collection. It need not look at what was there before them.
            gc.freeze()
            gc.set_threshold(*thresholds[:2], 1000)
            tasks.start_soon(collect_garbage, hub)
            _announce_ready(server, len(hub.machines), log)
            notify("READY=1")
            await anyio.sleep_forever()
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)
        notify("STOPPING=1")


async def _wait_for_signal(scope: CancelScope, *, task_status: TaskStatus[None]) -> None:
    import signal

    import anyio

    numbers = (signal.SIGTERM, signal.SIGINT)
    with anyio.open_signal_receiver(*numbers) as signals:
        task_status.started()
        number = await anext(signals)
        # Leaving the block restores the default action. A second signal must not meet it, neither
        # one that the interpreter has noted already nor one that comes now.
        _ignore_signals(numbers)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    _ignore_signals(numbers)  # for good: this process ends
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    _print_report(f"stopping on {signal.Signals(number).name}")
    scope.cancel()


def _ignore_signals(numbers: Iterable[int]) -> None:
    import signal

    for number in numbers:
        signal.signal(number, signal.SIG_IGN)


def _announce_ready(server: Server, machines: int, log: AuditLog | None) -> None:
    where = " and ".join(server.addresses)
    kept = f"log {log.path}" if log is not None else "no log"
    try:
        _print_text(
            f"ready on {where} ({machines} machine{'s' * (machines != 1)}, {kept})", sys.stdout
        )
    except (BrokenPipeError, OutputFailed):
        drop(sys.stdout)  # whoever was to read it is gone, and clients are not


def _print_report(text: str) -> None:
    """Say it to whoever reads standard error, which after a hangup may be nobody."""
    import contextlib

    with contextlib.suppress(OSError):
        _print_text(text, sys.stderr)


def _print_text(text: str, stream: IO[str]) -> None:
    # what waits for the service reads one line, and the journal keeps one line an event
    program = stream is sys.stdout and not stream.isatty()
    whole = program or bool(os.environ.get("JOURNAL_STREAM"))
    print_line(f"memhub: {text}", stream, hang=8, whole=whole)
    with output():
        stream.flush()
