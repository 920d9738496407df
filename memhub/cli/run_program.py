"""Run a program, unchanged, whose /dev/mem and /dev/kmem are a machine's.

The program and all that it starts are one process of the hub, with claims of its own. Where the
machine's kernel is Linux, /proc/mtrr and its ioctls are the machine's too.
Options come before the program's name; after it, or after --, everything is the program's.

exit codes: the program's; 128 plus the signal that ended it; 126 if it cannot be executed, 127
if it was not found; 2 if this system cannot run programs in this way, or no such machine is there
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from memhub.cli.failures import CommandFailed
from memhub.cli.target import OPTIONS, add_target_arguments, open_target
from memhub.cli.terminal import print_line

if TYPE_CHECKING:
    import argparse

    from memhub.audit import AuditLog
    from memhub.cli.target import Target

_DEVICES = ("/dev/mem", "/dev/kmem")
_PROC = "/proc/mtrr"
_LIST = "/sys/kernel/debug/x86/pat_memtype_list"


def command(parser: argparse.ArgumentParser, arguments: list[str]) -> int:
    """Run `memhub exec`."""
    from memhub.exec.host import ALLOWABLE

    ours, program = split(arguments)
    add_target_arguments(parser)
    parser.add_argument(
        "--every-descriptor",
        action="store_true",
        help="also serve descriptors that the program numbers itself (3</dev/mem); slower",
    )
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help=f"let it use this device of the host; may be repeated: {', '.join(ALLOWABLE)}",
    )
    parser.add_argument(
        "--log", metavar="FILE", help="with --config: keep an audit log of what it does"
    )
    parser.usage = (
        "memhub exec [--connect ADDRESS | --config FILE] [--machine NAME]\n"
        "                   [--every-descriptor] [--allow-host NAME] [--log FILE]\n"
        "                   [--] PROGRAM [ARGS ...]"
    )
    chosen = parser.parse_args(ours)
    if not program:
        parser.error("name the program to run")

    if chosen.log and chosen.config is None:
        parser.error("--log goes with --config: a service keeps its own log")

    _check_host(parser, chosen.allow_host)

    return _run_program(chosen, program)


def _check_host(parser: argparse.ArgumentParser, names: list[str]) -> None:
    """End here if a name is unknown, or if a standard stream is a device of the host."""
    from memhub.exec.host import HostDevices, check_allowed, inherited_device

    try:
        problem = inherited_device(HostDevices(check_allowed(names)))
    except ValueError as error:
        parser.error(f"--allow-host: {error}")

    if problem is not None:
        parser.error(problem)


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Separate this command's options from the program and its arguments."""
    valued = (*OPTIONS, "--allow-host", "--log")
    rest = list(arguments)
    ours: list[str] = []
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word == "--":
            break

        ours.append(word)
        if word in valued and rest:
            ours.append(rest.pop(0))

    return ours, rest


def _run_program(chosen: argparse.Namespace, program: list[str]) -> int:
    from memhub.exec import ShimUnavailable, run
    from memhub.exec.over_client import ClientBackend

    label = os.path.basename(program[0])  # noqa: PTH119 - pathlib costs more than all of this
    with ExitStack() as stack:
        target = open_target(chosen, label, log=_open_log(chosen.log, stack))
        stack.enter_context(target.client)
        _check_machine(target)
        paths = {path: target.file(path) for path in _files_of(target)}
        try:
            return run(
                program,
                ClientBackend(target.client, paths),
                device_names=paths,
                every_descriptor=chosen.every_descriptor,
                allow_host=chosen.allow_host,
                complain=_complain,
            )
        except ShimUnavailable as error:
            raise CommandFailed(str(error)) from error


def _complain(line: str) -> None:
    print_line(f"memhub exec: {line}", sys.stderr, hang=13)


def _check_machine(target: Target) -> None:
    """End here if the service has no such machine; each open would only fail with ENOENT."""
    from memhub.errors import NoSuchDevice, NotPermitted
    from memhub.service.blocking import BlockingClient

    if target.machine is None or not isinstance(target.client, BlockingClient):
        return

    try:
        target.client.report("waits", target.machine)
    except NoSuchDevice as error:
        raise CommandFailed(str(error)) from error
    except NotPermitted:
        return  # it may be open to this client all the same


def _files_of(target: Target) -> tuple[str, ...]:
    """The files that are the machine's: FreeBSD's devices, and those of another kernel.

    A kernel that refuses to open one of its files, as it has none on this machine, does so to the
    program: the host's file is not in its place.
    """
    from memhub.errors import NotPermitted
    from memhub.service.blocking import BlockingClient

    client = target.client
    try:
        told = client.report("waits") if isinstance(client, BlockingClient) else client.report()
    except NotPermitted:
        return _DEVICES

    files = {it["machine"]: it.get("files", ()) for it in told["machines"]}
    if not any(files.values()):
        return _DEVICES

    of_kernel = files.get(_machine_of(target, list(files)), ())

    return (*_DEVICES, *(path for path in (_PROC, _LIST) if path in of_kernel))


def _machine_of(target: Target, there: list[str]) -> str | None:
    """The machine whose files the program gets; None where that cannot be found."""
    from memhub.errors import DeviceError
    from memhub.service.blocking import BlockingClient

    if target.machine is not None or len(there) == 1:
        return target.machine or there[0]

    assert isinstance(target.client, BlockingClient)  # a file of machines has a name
    for path in ("/dev/mem", _PROC, _LIST):
        try:
            with target.client.open(path, "r") as handle:
                return handle.machine
        except DeviceError:
            continue

    return None


def _open_log(name: str | None, stack: ExitStack) -> AuditLog | None:
    if name is None:
        return None

    from memhub.audit import AuditLog

    log = AuditLog.open(name)
    stack.callback(log.close)

    return log
