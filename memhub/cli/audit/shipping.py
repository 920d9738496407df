"""Audit logs for other systems: `memhub audit export` and `memhub audit lnav-format`."""

from __future__ import annotations

from argparse import ArgumentTypeError
from typing import TYPE_CHECKING, Any, Final

from memhub.cli.amounts import seconds
from memhub.cli.audit.following import is_read_once
from memhub.cli.audit.selecting import add_selection_arguments, selection_of
from memhub.cli.failures import CommandFailed
from memhub.cli.terminal import complain, late_progress, print_json
from memhub.cli.waiting import ended_by_sigterm, wait_for_more

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from memhub.shipping.export import Export, Target
    from memhub.shipping.follow import Found

_PATIENCE: Final = 300.0
_JOURNAL: Final = "/run/systemd/journal/socket"


def add_shipping_verbs(verbs: argparse._SubParsersAction[Any]) -> None:
    """Add the verbs that `run_shipping_verb` runs."""
    export = verbs.add_parser(
        "export",
        help="send the records to OpenTelemetry or the journal",
        description="The mappings are in docs/shipping.md. Records come at least once: drop "
        "those whose memhub.hash (MEMHUB_HASH) is there already.",
        epilog="exit codes: 0, 1 if records were refused or could not be sent, 2 if the log "
        "cannot be read or an argument is wrong",
    )
    export.add_argument("file", metavar="LOG", help="the log")
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--otlp", metavar="FILE|URL", help="a file, or an endpoint: http://HOST:4318/v1/logs"
    )
    target.add_argument(
        "--journald", nargs="?", const=_JOURNAL, metavar="SOCKET", help=f"the journal ({_JOURNAL})"
    )
    export.add_argument("-f", "--follow", action="store_true", help="go on with what is written")
    export.add_argument(
        "--state", metavar="FILE", help="keeps the last record that was acknowledged: go on there"
    )
    export.add_argument("--host", metavar="NAME", help="host.name of the records (this host's)")
    export.add_argument(
        "--header",
        action="append",
        default=[],
        type=_parse_header,
        metavar="NAME=VALUE",
        help="a header of each request to an endpoint",
    )
    export.add_argument(
        "--retry-for",
        type=seconds,
        default=_PATIENCE,
        metavar="S",
        help=f"how long a failed request is repeated ({_PATIENCE:.0f})",
    )
    add_selection_arguments(export)
    verbs.add_parser("lnav-format", help="print the log format for lnav")


def run_shipping_verb(chosen: argparse.Namespace) -> int:
    """Run `export` or `lnav-format`."""
    from memhub.shipping.failure import ShippingFailed
    from memhub.shipping.lnav import lnav_format

    if chosen.verb == "lnav-format":
        print_json(lnav_format())
        return 0

    try:
        with ended_by_sigterm():
            return _export(chosen)
    except ShippingFailed as error:
        raise CommandFailed(error.reason, error.code) from error


def _parse_header(text: str) -> tuple[str, str]:
    name, mark, value = text.partition("=")
    if not mark or not name.strip() or not (name + value).isascii() or not text.isprintable():
        raise ArgumentTypeError(f"{text!r} is not NAME=VALUE in printable ASCII")

    return name.strip(), value.strip()


def _export(chosen: argparse.Namespace) -> int:
    from memhub.shipping.export import Export

    wanted = selection_of(chosen).matches
    source = _read_pipe(chosen) if is_read_once(chosen.file) else None
    target = _open_target(chosen)
    export = Export(target, wanted, chosen.state)
    try:
        if source is not None:
            export.send(source)
        else:
            _send_log(chosen, export)
    finally:
        target.close()

    complain(f"{export.sent - target.refused} records sent, {target.refused} refused")

    return 1 if target.refused else 0


def _open_target(chosen: argparse.Namespace) -> Target:
    import socket

    from memhub.shipping.journal import Journal
    from memhub.shipping.otlp_file import OtlpFile
    from memhub.shipping.otlp_http import OtlpEndpoint
    from memhub.shipping.retry import Retry

    retry = Retry(patience=chosen.retry_for, tell=complain)
    if chosen.journald is not None:
        return Journal(chosen.journald, retry=retry)

    host = chosen.host or socket.gethostname()
    if "://" in chosen.otlp:
        return OtlpEndpoint(
            chosen.otlp, host=host, retry=retry, tell=complain, headers=dict(chosen.header)
        )

    return OtlpFile(chosen.otlp, host=host, goes_on=chosen.state is not None)


def _read_pipe(chosen: argparse.Namespace) -> Iterator[Found]:
    """The records of a log that can be read once."""
    from memhub.audit import read_lines
    from memhub.shipping.follow import Found

    if chosen.follow or chosen.state is not None:
        rule = "-f and --state need a file or a folder"
        raise CommandFailed(f"{chosen.file} is read once: {rule}")

    def read() -> Iterator[Found]:
        log_id = ""
        for line, record in read_lines(chosen.file, typed=True):
            log_id = record.get("log_id", log_id)
            yield Found(line, record, log_id)

    return read()


def _send_log(chosen: argparse.Namespace, export: Export) -> None:
    from memhub.audit.reading.segments import log_files
    from memhub.shipping.follow import Follower
    from memhub.shipping.places import count_bytes, find_shipped
    from memhub.shipping.state_file import read_state

    log_files(chosen.file)
    shipped = None if chosen.state is None else read_state(chosen.state)
    start = None if shipped is None else find_shipped(chosen.file, shipped)
    follower = Follower(chosen.file, start, complain)
    total = count_bytes(chosen.file, start)
    with late_progress("export") as tell:
        export.send(follower.take(), lambda: tell(follower.count_bytes(), total))

    while chosen.follow:
        wait_for_more()
        export.send(follower.take())

    follower.close()
